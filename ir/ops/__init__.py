"""The op table: one entry an op, and the public functions that build graph with them.

Each module lists in its ``__all__`` what users call; all of that stands in ``gradloom`` itself, but
for the namespaces (``gradloom.random``).
"""

from ..explain import explained as _explained
from . import activation as _activation
from . import arithmetic as _arithmetic
from . import assertion as _assertion
from . import branch as _branch
from . import build as _build
from . import checkpoint as _checkpoint
from . import composite as _composite
from . import contraction as _contraction
from . import control as _control
from . import conversion as _conversion
from . import create as _create
from . import cumulative as _cumulative
from . import custom as _custom
from . import diagonal as _diagonal
from . import einsum as _einsum
from . import fft, linalg, nn, random
from . import indexing as _indexing
from . import join as _join
from . import log_tails as _log_tails
from . import logarithms as _logarithms
from . import logic as _logic
from . import loops as _loops
from . import mapping as _mapping
from . import order as _order
from . import padding as _padding
from . import quantiles as _quantiles
from . import recurrence as _recurrence
from . import reduction as _reduction
from . import sets as _sets
from . import shape as _shape
from . import slicing as _slicing
from . import special as _special
from . import statistics as _statistics
from . import transcendental as _transcendental
from . import trigonometry as _trigonometry
from . import types as _types
from . import updating as _updating
from . import weighted as _weighted
from .activation import *  # noqa: F403
from .arithmetic import *  # noqa: F403
from .assertion import *  # noqa: F403
from .branch import *  # noqa: F403
from .build import *  # noqa: F403
from .checkpoint import *  # noqa: F403
from .composite import *  # noqa: F403
from .contraction import *  # noqa: F403
from .control import *  # noqa: F403
from .conversion import *  # noqa: F403
from .create import *  # noqa: F403
from .cumulative import *  # noqa: F403
from .diagonal import *  # noqa: F403
from .einsum import *  # noqa: F403
from .indexing import *  # noqa: F403
from .join import *  # noqa: F403
from .log_tails import *  # noqa: F403
from .logarithms import *  # noqa: F403
from .logic import *  # noqa: F403
from .loops import *  # noqa: F403
from .mapping import *  # noqa: F403
from .order import *  # noqa: F403
from .padding import *  # noqa: F403
from .quantiles import *  # noqa: F403
from .recurrence import *  # noqa: F403
from .reduction import *  # noqa: F403
from .sets import *  # noqa: F403
from .shape import *  # noqa: F403
from .slicing import *  # noqa: F403
from .solving import solve
from .special import *  # noqa: F403
from .statistics import *  # noqa: F403
from .transcendental import *  # noqa: F403
from .trigonometry import *  # noqa: F403
from .types import *  # noqa: F403
from .updating import *  # noqa: F403

__all__ = ["fft", "linalg", "nn", "random", "solve"]
__all__ += _activation.__all__
__all__ += _arithmetic.__all__
__all__ += _assertion.__all__
__all__ += _branch.__all__
__all__ += _build.__all__
__all__ += _checkpoint.__all__
__all__ += _composite.__all__
__all__ += _contraction.__all__
__all__ += _control.__all__
__all__ += _conversion.__all__
__all__ += _einsum.__all__
__all__ += _create.__all__
__all__ += _cumulative.__all__
__all__ += _custom.__all__
__all__ += _diagonal.__all__
__all__ += _indexing.__all__
__all__ += _join.__all__
__all__ += _log_tails.__all__
__all__ += _logarithms.__all__
__all__ += _logic.__all__
__all__ += _loops.__all__
__all__ += _mapping.__all__
__all__ += _order.__all__
__all__ += _padding.__all__
__all__ += _recurrence.__all__
__all__ += _quantiles.__all__
__all__ += _reduction.__all__
__all__ += _sets.__all__
__all__ += _shape.__all__
__all__ += _slicing.__all__
__all__ += _special.__all__
__all__ += _statistics.__all__
__all__ += _transcendental.__all__
__all__ += _trigonometry.__all__
__all__ += _types.__all__
__all__ += _updating.__all__
__all__ += _weighted.__all__

# An error names the function that the user called, and where.
for _name in __all__:
    if callable(globals()[_name]):
        globals()[_name] = _explained(globals()[_name])
for _space in (fft, linalg, nn, random):
    for _name in _space.__all__:
        setattr(_space, _name, _explained(getattr(_space, _name)))
