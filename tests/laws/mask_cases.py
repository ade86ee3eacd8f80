"""The graphs and backends that the mask laws run over, and the program that judges one of each.

Sizes are primes, and tiles are so small that every graph is cut into many of them.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.graph import (
    CAUSAL,
    FULL,
    Block,
    Dense,
    Edges,
    Holds,
    Listed,
    Mask,
    Near,
    Nodes,
    Same,
    Scattered,
    Strided,
    Where,
    connect,
    sequence,
)
from transformers_jax.nn.attend import (
    Refused,
    Score,
    ScoreRule,
    fused,
    listed,
    pallas,
    reference,
    tiled,
)

B, T, S, H, G, K, U = 2, 29, 37, 6, 2, 5, 5
SCALE = 0.4
MOVING = ("q", "k", "v", "sinks", "score")


@dataclass(frozen=True)
class Case:
    """A graph: a mask between T queries and S keys, and their tags."""

    name: str
    mask: Mask
    of: str  # its use, for the docs
    self: bool = True  # queries are keys
    valid: str | None = None  # which keys are valid: "ragged", or "dead" (a whole row is not)
    tags: tuple[str, ...] = field(default=())


CASES = [
    Case("full", FULL, "encoder"),
    Case("causal", CAUSAL, "decoder"),
    Case("padded", FULL, "encoder, padded batch", valid="ragged"),
    Case("dead rows", CAUSAL & ~Near(left=5), "queries without a single edge"),
    Case("no valid key", CAUSAL, "a row of padding only", valid="dead"),
    Case("cross", FULL, "decoder to padded source", self=False, valid="ragged"),
    Case("window", CAUSAL & Near(left=6), "sliding window"),
    Case("both sides", Near(4, 3), "local encoder"),
    Case("dilated", Near(8, 8) & Strided(3), "dilated window"),
    Case("blocks", Block(7), "block diagonal"),
    Case("packed", CAUSAL & Same("document"), "packed decoder", tags=("document",)),
    Case("packed encoder", Same("document"), "packed encoder", tags=("document",)),
    Case("prefix", CAUSAL | Where("prefix"), "prefix language model", tags=("prefix",)),
    Case(
        "global",
        Near(3, 3) | Where("prefix") | Where("prefix", of="query"),
        "local attention with global tokens",
        tags=("prefix",),
    ),
    Case(
        "block sparse",
        Near(1, 1, "block") | Scattered(1, 3),
        "neighbouring blocks and random ones (BigBird)",
        tags=("block", "blocks"),
    ),
    Case(
        "images", Holds("images", "image"), "words that attend to images", tags=("images", "image")
    ),
    Case("adjacency", Dense("links") & CAUSAL, "any graph, as an array"),
    Case("edge list", Listed("edges"), "a graph network, each edge once"),
    Case(
        "multigraph",
        Listed("edges_again") & Same("document"),
        "edges several times, entries that fill up",
        valid="ragged",
        tags=("document",),
    ),
    Case("complement", ~(CAUSAL & Same("document")) & Near(9), "complements", tags=("document",)),
]
NAMES = {case.name: case for case in CASES}


def _tiled(*arguments, **options):
    return tiled.attend(*arguments, size=(8, 16), **options)


BACKENDS = {
    "reference": reference.attend,
    "tiled": _tiled,
    "xla": fused.xla,
    "pallas": pallas.attend,
    "edges": listed.attend,
}


def inputs(case: Case, width: int = U) -> dict[str, Any]:
    """Queries, keys, values, the cotangent of the output, and the arrays of the graph."""
    rng = np.random.default_rng(len(case.name))
    keys = T if case.self else S
    shapes = {"q": (B, T, H, K), "k": (B, keys, G, K), "v": (B, keys, G, width)}
    arrays = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    arrays["flow"] = rng.normal(size=(B, T, H, width))
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    arrays["document"] = np.sort(rng.integers(0, 4, (B, keys)), 1).astype(np.int32)
    arrays["prefix"] = np.isin(np.arange(keys), [0, 1, 11]).astype(np.int32)[None]
    arrays["block"] = (np.arange(keys) // 4).astype(np.int32)[None]
    arrays["image"] = (np.arange(keys) // 5).astype(np.int32)[None]
    arrays["images"] = rng.integers(0, 2**8, (B, keys)).astype(np.int32)
    arrays["blocks"] = np.full((1, keys), -(-keys // 4), np.int32)
    arrays["links"] = rng.random((B, T, keys)) < 0.2
    lists = [np.divmod(rng.permutation(keys * T)[:150], T) for _ in range(B)]
    arrays["edges"] = np.array(lists, np.int32)
    again = rng.integers(0, keys, (B, 2, 90))
    again[:, :, 20:50] = again[:, :, 60:61]
    again[:, :, 7::9] = -1
    arrays["edges_again"] = again.astype(np.int32)
    arrays["valid"] = np.arange(keys) < np.array([[keys], [keys - 9]])
    if case.valid == "dead":
        arrays["valid"] = arrays["valid"] & np.array([[True], [False]])
    arrays["sinks"] = rng.normal(size=H).astype(np.float32)
    arrays["score"] = {
        "table": rng.normal(size=(11, H)).astype(np.float32),
        "width": 0.2 * rng.normal(size=(H, K)).astype(np.float32),
    }
    return arrays


def edges_of(case: Case, arrays) -> Edges:
    """The graph of a case; `index` is known while tracing, all other tags are not."""
    tags = {name: arrays[name] for name in case.tags}
    valid = arrays["valid"] if case.valid else None
    keys = sequence(arrays["k"].shape[1], tags=tags, valid=valid)
    queries = Nodes(keys.tags) if case.self else sequence(T)
    names = ("links", "edges", "edges_again")
    return connect(case.mask, queries, keys, {name: arrays[name] for name in names})


class Offsets(ScoreRule):
    """A score by clipped offset, with parameters, and a part that reads queries and keys."""

    def __init__(self, replaces: bool = False):
        self.replaces = replaces

    def __eq__(self, other):
        return isinstance(other, Offsets) and self.replaces == other.replaces

    def __hash__(self):
        return hash(self.replaces)

    def __call__(self, params, q, k, qn, kn, pairs):
        offset = kn.tag("index")[:, None, :] - qn.tag("index")[:, :, None]
        table = jnp.moveaxis(params["table"][jnp.clip(offset, -5, 5) + 5], -1, 1)
        k = jnp.repeat(k, q.shape[2] // k.shape[2], 2)
        return table + jnp.einsum("bthk,hk,bshk->bhts", q, params["width"], k)


OPTIONS = {
    "grouped heads": "query heads share key heads",
    "wide values": "values wider than keys",
    "softcap": "soft cap of the scores",
    "sinks": "a learned logit per head that receives no value",
    "dropout": "dropout of weights",
    "score": "a position score with parameters",
    "replaced score": "a score instead of the dot product",
    "bfloat16": "bfloat16 arrays, float32 sums",
}


def chosen(option: str | None, moving) -> dict:
    """The keywords of `attend` for an option."""
    score = Score(Offsets(option == "replaced score"), moving["score"])
    return {
        "softcap": {"softcap": 1.5},
        "sinks": {"sinks": moving["sinks"]},
        "dropout": {"dropout": 0.3, "key": jax.random.key(7)},
        "score": {"score": score},
        "replaced score": {"score": score},
    }.get(option, {})


@functools.cache
def program(case: Case, backend: str, option: str | None = None):
    """(arrays) -> (output, all gradients), compiled once per graph and backend."""

    def run(arrays):
        def attend(moving):
            edges = edges_of(case, arrays)
            qkv = (moving[name] for name in "qkv")
            return BACKENDS[backend](*qkv, edges, scale=SCALE, **chosen(option, moving))

        out, pull = jax.vjp(attend, {name: arrays[name] for name in MOVING})
        return out, pull(arrays["flow"])[0]

    # Options are many and differ only in arithmetic, and Pallas is interpreted: compile quickly.
    quickly = {"xla_backend_optimization_level": "0", "xla_llvm_disable_expensive_passes": True}
    compiled = jax.jit(run, compiler_options=quickly if option or backend == "pallas" else None)

    def small(arrays):
        with mock.patch.object(pallas, "TILE", 16):
            return compiled(arrays)

    return small


def allowed_edges(case: Case, arrays) -> np.ndarray:
    """Bool[B T S]."""
    allowed = np.asarray(edges_of(case, arrays).allowed())
    return np.broadcast_to(allowed, (B, *allowed.shape[1:]))


def largest_difference(a, b) -> float:
    """The largest difference relative to the largest number."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-9))


def largest_tree_difference(a, b) -> float:
    return max(jax.tree.leaves(jax.tree.map(largest_difference, a, b)))


def judge(case: Case, backend: str) -> dict[str, str]:
    """What the backend does with the graph: "exact", "wrong: ..." or "refuses: ...", each way."""
    arrays = inputs(case)
    try:
        out, grads = program(case, backend)(arrays)
    except Refused as reason:
        return dict.fromkeys(("forward", "gradient"), f"refuses: {reason}")
    expected, expected_grads = program(case, "reference")(arrays)
    problems = {"forward": _problem(largest_difference(out, expected))}
    problems["gradient"] = _problem(largest_tree_difference(grads, expected_grads))
    for way, problem in (
        *changes_without_edges(case, backend),
        *nonzero_without_edges(case, backend),
    ):
        problems[way] = problem if problems[way] == "exact" else problems[way]
    return problems


def _problem(difference: float) -> str:
    # float32 sums in another order: a few units of 6e-8 over up to 37 terms, twice
    return "exact" if difference < 3e-6 else f"wrong: differs by {difference:.0e}"


def judge_option(option: str, backend: str) -> str:
    """The verdict on an option of `attend`, on the packed decoder."""
    case, variant = NAMES["packed"], None if option == "grouped heads" else option
    arrays = inputs(case, 7 if option == "wide values" else U)
    tolerance = 3e-6
    if option == "bfloat16":
        half = {n: arrays[n].astype(jnp.bfloat16) for n in ("q", "k", "v", "flow")}
        arrays, tolerance = {**arrays, **half}, 2e-2  # bfloat16 has 8 bits
    try:
        outputs = program(case, backend, variant)(arrays)
    except Refused as reason:
        return f"refuses: {reason}"
    difference = largest_tree_difference(outputs, program(case, "reference", variant)(arrays))
    return "exact" if difference < tolerance else f"wrong: differs by {difference:.0e}"


def changes_without_edges(case: Case, backend: str) -> list[tuple[str, str]]:
    """Perturbation: a key that a query does not attend to changes nothing in it, not a bit, and
    receives exactly no gradient from it."""
    arrays = inputs(case)
    allowed = allowed_edges(case, arrays)
    counts = allowed.sum(1)
    if (counts == T).all():
        return []
    key = np.where(counts < T, counts, -1).argmax(
        1
    )  # per row, the key with most but not all queries
    row = np.arange(B)
    without_edge = ~allowed[row, :, key]
    without_edge[counts[row, key] == T] = False
    out, _ = program(case, backend)(arrays)
    loud = {n: arrays[n].copy() for n in "kv"}
    for array in loud.values():
        array[row, key] = 5.0 - 77.0 * array[row, key]
    again, _ = program(case, backend)({**arrays, **loud})
    problems = []
    if not np.array_equal(np.asarray(out)[without_edge], np.asarray(again)[without_edge]):
        problems.append(("forward", "wrong: attends to a key without an edge"))
    cotangent = arrays["flow"] * without_edge[:, :, None, None]
    _, grads = program(case, backend)({**arrays, "flow": cotangent})
    if any(np.asarray(grads[name])[row, key].any() for name in "kv"):
        problems.append(("gradient", "wrong: sends gradient to a key without an edge"))
    return problems


def nonzero_without_edges(case: Case, backend: str) -> list[tuple[str, str]]:
    """A query without edges has an output and a gradient of exactly zero."""
    arrays = inputs(case)
    empty = ~allowed_edges(case, arrays).any(-1)
    out, grads = program(case, backend)(arrays)
    problems = []
    if np.asarray(out)[empty].any():
        problems.append(("forward", "wrong: a query without edges is not zero"))
    if np.asarray(grads["q"])[empty].any() or not all(np.isfinite(grads[n]).all() for n in "qkv"):
        problems.append(("gradient", "wrong: a query without edges has a gradient"))
    return problems


def kernel_arguments(case: Case) -> str:
    """The options that cuDNN would get for the graph on a machine that has it."""
    try:
        arrays = jax.tree.map(jnp.asarray, inputs(case))  # not NumPy: known at run time only
        options = fused.lowered(edges_of(case, arrays), (B, T, H, 64), jnp.bfloat16)
    except Refused as reason:
        return f"refuses: {reason}"
    names = ["causal"] * options.causal + [f"left={options.left}"] * (options.left is not None)
    return "options: " + (", ".join(names) or "none (all edges)")
