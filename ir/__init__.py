"""The languages: Graph, Kernel, Program, and the table of ops they are made of."""
