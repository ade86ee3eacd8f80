"""The same kernel on every device of a mesh: each holds some rows of the batch and some heads.

Left to the compiler, a loop over tiles would exchange partial sums at every step. No message
goes from one row or head to another, so each device runs the loop on its own rows and heads, and
nothing is exchanged in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import jax
import numpy as np
from jax.sharding import PartitionSpec

from transformers_jax.graph import Edges
from transformers_jax.nn import noise
from transformers_jax.shard import cutting, mesh_sizes


def sharded(backend: Callable, q, k, v, edges: Edges, *, score, sinks, key, **options):
    """`backend` under the current mesh; without one, just `backend`.

    The backend is also passed `first`, the (row, query head, key head) where its slice begins, and
    `heads`, the (H, G) of the whole, so that dropout and score rules do not depend on the mesh.
    """
    sizes = mesh_sizes()
    if not sizes:
        return backend(q, k, v, edges, score=score, sinks=sinks, key=key, **options)
    (B, _, H, _), G = q.shape, k.shape[2]
    rows, parts = cutting("batch heads", (B, H))
    cut = math.prod(sizes[name] for name in parts)
    if G % cut and cut % G:
        parts, cut = (), 1  # a device's query heads would read parts of two key heads
    shared = G % cut != 0  # several devices read the same key head
    edges = replace(edges, drawn=None)
    leaves, tree = jax.tree.flatten(edges)
    constant = [isinstance(leaf, np.ndarray) and leaf.shape[0] == 1 for leaf in leaves]
    bits = None if key is None else jax.numpy.stack(noise.words(key))
    params = None if score is None else score.params

    def local(q, k, v, arrays, params, sinks, bits):
        arrays = iter(arrays)
        local_edges = [leaf if fixed else next(arrays) for leaf, fixed in zip(leaves, constant)]
        row = jax.lax.axis_index(rows) * q.shape[0] if rows else 0
        part = jax.lax.axis_index(parts) if parts else 0
        head, group = part * q.shape[2], part * (G // cut)
        if shared:
            group = head // (H // G)
            k, v = (jax.lax.dynamic_slice_in_dim(x, group, 1, 2) for x in (k, v))
        return backend(
            q, k, v, jax.tree.unflatten(tree, local_edges), sinks=sinks, key=bits,
            score=None if score is None else replace(score, params=params),
            first=(row, head, group), heads=(H, G), **options,
        )  # fmt: skip

    arrays = [leaf for leaf, fixed in zip(leaves, constant) if not fixed]
    by_row = [PartitionSpec(rows or None) if x.shape[0] == B else PartitionSpec() for x in arrays]
    whole = PartitionSpec()
    of_q = PartitionSpec(rows or None, None, parts or None, None)
    of_k = PartitionSpec(rows or None, None, None if shared else parts or None, None)
    return jax.shard_map(
        local,
        in_specs=(of_q, of_k, of_k, by_row, whole, PartitionSpec(parts or None), whole),
        out_specs=of_q,
        axis_names=set(sizes),
        check_vma=False,
    )(q, k, v, arrays, params, sinks, bits)  # fmt: skip
