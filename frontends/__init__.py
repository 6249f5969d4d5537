"""What a script imports: placeholders, parameters, derivatives, functions."""
