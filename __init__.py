"""gradloom."""
