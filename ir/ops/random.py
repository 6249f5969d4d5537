"""``gradloom.random``: random numbers, counter-based, from explicit keys.

``normal(key, shape)`` is the same numbers whenever and wherever it is computed.  A key is made from
a seed (``key``) or from another key (``split``, ``fold_in``) and used once.
"""

from . import distributions as _distributions
from . import philox as _philox
from . import rejection as _rejection
from . import shuffle as _shuffle
from . import uniform as _uniform
from .distributions import *  # noqa: F403
from .philox import *  # noqa: F403
from .rejection import *  # noqa: F403
from .shuffle import *  # noqa: F403
from .uniform import *  # noqa: F403

__all__: list[str] = []
__all__ += _distributions.__all__
__all__ += _philox.__all__
__all__ += _rejection.__all__
__all__ += _shuffle.__all__
__all__ += _uniform.__all__
