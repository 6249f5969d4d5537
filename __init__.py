"""gradloom: a deep-learning graph compiler that one person can read in a weekend.

Symbolic expressions build a static graph; gradients are more graph; passes make it stable, fuse
it and plan its memory; a backend writes Numba source; a runtime schedules it.
"""

from importlib import import_module as _import_module
from math import e as e
from math import inf as inf
from math import nan as nan
from math import pi as pi
from typing import TYPE_CHECKING as _TYPE_CHECKING

from gradloom.frontends import recurrent as recurrent
from gradloom.frontends.custom import custom_derivative as custom_derivative
from gradloom.frontends.function import Function as Function
from gradloom.frontends.function import compile as compile
from gradloom.frontends.function import function as function
from gradloom.frontends.gradient import grad as grad
from gradloom.frontends.gradient import hvp as hvp
from gradloom.frontends.gradient import jvp as jvp
from gradloom.frontends.gradient import vjp as vjp
from gradloom.frontends.jacobian import hessian as hessian
from gradloom.frontends.jacobian import jacobian as jacobian
from gradloom.frontends.parameter import parameter as parameter
from gradloom.frontends.parameter import placeholder as placeholder
from gradloom.frontends.taps import clip_by_global_norm as clip_by_global_norm
from gradloom.frontends.taps import clip_gradient as clip_gradient
from gradloom.frontends.taps import clip_gradient_by_global_norm as clip_gradient_by_global_norm
from gradloom.frontends.taps import tap as tap
from gradloom.frontends.vmap import vmap as vmap
from gradloom.ir.dtypes import DType as DType
from gradloom.ir.dtypes import bfloat16 as bfloat16
from gradloom.ir.dtypes import bool_ as bool_
from gradloom.ir.dtypes import float16 as float16
from gradloom.ir.dtypes import float32 as float32
from gradloom.ir.dtypes import float64 as float64
from gradloom.ir.dtypes import int8 as int8
from gradloom.ir.dtypes import int16 as int16
from gradloom.ir.dtypes import int32 as int32
from gradloom.ir.dtypes import int64 as int64
from gradloom.ir.dtypes import uint8 as uint8
from gradloom.ir.dtypes import uint16 as uint16
from gradloom.ir.dtypes import uint32 as uint32
from gradloom.ir.dtypes import uint64 as uint64
from gradloom.ir.errors import ArgumentError as ArgumentError
from gradloom.ir.errors import AxisError as AxisError
from gradloom.ir.errors import CheckError as CheckError
from gradloom.ir.errors import CudaUnavailableError as CudaUnavailableError
from gradloom.ir.errors import DTypeError as DTypeError
from gradloom.ir.errors import GradientError as GradientError
from gradloom.ir.errors import GradloomError as GradloomError
from gradloom.ir.errors import IndexRangeError as IndexRangeError
from gradloom.ir.errors import NumericsError as NumericsError
from gradloom.ir.errors import ParseError as ParseError
from gradloom.ir.errors import ShapeError as ShapeError
from gradloom.ir.errors import SymbolicError as SymbolicError
from gradloom.ir.errors import VerifyError as VerifyError
from gradloom.ir.graph import Graph as Graph
from gradloom.ir.interpret import evaluate as evaluate
from gradloom.ir.ops import *  # noqa: F403
from gradloom.ir.parameter import Parameter as Parameter
from gradloom.ir.program import Program as Program
from gradloom.ir.program_text import parse_program as parse_program
from gradloom.ir.tensor import Tensor as Tensor
from gradloom.ir.text import constants_of as constants_of
from gradloom.ir.text import parse as parse
from gradloom.ir.verify import verify as verify
from gradloom.ir.views import to_dot as to_dot
from gradloom.ir.views import to_networkx as to_networkx

if _TYPE_CHECKING:
    __version__: str
    from gradloom.compiler.pipeline import run_pass as run_pass
    from gradloom.frontends.explain import GradientExplanation as GradientExplanation
    from gradloom.frontends.explain import explain_grad as explain_grad
    from gradloom.frontends.gradient_norms import GradientNorms as GradientNorms
    from gradloom.frontends.gradient_norms import gradient_norms as gradient_norms
    from gradloom.frontends.memory import Memory as Memory
    from gradloom.frontends.profile import Profile as Profile
    from gradloom.frontends.recomputed import Recomputed as Recomputed
    from gradloom.frontends.verify_grad import GradientCheck as GradientCheck
    from gradloom.frontends.verify_grad import verify_grad as verify_grad

# Who only calls what was compiled before does without these: they are imported when asked for.
_LATE = {
    "GradientExplanation": "frontends.explain",
    "explain_grad": "frontends.explain",
    "GradientNorms": "frontends.gradient_norms",
    "gradient_norms": "frontends.gradient_norms",
    "Memory": "frontends.memory",
    "run_pass": "compiler.pipeline",
    "Profile": "frontends.profile",
    "Recomputed": "frontends.recomputed",
    "GradientCheck": "frontends.verify_grad",
    "verify_grad": "frontends.verify_grad",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        return _import_module("importlib.metadata").version("gradloom")
    if name not in _LATE:
        raise AttributeError(f"module 'gradloom' has no attribute {name!r}")
    globals()[name] = found = getattr(_import_module(f"gradloom.{_LATE[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE})


bool = bool_
newaxis = None
