"""Graphs as networkx graphs and as DOT text."""

from __future__ import annotations

import networkx as nx

import gradloom as gl


def build() -> gl.Graph:
    x = gl.placeholder(("B", 4), name="x")
    y = gl.exp(x)
    return gl.Graph("g", [x], [gl.sum(y * y)])


def test_networkx_has_a_node_a_tensor_and_an_edge_an_operand() -> None:
    graph = build()
    found = gl.to_networkx(graph)
    assert found.nodes["x"] == {"op": "input", "type": "f32[B,4]", "loc": "test_views.py:11"}
    edges = found.get_edge_data("0", "1").values()  # y * y reads y twice
    assert [edge["position"] for edge in edges] == [0, 1]
    assert nx.is_directed_acyclic_graph(found)
    assert nx.has_path(found, "x", graph.names[graph.outputs[0]])


def test_dot_names_ops_and_types() -> None:
    text = gl.to_dot(build())
    assert text.startswith('digraph "g" {')
    assert '"0" [label="%0 = exp\\nf32[B,4]"]' in text
    assert text.count('"0" -> "1"') == 2
    assert "peripheries=2" in text
