"""gradloom: a deep-learning graph compiler that one person can read in a weekend.

Symbolic expressions build a static graph; gradients are more graph; passes make it stable, fuse
it and plan its memory; a backend writes Numba source; a runtime schedules it.
"""

from gradloom.compiler.pipeline import run_pass
from gradloom.frontends.function import Function, compile, function
from gradloom.frontends.gradient import grad, jvp, vmap
from gradloom.frontends.parameter import parameter, placeholder
from gradloom.ir.errors import GradloomError
from gradloom.ir.graph import Graph
from gradloom.ir.interpret import evaluate
from gradloom.ir.ops import *  # noqa: F403
from gradloom.ir.parameter import Parameter
from gradloom.ir.program import Program
from gradloom.ir.program_text import parse_program
from gradloom.ir.tensor import Tensor
from gradloom.ir.text import parse
from gradloom.ir.verify import verify
