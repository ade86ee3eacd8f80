"""A tower: an embedder and its stack."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import nnx

from transformers_jax.arrays import Array, Bool, Float, Key
from transformers_jax.models.output import Output
from transformers_jax.nn.cache import Cache
from transformers_jax.nn.embed import Embedder
from transformers_jax.nn.operation import Source
from transformers_jax.nn.stack import NO_SOURCES, Stack, StackOutput

PLAIN = ("stack", "encoder")
"""The towers whose embedder is called `embed`; that of another, `text`, is `text_embed`."""


class TowerOutput(NamedTuple):
    """The output of a tower.

    Attributes:
        x: the stream behind its stack, of the tokens that come from the input.
        valid: where there are tokens; None if everywhere.
        pooled: the vector of a row, if there is a pooler.
        ran: what the stack collected, and its cache.
    """

    x: Float[Array, "B T D"]
    valid: Bool[Array, "B T"] | None
    pooled: Float[Array, "B D"] | None
    ran: StackOutput

    def record(self, router_logits: bool = False) -> Output:
        """As the output of a model without a head."""
        return Output(
            last_hidden_state=self.x,
            pooler_output=self.pooled,
            hidden_states=self.ran.hidden or None,
            attentions=self.ran.weights or None,
            router_logits=self.ran.routers or None if router_logits else None,
        )


@dataclass(frozen=True)
class Tower:
    """An embedder and its stack, and what may follow it.

    Attributes:
        source: the name of the tower to whose tokens the stack attends.
        prefix: of the names of its arguments ("decoder_").
        pooler: makes one vector of a row.
        project: brings its states to the width of the tower that attends to them.
    """

    embed: Embedder
    stack: Stack
    source: str | None = None
    prefix: str = ""
    pooler: nnx.Module | None = None
    project: nnx.Module | None = None

    @property
    def arguments(self) -> tuple[str, ...]:
        """The arguments of a call that it reads."""
        return tuple(self.prefix + name for name in self.embed.arguments)

    def own(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Its arguments among those of a call, without the prefix."""
        named = {name: arguments.get(self.prefix + name) for name in self.embed.arguments}
        return {name: value for name, value in named.items() if value is not None}

    def run(
        self,
        arguments: Mapping[str, Any],
        *,
        dtype: jnp.dtype,
        collect: frozenset[str],
        keys: tuple[Key | None, Key | None],
        pairs: Mapping[str, Array] | None = None,
        sources: Mapping[str, Source] = NO_SOURCES,
        cache: Cache | None = None,
        table: Float[Array, "V D"] | None = None,
    ) -> TowerOutput:
        """Embeds its arguments and runs the stack over the tokens."""
        embed_key, stack_key = keys
        own = self.own(arguments)
        x, nodes, length = self.embed(own, dtype=dtype, cache=cache, key=embed_key, table=table)
        ran = self.stack(
            x,
            nodes,
            pairs=pairs,
            sources=sources,
            cache=cache,
            key=stack_key,
            collect=collect,
        )
        x = ran.x[:, :length]
        if ran.hidden and self.stack.spec.norm_hidden:
            ran = ran._replace(hidden=(*ran.hidden[:-1], x))
        valid = None if nodes.valid is None else nodes.valid[:, :length]
        pooled = None if self.pooler is None else self.pooler(ran.x, own.get("input_ids"))
        return TowerOutput(x, valid, pooled, ran)


def paths(name: str) -> dict[str, str]:
    """The attributes of a network that are the parts of this tower."""
    parts = ("embed", "pooler", "project")
    prefix = "" if name in PLAIN else f"{name}_"
    return {"stack": name, **{part: prefix + part for part in parts}}


def check_towers(
    towers: Mapping[str, Tower], taken: Iterable[str], output_of: str | None = None
) -> None:
    """Whether a network can be made of towers; `taken` are the names of its other attributes.

    Raises:
        ValueError: all that is wrong: no towers; an `output_of` that is none of them; a source that
            is no earlier tower, or to which no branch attends; a branch that attends to something
            else; an embedder that is shared with another tower than the source; two towers that
            would read the same arguments; parts that would have one name.
    """
    if not towers:
        raise ValueError("a network has at least one tower; none came")
    wrong: list[str] = []
    if output_of is not None and output_of not in towers:
        known = ", ".join(map(repr, towers))
        wrong.append(f"output_of is {output_of!r}; the towers are {known}")
    owners = dict.fromkeys(taken, "the network")
    earlier: dict[str, Tower] = {}
    for name, tower in towers.items():
        source, attended = tower.source, tower.stack.sources
        left_out = source is None and tower.stack.spec.source_optional  # its cross-attention
        if source is not None and source not in earlier:
            known = ", ".join(map(repr, earlier)) or "none"
            wrong.append(f"the source of {name!r} is {source!r}; the towers before it are {known}")
        elif not left_out and attended != ([] if source is None else [source]):
            branches = ", ".join(map(repr, attended)) or "only the stream"
            wrong.append(f"{name!r} has the source {source!r}, and its stack attends to {branches}")
        for other in earlier:
            if earlier[other].embed is tower.embed and other != source:
                wrong.append(f"{name!r} has the embedder of {other!r}, which is not its source")
            if both := sorted({*earlier[other].arguments} & {*tower.arguments}):
                wrong.append(
                    f"{name!r} and {other!r} would both read the argument {both[0]!r}; give one a "
                    "prefix of its own"
                )
        for part, path in paths(name).items():
            if getattr(tower, part) is None or path not in owners:
                owners.setdefault(path, f"the tower {name!r}")
            else:
                wrong.append(f"{path!r} of the tower {name!r} is a name of {owners[path]}")
        earlier[name] = tower
    if wrong:
        raise ValueError(f"these towers make no network: {'; '.join(wrong)}")
