"""Text: parse(str(graph)) is the graph."""

from hypothesis import given

from gradloom.ir.graph import Graph
from gradloom.ir.text import parse
from gradloom.ir.verify import verify

from .graphs import graphs


@given(graphs())
def test_round_trip_of_drawn_graphs(graph: Graph):
    verify(graph)
    again = parse(str(graph))
    assert again == graph
    assert str(again) == str(graph)
    verify(again)
