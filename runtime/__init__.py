"""Loads a Program and runs it: kernel compiler, vector maths, driver, threads, disk cache."""
