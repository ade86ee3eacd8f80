"""Shortest paths between the nodes of a graph, on the host: how far nodes are from each other, and
along which edges."""

from __future__ import annotations

import numpy as np

from transformers_jax.arrays import Int


def shortest_paths(
    edge_index: Int[np.ndarray, "2 E"], nodes: int, most: int
) -> tuple[Int[np.ndarray, "N N"], Int[np.ndarray, "N N P"]]:
    """(distance[t, s], the edges of a shortest path) from each node s to each node t, in steps
    along the edges of a list, breadth first.

    Distances beyond `most` (P), and of nodes that are not reached, are P + 1. Paths are numbers of
    entries of the list in their order, -1 behind the last one. Of several shortest paths the one is
    taken whose last edge comes first in the list.
    """
    distance = np.full((nodes, nodes), most + 1, np.int32)
    paths = np.full((nodes, nodes, most), -1, np.int32)
    source, target = edge_index
    order = np.argsort(source, kind="stable")
    first = np.searchsorted(source[order], np.arange(nodes + 1))
    for start in range(nodes):
        distance[start, start], reached = 0, [start]
        for step in range(1, most + 1):
            found: dict[int, int] = {}
            for node in reached:
                for edge in order[first[node] : first[node + 1]].tolist():
                    other = int(target[edge])
                    if distance[other, start] > step:
                        found[other] = min(edge, found.get(other, edge))
            for other, edge in found.items():
                distance[other, start] = step
                paths[other, start] = paths[source[edge], start]
                paths[other, start, step - 1] = edge
            reached = list(found)
    return distance, paths
