"""``gradloom.nn``: what neural networks on images and signals are made of.

Arrays are N C S…: a batch, channels, then one, two or three spatial axes.
"""

from . import convolution as _convolution
from . import dropout as _dropout
from . import pooling as _pooling
from . import resize as _resize
from .convolution import *  # noqa: F403
from .dropout import *  # noqa: F403
from .pooling import *  # noqa: F403
from .resize import *  # noqa: F403

__all__: list[str] = []
__all__ += _convolution.__all__
__all__ += _dropout.__all__
__all__ += _pooling.__all__
__all__ += _resize.__all__
