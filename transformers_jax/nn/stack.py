"""A stack: patterns of blocks, repeated, their parameters stored with a leading `layers` axis.

Scan, remat, sharding rules, optimizers and weight tables mention a layer once. Training may unroll
by slicing inside the trace (20 to 30 % faster steps on a CPU); decoding turns the parameters once,
outside its loop, into one tree per layer (`layers="list"`), because slicing stacked parameters in
every step would copy all weights for every token.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Float, Key, check_counted
from transformers_jax.graph import Edges, Mask, Nodes, connect
from transformers_jax.nn.attend import Score, prepare
from transformers_jax.nn.block import Block, Streams
from transformers_jax.nn.cache import Cache, CacheEntry, CacheSpec, empty_cache
from transformers_jax.nn.extend import drawn
from transformers_jax.nn.key_values import KeyValues
from transformers_jax.nn.layers import layer_of
from transformers_jax.nn.noise import dropout, numbered_key, split_key
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.operation import Context, Source
from transformers_jax.nn.param import Layers, merge, numbered, split, stacked
from transformers_jax.nn.position import rotation, score_module
from transformers_jax.nn.stack_output import StackOutput as StackOutput
from transformers_jax.shard import constrain, varying

UNROLLED_ON_CPU = 24  # repeats; beyond, compiling costs more than unrolling gains
BY_BRANCH = frozenset({"attention", "ffn"})
"""What `Execution.remat` recomputes branch by branch: those that attend, or those that do not."""

LAYER = np.uint32(2**32 - 1)
"""What the key of a whole layer has folded in: no branch has this number."""

NO_SOURCES: Mapping[str, Source] = MappingProxyType({})
NO_STREAMS: Streams = MappingProxyType({})


class Stack(nnx.Module):
    """Blocks, one after the other, then the final norm."""

    def __init__(self, stack: spec.StackSpec, execution: spec.Execution):
        self.spec, self.execution = spec.masked_by_layer(stack), execution
        stack = self.spec
        make = lambda branches: Block(branches, stack.widths, stack.initial)
        layers = lambda numbers: Layers(tuple(numbers), stack.depth, bool(stack.order))
        if execution.layers == "list":
            blocks = [numbered(make(b), layers((n,))) for n, b in enumerate(stack.blocks)]
        else:
            blocks = [stacked(make(stack.blocks[slot[0]]), layers(slot)) for slot in stack.slots]
        self.blocks = nnx.List(blocks)
        self.norm = Norm(stack.final_norm, stack.width) if stack.final_norm else None
        op = next((b.op for b in self._attends(False) if b.op.score is None), None)
        score: Any = stack.score
        self.score = score and score_module(score, op, stack.width, stack.initial)

    def __call__(
        self,
        x: Float[Array, "B T D"],
        nodes: Nodes,
        *,
        pairs: Mapping[str, Array] | None = None,
        sources: Mapping[str, Source] = NO_SOURCES,
        scores: Mapping[str, Score | None] | None = None,
        condition: Float[Array, "B E"] | Float[Array, "L B E"] | None = None,
        prefix: tuple[Array, Array] | None = None,
        streams: Streams = NO_STREAMS,
        cache: Cache | None = None,
        key: Key | None = None,
        collect: frozenset[str] = frozenset(),
    ) -> StackOutput:
        """Runs the blocks over the tokens `nodes`, with cross-attention to `sources`, by name.

        With a cache the tokens are the next ones; keys of earlier tokens and of the sources are
        read from it. `scores` are those of "self" and of each source, instead of the stack's own.
        `condition` modulates residuals (`nn.residual`), by layer where it has an axis of layers,
        `prefix` are keys and values by layer,
        `streams` those of the spec beside the tokens.

        Raises:
            ValueError: branches that are modulated, and no condition of their width; a source that
                is missing, or to which no branch attends; streams that are not those of the spec.
        """
        self._check_condition(condition)
        self._check_streams(streams)
        if self.spec.layout is not None:
            check_counted(nodes.length)
            noise: Any = np.full((1, nodes.length), key is not None, np.int32)
            nodes = self.spec.layout(nodes.with_tags(noise=noise))
        shared = self._context(nodes, pairs, sources, cache, collect, key)
        context = replace(shared, condition=condition, prefix=prefix)
        if scores:
            own = scores.get("self") or context.scores.get(None)
            named: dict[str | None, Any] = {name: scores.get(name) for name in self.sources}
            context = replace(context, scores={None: own, **named})
        first = constrain(x, "batch length embed")
        key, last_key = split_key(key, 2)
        caches = None if cache is None else cache.layers
        run = self._run_list if self.execution.layers == "list" else self._run_stacked
        behind, caches, collected = run({spec.TOKENS: first, **streams}, context, caches, key)
        x = behind.pop(spec.TOKENS)
        x = dropout(x if self.norm is None else self.norm(x), self.spec.dropout, last_key)
        hidden = tuple(layer["hidden"] for layer in collected) if "hidden" in collect else ()
        if hidden:  # index 0 is what went in
            last = x if self.spec.norm_hidden else hidden[-1]
            hidden = (collected[0].get("before", first), *hidden[:-1], last)
        if cache is not None:
            cache = cache.advance(nodes, caches)
        return StackOutput(x, cache, hidden, self._by_name(collected), behind)

    def _by_name(self, collected: Sequence[Mapping[str, Array]]) -> dict[str, tuple[Array, ...]]:
        """What was collected of every layer's branches, by what it is."""
        results: dict[str, tuple[Array, ...]] = {}
        for layer, branches in zip(collected, self.spec.applied):
            for branch in branches:
                for what in sorted(branch.op.collects):
                    if (value := layer.get(f"{branch.name}.{what}")) is not None:
                        name = what if branch.source is None else f"cross_{what}"
                        results[name] = (*results.get(name, ()), value)
        return results

    def _check_condition(self, condition: Array | None) -> None:
        residuals = {b.residual for block in self.spec.blocks for b in block if b.residual}
        widths = {r.condition for r in residuals if r.condition is not None}
        width = None if condition is None else condition.shape[-1]
        if widths != ({width} - {None}):
            needed = f"a condition [B {', '.join(map(str, widths))}]" if widths else "no condition"
            raise ValueError(f"the branches of this stack are modulated by {needed}; {width} came")

    def _check_streams(self, streams: Streams) -> None:
        shapes = {name: x.shape[-1] for name, x in streams.items()}
        if shapes != dict(self.spec.streams):
            raise ValueError(
                f"this stack has the further streams {dict(self.spec.streams) or 'none'}, by name "
                f"and width; {shapes or 'none'} came"
            )

    # ------------------------------------------------------------ running the layers

    def _run_list(self, x, context, caches, key):
        new_caches, collected = [], []
        for number, owner in enumerate(self.spec.order or range(len(self.blocks))):
            cache = None if caches is None else caches[number]
            run = self._remat(functools.partial(self._layer, context.of_layer(number)))
            x, cache, results = run(self.blocks[owner], x, cache, *self._noise(key, number))
            new_caches.append(cache)
            collected.append(results)
        return x, tuple(new_caches), collected

    def _run_stacked(self, x, context, caches, key):
        new_caches, collected = [], list[Any]()
        for segment in self.spec.segments:
            slots = slice(segment.slot, segment.slot + len(segment.pattern))
            own = None if caches is None else caches[slots]
            run = functools.partial(self._run_segment, segment, list(self.blocks)[slots])
            x, own, results = run(len(collected), x, context, own, key)
            new_caches.extend(own)
            collected.extend(results)
        return x, tuple(new_caches), collected

    def _run_segment(self, segment, blocks, first, x, context, caches, key):
        """A pattern of blocks, repeated from step `first` on, with parameters as `order` says."""
        definitions, params = zip(*(split(block) for block in blocks))
        period, order = len(definitions), self.spec.steps_of(segment)
        owners = np.array(order if self.spec.order else (), np.int32) - segment.first
        steps = len(order) // period

        def body(x, slices):
            layers, caches, step, owner = slices
            layers = layer_of(params, owner) if layers is None else layers
            new_caches, collected = [], []
            for slot, definition in enumerate(definitions):
                number = first + step * period + slot
                cache = None if caches is None else caches[slot]
                block, noise = merge(definition, layers[slot]), self._noise(key, number)
                x, cache, results = self._layer(context.of_layer(number), block, x, cache, *noise)
                new_caches.append(cache)
                collected.append(results)
            return x, (tuple(new_caches), tuple(collected))

        own = len(owners) == 0  # each step has parameters of its own
        slices = (params if own else None, caches, jnp.arange(steps), None if own else owners)
        vary = lambda one: varying(one, params, context.sources)  # latents vary by images
        body, x = self._remat(body), jax.tree.map(vary, x)
        if not self._unrolls(steps):
            x, (caches, collected) = jax.lax.scan(body, x, slices)
        else:
            results = []
            for step in range(steps):
                x, result = body(x, layer_of(slices, step))
                results.append(result)
            caches, collected = jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)
        numbers = range(steps * period)
        return x, caches, [layer_of(collected[n % period], n // period) for n in numbers]

    def _noise(self, key: Key | None, number: int | Array) -> tuple[Key | None, Array | None]:
        """The key of layer `number`, and the probability with which its branches are left out."""
        if key is None:
            return None, None
        layer_key = numbered_key(key, number)
        rates, most = self.spec.drop_path, self.execution.drop_path
        if most:
            rates = most * np.arange(1, self.spec.depth + 1) / self.spec.depth
        return layer_key, jnp.asarray(rates, jnp.float32)[number] if any(rates) else None

    def _layer(self, context, block, x, cache, key, drop_rate):
        """(streams, cache, what was collected) after a layer; the streams before one left out."""
        y, cache, collected = block(x, context, cache, key, drop_rate)
        if key is not None and self.spec.layerdrop:
            own = jax.random.fold_in(key, LAYER)
            left_out = jax.random.uniform(own) < self.spec.layerdrop
            y = {name: jnp.where(left_out, x[name], y[name]) for name in y}
        tokens = constrain(y[spec.TOKENS], "batch length embed")
        return {**y, spec.TOKENS: tokens}, cache, collected

    def _unrolls(self, steps: int) -> bool:
        if steps == 1 or self.execution.unroll is not None:  # one may change the stream's width
            return steps == 1 or bool(self.execution.unroll)
        return steps <= UNROLLED_ON_CPU and jax.default_backend() == "cpu"

    def _remat(self, function):
        """The function, of whose results the backward pass stores those that `remat` says."""
        name = self.execution.remat
        if name is None or name in BY_BRANCH:  # blocks do this themselves
            return function
        if name == "full":
            return jax.checkpoint(function)
        name = "dots_with_no_batch_dims_saveable" if name == "dots" else name
        return jax.checkpoint(function, policy=getattr(jax.checkpoint_policies, name))

    # ------------------------------------------------------------ what all layers read

    def masks(self, kind: str) -> list[Mask]:
        """The different masks of the stack's branches that attend to the stream ("self"), or to
        other tokens ("cross")."""
        return list(dict.fromkeys(m for b in self._attends(kind == "cross") for m in b.op.masks))

    @property
    def sources(self) -> list[str]:
        """The names of what the branches attend to, beside the stream."""
        return list(dict.fromkeys(b.source for b in self._attends(True) if b.source is not None))

    def _attends(self, cross: bool) -> list[spec.Branch]:
        """The different branches whose edges the stack draws, to the stream or to a source."""
        every = dict.fromkeys(branch for block in self.spec.blocks for branch in block)
        drawn = (branch for branch in every if branch.op.drawn and branch.op.masks)
        return [branch for branch in drawn if (branch.source is not None) == cross]

    def _context(self, nodes, pairs, sources, cache, collect, key=None) -> Context:
        how = self.execution.attention
        edges: dict[tuple[str | None, Mask, Any], Edges] = {}
        rotations: dict[tuple[spec.Rotary, int], tuple[Array, Array]] = {}
        for op in (branch.op for branch in self._attends(False)):
            for mask in op.masks:
                if (None, mask, op.extend) not in edges:
                    along, keys = drawn(op.extend, mask, nodes, cache)
                    graph = connect(along, nodes, keys, pairs, self.spec.features)
                    edges[None, mask, op.extend] = prepare(graph, how)
            if op.rotary is not None and (op.rotary, op.rotated) not in rotations:
                rotations[op.rotary, op.rotated] = rotation(op.rotary, op.rotated, nodes, key)
        present = {name: source.nodes for name, source in sources.items()}
        attending, present = (nodes, present) if cache is None else cache.attending(nodes)
        self._check_sources(present)
        for branch in self._attends(True):
            for mask in branch.op.masks if branch.source in present else ():
                graph = connect(mask, attending, present[branch.source], pairs)
                edges[branch.source, mask, None] = prepare(graph, how)
        return Context(
            nodes=nodes,
            edges=edges,
            rotations=rotations,
            scores={} if self.score is None else {None: self.score(nodes=nodes)},
            sources={name: source.x for name, source in sources.items()},
            how=how,
            collect=self.spec.collecting(collect),
            remat=self.execution.remat,
        )

    def _check_sources(self, present: Mapping[str, Any]) -> None:
        if unread := present.keys() - {*self.sources}:
            raise ValueError(
                f"no branch of this stack attends to {min(unread)!r}; they attend to "
                f"{', '.join(map(repr, self.sources)) or 'the stream alone'}"
            )
        missing = [name for name in self.sources if name not in present]
        if missing and not self.spec.source_optional:
            raise ValueError(
                f"this stack attends to {missing[0]!r}: it needs those tokens as a source"
            )

    # ------------------------------------------------------------ the cache

    def init_cache(
        self,
        batch: int,
        made_for: CacheSpec,
        sources: Mapping[str, Source] = NO_SOURCES,
    ) -> Cache:
        """An empty cache of so many rows; cross-attention's keys are computed here, once."""
        self._check_sources(sources)
        stacked = self.execution.layers != "list"
        entries = self._cache_entries(stacked)
        return empty_cache(entries, batch, made_for, sources, stacked=stacked)

    def _cache_entries(self, stacked: bool) -> Iterator[CacheEntry]:
        """What a cache holds: an entry per slot, its leaves stacked, or one per step."""
        if not stacked:
            for owner in self.spec.order or range(len(self.blocks)):
                keys = functools.partial(_source_keys, self.blocks[owner])
                yield CacheEntry(self.spec.blocks[owner], (), keys)
            return
        for block, layers in zip(self.blocks, self.spec.slots):
            keys = functools.partial(_source_keys, block, stacked=True)
            count = sum(n in layers for n in self.spec.order) or len(layers)
            yield CacheEntry(self.spec.blocks[layers[0]], (count,), keys)


def _source_keys(block: Block, name: str, source: Array, stacked: bool = False) -> KeyValues:
    """The keys and values that the branch of a name computes from its source."""
    definition, params = split(getattr(block, name))
    project = lambda params: merge(definition, params).project(source)
    return KeyValues.of_source(*(jax.vmap(project) if stacked else project)(params))
