"""A block: residual branches, one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import jax
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, Key
from transformers_jax.nn.key_values import KeyValues
from transformers_jax.nn.noise import drop_path, dropout, numbered_key, split_key
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.operation import Context, OpResult
from transformers_jax.nn.residual import Residual
from transformers_jax.spec.layers import PARTS

Streams = Mapping[str, Float[Array, "B ..."]]
"""The streams of a stack by name: its tokens [B T D], and those of `StackSpec.streams`."""


class Block(nnx.Module):
    """x + dropout(op(norm(x))) for each branch, or as its placement and residual say."""

    def __init__(
        self,
        branches: tuple[spec.Branch, ...],
        widths: Mapping[str, int],
        initial: spec.Initial,
    ):
        self.branches = branches
        check_attributes(branches, {*dir(self)})
        for branch in branches:
            width = widths[branch.stream]
            setattr(self, branch.name, branch.op.build(width, initial, branch.source))
            norms = ("_norm", "_norm_behind") if branch.placement == "both" else ("_norm",)
            for name in norms:
                norm = Norm(branch.norm, width) if branch.norm else None
                setattr(self, branch.name + name, norm)
            residual = branch.residual
            joined = Residual() if residual is None else residual.build(width, initial)
            setattr(self, f"{branch.name}_residual", joined)

    def __call__(
        self,
        streams: Streams,
        context: Context,
        cache: dict[str, KeyValues] | None = None,
        key: Key | None = None,
        drop_rate: Float[Array, ""] | None = None,
    ) -> tuple[Streams, dict[str, KeyValues] | None, dict[str, Array]]:
        """(streams, cache by branch, what was collected: "hidden", and "branch.name" of each
        branch); with a key, branches are left out at the rate `drop_rate`, row by row."""
        caches, entered, first = dict(cache or {}), streams, streams[spec.TOKENS]
        collected: dict[str, Array] = {}
        for number, branch in enumerate(self.branches):
            if not context.reaches(branch.source):
                continue
            x, context = streams[branch.stream], replace(context, streams=streams)
            if f"before.{branch.name}" in context.collect:
                collected["before"] = x
            op_key, key_behind = split_at(key, number)
            norm = getattr(self, f"{branch.name}_norm") or (lambda x: x)
            before = entered[branch.stream]
            y = {"stream": x, "block": before, "normed": first}[branch.reads]
            join: Residual = getattr(self, f"{branch.name}_residual")
            y = y if branch.placement in ("post", "behind") else norm(y)
            first = y if number == 0 else first
            x = y if branch.placement == "entry" else x
            y = join.enter(y, context)
            result = self._apply(branch, context, y, caches.get(branch.name), op_key)
            if result.cache is not None:
                caches[branch.name] = result.cache
            collected |= {f"{branch.name}.{name}": z for name, z in result.collected.items()}
            y = dropout(result.delta, branch.dropout, key_behind)
            y = norm(y) if branch.placement == "behind" else y
            if drop_rate is not None and key_behind is not None:
                y = drop_path(y, drop_rate, numbered_key(key_behind, 1))
            if branch.placement == "both" and branch.norm:
                y = getattr(self, f"{branch.name}_norm_behind")(y)
            x = join(x, y, context)
            x = norm(x) if branch.placement == "post" else x
            x = context.nodes.zeroed(x) if branch.zero_padding else x
            streams = {**streams, branch.stream: x}
        if "hidden" in context.collect:
            collected["hidden"] = streams[spec.TOKENS]
        return streams, caches or None, collected

    def _apply(self, branch, context, x, cache, key) -> OpResult:
        """The result of a branch's operation; `remat` may have the backward pass recompute it."""
        op = getattr(self, branch.name)
        run = lambda x, cache, key: op.apply(x, context, cache=cache, key=key)
        attends = bool(branch.op.masks)
        if context.remat == ("attention" if attends else "ffn"):
            run = jax.checkpoint(run)
        return run(x, cache, key)


def check_attributes(branches: tuple[spec.Branch, ...], taken: set[str]) -> None:
    """Raises ValueError for a name of a branch that is no attribute of a block, or is `taken`."""
    for branch in branches:
        parts = [f"{branch.name}{part}" for part in PARTS]
        if not str(branch.name).isidentifier() or taken.intersection(parts):
            raise ValueError(
                f"a branch is called {branch.name!r}; expected an identifier that is no attribute "
                "of the block itself, since its parameters are kept under it"
            )


def split_at(key: Key | None, number: int) -> tuple[Key | None, Key | None]:
    """The keys of branch `number`: of its operation, and of the dropout behind it."""
    first, second = split_key(numbered_key(key, number), 2)
    return first, second
