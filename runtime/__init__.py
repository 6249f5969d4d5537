"""Loads a Program and runs it: kernel compiler, vector maths, native driver, threads, disk cache."""
