"""Text: parse(str(graph)) is the graph."""

from hypothesis import given, settings

from gradloom.ir.graph import Graph
from gradloom.ir.text import parse
from gradloom.ir.verify import verify

from .graphs import graphs
