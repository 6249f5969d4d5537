"""Pure functions from Graph to Graph, from Graph to Program, and from Kernel to source text."""
