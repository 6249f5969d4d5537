"""``gradloom.nn``: what neural networks on images and signals are made of.

Arrays are N C S…: a batch, channels, then one, two or three spatial axes.
"""

from . import convolution as _convolution
from .convolution import *  # noqa: F403

__all__: list[str] = []
__all__ += _convolution.__all__
