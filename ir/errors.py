"""Errors that a user can meet.  Each also is the built-in error that people expect to catch."""

from __future__ import annotations


class GradloomError(Exception):
    """The base of all errors raised on purpose."""

    explained = False  # whether the message names types and lines already


class ShapeError(GradloomError, ValueError):
    """Shapes that do not fit."""


class DTypeError(GradloomError, TypeError):
    """Data types that do not fit."""


class SymbolicError(GradloomError, TypeError):
    """A tensor used as if it held numbers before anything is computed."""


class ArgumentError(GradloomError, ValueError):
    """A wrong argument of an op, a function or a call."""


class AxisError(ArgumentError, IndexError):
    """An axis that an array has not; as in NumPy, a ValueError and an IndexError."""


class GradientError(GradloomError, ValueError):
    """A gradient that does not exist."""


class IndexRangeError(GradloomError, IndexError):
    """An index out of range, found when the program runs."""


class CheckError(GradloomError, ValueError):
    """A condition that `check` asserts and that does not hold, found when the program runs."""


class NumericsError(GradloomError, ArithmeticError):
    """A nan or an infinity that a call under ``check_numerics`` made or was given."""


class CudaUnavailableError(GradloomError, RuntimeError):
    """A program for CUDA on a machine that cannot run it."""


class VerifyError(GradloomError):
    """A graph that breaks a rule of the language: an error of a pass, not of the user."""


class ParseError(GradloomError, ValueError):
    """Text that is not a graph, kernel or program."""
