"""Experts: a router sends each token to few of several feed-forward networks.

    y = sum over the k chosen experts e of  weight_e * ffn_e(x),  and what a shared one computes

Nothing is dropped unless a capacity says so: tokens are put in the order of their experts, in
blocks that are multiplied with one expert's matrix each (`nn.grouped_matmul`). On a mesh each
device holds some experts, serves the tokens of all devices that differ from it in the axis
`experts` alone, and sends the sums back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from transformers_jax.arrays import Array, Bool, Float, Int, Key, wide
from transformers_jax.nn import noise
from transformers_jax.nn.feedforward import FeedForward, FeedForwardSpec, Mlp, hidden_units
from transformers_jax.nn.grouped_matmul import arrange, by_group
from transformers_jax.nn.operation import OpResult
from transformers_jax.nn.param import param
from transformers_jax.nn.precision import precise
from transformers_jax.nn.routers import Router, Routes, Softmax, routed
from transformers_jax.shard import cutting, mesh_sizes
from transformers_jax.spec import ZEROS, Initial, OpFlops, OpSpec


@dataclass(frozen=True)
class Shared:
    """A network that serves every token beside the chosen experts (Dai et al. 2024, DeepSeekMoE).

    Attributes:
        gated: whether its output is multiplied by the sigmoid of a score of the token (Qwen2).
    """

    ffn: FeedForwardSpec
    gated: bool = False


@dataclass(frozen=True)
class ExpertsSpec(OpSpec):
    """Several feed-forward networks, of which each token is served by few (Shazeer et al. 2017).

    Attributes:
        count: E, how many there are.
        top: k, how many serve a token.
        ffn: what each of them computes.
        router: how scores become experts and weights.
        shared: what serves every token.
        capacity: how many tokens of a row an expert serves; those beyond, counted by choice and
            then by their order, receive zero from it. None: all of them.
        jitter: with a key, inputs are multiplied by uniform(1 - jitter, 1 + jitter).
        jittered: which inputs: those of the "router" (Fedus et al. 2021, section 2.4), or those of
            router and experts, the "tokens" (Mixtral in transformers).
    """

    count: int
    top: int
    ffn: FeedForwardSpec
    router: Router = Softmax()
    shared: Shared | None = None
    capacity: int | None = None
    jitter: float = 0.0
    jittered: Literal["router", "tokens"] = "router"

    def __post_init__(self):
        if not 1 <= self.top <= self.count:
            raise ValueError(
                f"top ({self.top}) must lie between 1 and the number of experts ({self.count})"
            )
        if self.capacity is not None and self.capacity < 1:
            raise ValueError(f"capacity ({self.capacity}) must be at least 1, or None for no limit")
        self.router.check(self.count, self.top)

    collects = frozenset({"router"})

    def build(self, width: int, initial: Initial, source: str | None = None) -> Experts:
        return Experts(self, width, initial)

    def flops(self, width, queries, keys, edges) -> OpFlops:
        """The router, then `top` experts for every token, and what serves all."""
        served = self.ffn.flops(width, self.top * queries, keys, edges).projections
        if self.shared is not None:
            served += self.shared.ffn.flops(width, queries, keys, edges).projections
            served += 2.0 * width * queries * self.shared.gated
        return OpFlops(2.0 * width * self.count * queries + served)

    def describe(self) -> str:
        text = f"{self.top} of {self.count} experts, {self.ffn.describe()}"
        return text if self.shared is None else f"{text}, and shared {self.shared.ffn.hidden:,}"


# ---------------------------------------------------------------- which experts serve a token


def route(
    logits: Float[Array, "B T E"],
    experts: ExpertsSpec,
    correction: Float[Array, " E"] | None = None,
) -> Routes:
    """The experts of each token, from the router's scores in float32; those that have room."""
    expert, weight = routed(experts.router, logits, experts.top, correction)
    if experts.capacity is not None:
        room = has_room(expert, experts.count, experts.capacity)
        expert, weight = jnp.where(room, expert, experts.count), jnp.where(room, weight, 0.0)
    return Routes(expert, weight)


def has_room(expert: Int[Array, "B T k"], count: int, capacity: int) -> Bool[Array, "B T k"]:
    """Whether an expert still serves a token: each serves `capacity` of a row, first those of which
    it is the first choice, in their order (Lepikhin et al. 2020, algorithm 1; Switch, 2.2)."""
    B, T, k = expert.shape
    by_choice = jnp.moveaxis(expert, 2, 1).reshape(B, k * T)
    chosen = by_choice[..., None] == jnp.arange(count)
    rank = (jnp.cumsum(chosen, axis=1) * chosen).sum(-1)
    return jnp.moveaxis((rank <= capacity).reshape(B, k, T), 1, 2)


# ---------------------------------------------------------------- the module


class Experts(FeedForward):
    """A router and its experts, whose parameters have a leading `experts` axis."""

    def __init__(self, experts: ExpertsSpec, width: int, initial: Initial):
        self.experts = experts
        sizes = {"embed": width, "mlp": experts.ffn.hidden, "experts": experts.count}
        sizes["scores"] = experts.count  # of the router, which every device has whole
        super().__init__(experts.ffn, sizes, initial, leading="experts ")
        # where a correction decides between near scores, both are of float32 (as in PyTorch)
        corrected, draw = experts.router.corrected, initial.draw("router", sizes)
        router = param("embed scores", sizes, draw)
        self.router = precise(router) if corrected else router
        self.router_bias = param("scores", sizes, ZEROS) if experts.router.bias else None
        correction = param("scores", sizes, ZEROS, learned=False)
        self.correction = precise(correction) if corrected else None
        shared = experts.shared
        self.shared = Mlp(shared.ffn, width, initial) if shared else None
        gated = shared is not None and shared.gated
        self.shared_gate = param("embed", sizes, draw) if gated else None

    def __call__(
        self, x: Float[Array, "B T D"], *, key: Key | None = None
    ) -> tuple[Float[Array, "B T D"], dict[str, Float[Array, "B T E"]]]:
        """(what the chosen experts make of each token, {"router": the scores}), with noise if there
        is a key. Padding is served as well, and takes room where there is a capacity (Switch)."""
        router_key, key = noise.split_key(key, 2)
        inputs = x.astype(wide(x))  # selective precision: Fedus et al. 2021, section 2.4
        if router_key is not None and self.experts.jitter:
            jitter = self.experts.jitter
            inputs *= jax.random.uniform(router_key, x.shape, jnp.float32, 1 - jitter, 1 + jitter)
            x = inputs.astype(x.dtype) if self.experts.jittered == "tokens" else x
        logits = jnp.einsum("btd,de->bte", inputs, self.router[...].astype(inputs.dtype))
        if self.router_bias is not None:
            logits = logits + self.router_bias[...].astype(inputs.dtype)
        correction = None if self.correction is None else self.correction[...]
        routes = route(logits, self.experts, correction)
        names = ("up", "gate", "down", "up_bias", "gate_bias", "down_bias")
        leaves = {name: getattr(self, name) for name in names}
        mixed = bool(getattr(self.up, "mixed", False))
        weights = {name: leaf[...] for name, leaf in leaves.items() if leaf is not None}
        y = _serve_on_mesh(self.experts, x, routes, weights, key, mixed)
        return y if self.shared is None else y + self._shared(x, key), {"router": logits}

    def _shared(self, x: Array, key: Key | None) -> Float[Array, "B T D"]:
        """What serves every token."""
        assert self.shared is not None
        y = self.shared(x, key=noise.numbered_key(key, 1))
        if self.shared_gate is None:
            return y
        score = jnp.einsum("btd,d->bt", x.astype(wide(x)), self.shared_gate[...].astype(wide(x)))
        return y * jax.nn.sigmoid(score)[..., None].astype(y.dtype)

    def apply(self, x, context, *, cache=None, key=None) -> OpResult:
        delta, collected = self(x, key=key)
        return OpResult(delta, None, collected)


# ---------------------------------------------------------------- on one device


class Part(NamedTuple):
    """Which part of the whole a device computes: the first of its experts, of the rows of the batch
    and of the hidden units."""

    expert: Array | int = 0
    row: Array | int = 0
    unit: Array | int = 0


def _serve(experts: ExpertsSpec, x, routes: Routes, weights, bits, mixed, part=Part()) -> Array:
    """Float[B T D]: the sums over those experts and hidden units whose `weights` are passed, for
    the tokens `x`, Float[B T D]."""
    (B, T, D), k = x.shape, experts.top
    expert = routes.expert.reshape(-1) - part.expert
    blocks = arrange(expert, weights["up"].shape[0])
    token = jnp.where(blocks.row < expert.shape[0], blocks.row // k, B * T)
    rows = _take(x.reshape(B * T, D), token).reshape(blocks.group.shape[0], -1, D)

    def times(x: Array, name: str) -> Array:
        y, bias = by_group(x, weights[name], blocks.group, mixed), weights.get(f"{name}_bias")
        return y if bias is None else y + _take(bias, blocks.group)[:, None].astype(y.dtype)

    gate = times(rows, "gate") if "gate" in weights else None
    hidden = hidden_units(experts.ffn, times(rows, "up"), gate)
    if bits is not None and experts.ffn.dropout:
        row = blocks.row.reshape(hidden.shape[:2])[..., None] + part.row * T * k
        unit = part.unit + jnp.arange(hidden.shape[-1])
        keep = noise.keep(experts.ffn.dropout, bits, row, unit)
        hidden = jnp.where(keep, hidden / (1 - experts.ffn.dropout), 0).astype(hidden.dtype)
    outputs = _take(times(hidden, "down").reshape(-1, D), blocks.slot).reshape(B, T, k, D)
    return jnp.einsum("btkd,btk->btd", outputs, routes.weight.astype(x.dtype))


def _take(rows: Array, indices: Array) -> Array:
    """Rows by index; zeros for an index beyond the last."""
    return jnp.take(rows, indices, axis=0, mode="fill", fill_value=0)


# ---------------------------------------------------------------- on a mesh


def _serve_on_mesh(experts: ExpertsSpec, x, routes: Routes, weights, key, mixed) -> Array:
    """`_serve` under the current mesh; the compiler would gather all experts everywhere."""
    bits = None if key is None else noise.words(key)
    sizes = mesh_sizes()
    if not sizes:
        return _serve(experts, x, routes, weights, bits, mixed)
    (rows,), (owners,) = cutting("batch", x.shape), cutting("experts", (experts.count,))
    (units,) = cutting("mlp", (experts.ffn.hidden,))
    units = tuple(axis for axis in units if axis not in owners)
    shared = tuple(axis for axis in owners if axis in rows)  # their tokens are served together
    partition = {"experts": owners or None, "mlp": units or None}
    axes = {
        name: "experts mlp embed" if name == "down" else "experts embed mlp" for name in weights
    }
    axes |= {"up_bias": "experts mlp", "gate_bias": "experts mlp", "down_bias": "experts embed"}
    of = lambda name: PartitionSpec(*[partition.get(axis) for axis in axes[name].split()])

    def local(x, expert, weight, weights, bits):
        if shared:
            x, expert, weight = (
                jax.lax.all_gather(a, shared, axis=0, tiled=True) for a in (x, expert, weight)
            )
        index = lambda names: jax.lax.axis_index(names) if names else 0
        # gathered rows are those of all devices that differ only in `shared`
        whole = tuple(axis for axis in rows if axis not in shared)
        part = Part(
            expert=index(owners) * weights["up"].shape[0],
            row=index(whole) * x.shape[0],
            unit=index(units) * weights["up"].shape[2],
        )
        if units and "down_bias" in weights:  # every device adds a part of the sum, but one bias
            weights |= {"down_bias": jnp.where(index(units) == 0, weights["down_bias"], 0)}
        y = _serve(experts, x, Routes(expert, weight), weights, bits, mixed, part)
        if shared:
            y = jax.lax.psum_scatter(y, shared, scatter_dimension=0, tiled=True)
        others = tuple(axis for axis in (*owners, *units) if axis not in shared)
        return jax.lax.psum(y, others) if others else y

    by_row = PartitionSpec(rows or None)
    return jax.shard_map(
        local,
        in_specs=(by_row, by_row, by_row, {name: of(name) for name in weights}, PartitionSpec()),
        out_specs=by_row,
        axis_names=set(sizes),
        check_vma=False,
    )(x, routes.expert, routes.weight, dict(weights), bits)  # fmt: skip
