"""Minimum cuts of small networks, by augmenting paths."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field

FOREVER = 1 << 60  # the capacity of what is never cut


@dataclass
class Cut:
    """A network of vertices and directed edges with capacities.

    The least capacity that parts a source from a sink is the most that flows from one to the other
    (Ford and Fulkerson 1956); along shortest paths it is found in few steps (Edmonds and Karp
    1972).
    """

    left: dict[Hashable, dict[Hashable, int]] = field(
        default_factory=dict[Hashable, dict[Hashable, int]]
    )

    def edge(self, start: Hashable, end: Hashable, capacity: int) -> None:
        """One more edge; several between two vertices count together."""
        there = self.left.setdefault(start, {})
        there[end] = there.get(end, 0) + capacity
        self.left.setdefault(end, {}).setdefault(start, 0)

    def source_side(self, source: Hashable, sink: Hashable) -> set[Hashable]:
        """The vertices on the side of `source` of a cheapest cut, the fewest there are."""
        while True:
            came: dict[Hashable, Hashable] = {source: source}
            waiting = deque([source])
            while waiting and sink not in came:
                vertex = waiting.popleft()
                for other, capacity in self.left.get(vertex, {}).items():
                    if capacity > 0 and other not in came:
                        came[other] = vertex
                        waiting.append(other)
            if sink not in came:
                return set(came)
            path = [sink]
            while path[-1] is not source:
                path.append(came[path[-1]])
            steps = list(zip(path[1:], path, strict=False))
            flow = min(self.left[start][end] for start, end in steps)
            for start, end in steps:
                self.left[start][end] -= flow
                self.left[end][start] += flow
