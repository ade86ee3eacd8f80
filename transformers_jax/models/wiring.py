"""How embedders, stacks and heads are connected. A family chooses a wiring; it does not write one.

Single     embed -> stack -> head                  encoders and decoders: only the mask differs
Seq2Seq    embed -> encoder;  embed -> decoder (hearing the encoder) -> head
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array
from transformers_jax.graph import Nodes, sequence
from transformers_jax.models import checks
from transformers_jax.models.base import Model
from transformers_jax.models.output import Output
from transformers_jax.nn.cache import Cache
from transformers_jax.nn.embed import TokenEmbedder
from transformers_jax.nn.head import Answering, Head, MultipleChoice, Pooler, no_head
from transformers_jax.nn.loss import IGNORED
from transformers_jax.nn.stack import Stack


def tokens(
    length: int,
    attention_mask: Array | None,
    position_ids: Array | None,
    tags: Mapping[str, Array] | None,
    cache: Cache | None,
) -> Nodes:
    """The nodes of a row of tokens, or of the next tokens of a cache."""
    extra = {name: jnp.asarray(tag, jnp.int32) for name, tag in (tags or {}).items()}
    if position_ids is not None:
        extra["position"] = jnp.asarray(position_ids, jnp.int32)
    start = 0 if cache is None else cache.length
    valid = None if attention_mask is None else jnp.asarray(attention_mask) > 0
    return sequence(length, start=start, valid=valid, tags=extra)


def collected(output_hidden_states: bool, output_attentions: bool) -> frozenset[str]:
    """What the stack is asked to hand out of every layer."""
    wanted = (("hidden", output_hidden_states), ("weights", output_attentions))
    return frozenset(name for name, asked in wanted if asked)


def split_key(key: Array | None, count: int) -> list[Array | None]:
    """As many keys as there are sources of noise; no key, no noise."""
    return [None] * count if key is None else list(jax.random.split(key, count))


class Single(Model):
    """One stack over embedded ids."""

    def __init__(
        self,
        embed: TokenEmbedder,
        stack: Stack,
        head: Head | None = None,
        pooler: Pooler | None = None,
    ):
        self.embed, self.stack, self.head, self.pooler = embed, stack, head, pooler

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        token_type_ids=None,
        position_ids=None,
        inputs_embeds=None,
        key=None,
        tags=None,
        pairs=None,
        cache=None,
        output_hidden_states=False,
        output_attentions=False,
        **labels,
    ) -> Output:
        per_token = dict(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
        )
        choices = isinstance(self.head, MultipleChoice)
        if choices:  # candidates are rows of their own until the head compares them
            given = input_ids if inputs_embeds is None else inputs_embeds
            labels["choices"] = given.shape[1]
            flat = lambda x: None if x is None else jnp.reshape(x, (-1, *x.shape[2:]))
            per_token = {name: flat(value) for name, value in per_token.items()}
            inputs_embeds = flat(inputs_embeds)
        ids, dtype = per_token["input_ids"], self.dtype
        words = (
            self.embed.words(ids, dtype) if inputs_embeds is None else inputs_embeds.astype(dtype)
        )
        nodes = tokens(
            words.shape[1], per_token["attention_mask"], per_token["position_ids"], tags, cache
        )
        keys = split_key(key, 3)
        x = self.embed(words, nodes, per_token["token_type_ids"], keys[0])
        ran = self.stack(
            x,
            nodes,
            pairs=pairs,
            cache=cache,
            key=keys[1],
            collect=collected(output_hidden_states, output_attentions),
        )
        pooled = None if self.pooler is None else self.pooler(ran.x)
        seen = Answering(ids, self.embed.table[...], pooled, keys[2])
        fields = no_head(ran.x, seen) if self.head is None else self.head(ran.x, seen, **labels)
        return Output(
            **fields,
            cache=ran.cache,
            hidden_states=ran.hidden if output_hidden_states else None,
            attentions=ran.weights if output_attentions else None,
        )

    def init_cache(self, batch: int, length: int) -> Cache:
        """An empty memory for `length` tokens."""
        return self.stack.init_cache(batch, length, self.dtype)

    @property
    def positions(self) -> int | None:
        """How many learned positions there are; None where there is no table."""
        count = self.embed.spec.positions
        return count if isinstance(count, int) else None

    def check(self, inputs: Mapping[str, Any]) -> None:
        ids, vectors = inputs.get("input_ids"), inputs.get("inputs_embeds")
        if (ids is None) == (vectors is None):
            raise ValueError("give input_ids or inputs_embeds, one of the two")
        rank = 3 if isinstance(self.head, MultipleChoice) else 2
        if ids is not None:
            checks.ids("input_ids", ids, self.embed.spec.vocab, rank=rank)
        elif np.ndim(vectors) != rank + 1 or np.shape(vectors)[-1] != self.embed.spec.width:
            raise ValueError(
                f"inputs_embeds has shape {np.shape(vectors)}; expected {rank + 1} axes, the last "
                f"of {self.embed.spec.width}"
            )
        shape = np.shape(ids) if ids is not None else np.shape(vectors)[:-1]
        like = "input_ids" if ids is not None else "inputs_embeds"
        checks.tokens(
            inputs, shape, like, self.positions, self.embed.spec.types, self.embed.spec.vocab
        )
        checks.tags(self.stacks(), inputs, shape)
        checks.room(inputs.get("cache"), shape)
        checks.answers(self, inputs, shape)


class Seq2Seq(Model):
    """An encoder, and a decoder that hears it; one embedding table for both sides."""

    is_encoder_decoder = True

    def __init__(
        self,
        embed: TokenEmbedder,
        encoder: Stack,
        decoder: Stack,
        head: Head | None = None,
        start: int | None = None,
        pad: int | None = None,
    ):
        self.embed, self.encoder, self.decoder, self.head = embed, encoder, decoder, head
        self.start, self.pad = start, pad

    def encode(
        self,
        input_ids=None,
        attention_mask=None,
        inputs_embeds=None,
        key=None,
        tags=None,
        output_hidden_states=False,
        output_attentions=False,
    ) -> Output:
        """The encoder alone: `last_hidden_state` and what else is asked for."""
        inputs = dict(input_ids=input_ids, attention_mask=attention_mask, key=key, tags=tags)
        inputs |= dict(inputs_embeds=inputs_embeds, output_hidden_states=output_hidden_states)
        return self.call("encoder_forward", **inputs, output_attentions=output_attentions)

    def encoder_forward(
        self,
        input_ids=None,
        attention_mask=None,
        inputs_embeds=None,
        key=None,
        tags=None,
        output_hidden_states=False,
        output_attentions=False,
    ) -> Output:
        x, nodes, keys = self._embedded(input_ids, inputs_embeds, attention_mask, tags, None, key)
        collect = collected(output_hidden_states, output_attentions)
        ran = self.encoder(x, nodes, key=keys[1], collect=collect)
        return Output(
            last_hidden_state=ran.x,
            hidden_states=ran.hidden if output_hidden_states else None,
            attentions=ran.weights if output_attentions else None,
        )

    def _embedded(self, ids, vectors, valid, tags, cache, key):
        dtype = self.dtype
        words = self.embed.words(ids, dtype) if vectors is None else vectors.astype(dtype)
        nodes = tokens(words.shape[1], valid, None, tags, cache)
        keys = split_key(key, 3)
        return self.embed(words, nodes, None, keys[0]), nodes, keys

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        decoder_input_ids=None,
        decoder_attention_mask=None,
        encoder_outputs=None,
        inputs_embeds=None,
        decoder_inputs_embeds=None,
        key=None,
        tags=None,
        pairs=None,
        cache=None,
        output_hidden_states=False,
        output_attentions=False,
        **labels,
    ) -> Output:
        heard: dict[str, Any] = {}
        encoder_key, decoder_key = split_key(key, 2)
        if encoder_outputs is not None:
            heard = dict(encoder_outputs)
        elif cache is None:
            heard = dict(
                self.encoder_forward(
                    input_ids,
                    attention_mask,
                    inputs_embeds,
                    encoder_key,
                    None,
                    output_hidden_states,
                    output_attentions,
                )
            )
        source = heard.get("last_hidden_state")
        nodes = (
            None if source is None else tokens(source.shape[1], attention_mask, None, None, None)
        )
        if decoder_input_ids is None and decoder_inputs_embeds is None:
            decoder_input_ids = self._shifted(labels.get("labels"))
        x, own, keys = self._embedded(
            decoder_input_ids,
            decoder_inputs_embeds,
            decoder_attention_mask,
            tags,
            cache,
            decoder_key,
        )
        ran = self.decoder(
            x,
            own,
            pairs=pairs,
            source=source,
            source_nodes=nodes,
            cache=cache,
            key=keys[1],
            collect=collected(output_hidden_states, output_attentions),
        )
        seen = Answering(decoder_input_ids, self.embed.table[...], None, keys[2])
        fields = no_head(ran.x, seen) if self.head is None else self.head(ran.x, seen, **labels)
        return Output(
            **fields,
            cache=ran.cache,
            decoder_hidden_states=ran.hidden if output_hidden_states else None,
            decoder_attentions=ran.weights if output_attentions else None,
            cross_attentions=ran.cross_weights if output_attentions else None,
            encoder_last_hidden_state=source,
            encoder_hidden_states=heard.get("hidden_states"),
            encoder_attentions=heard.get("attentions"),
        )

    def _shifted(self, labels: Array | None) -> Array:
        """Decoder inputs from labels: the start token, then all but the last; -100 becomes pad."""
        if labels is None:
            raise ValueError("give decoder_input_ids (or labels, from which they are made)")
        if self.start is None or self.pad is None:
            raise ValueError(
                "decoder inputs cannot be made from labels: the config lacks "
                "decoder_start_token_id or pad_token_id; give decoder_input_ids"
            )
        ids = jnp.pad(labels[:, :-1], ((0, 0), (1, 0)), constant_values=self.start)
        return jnp.where(ids == IGNORED, self.pad, ids)

    def init_cache(
        self, batch: int, length: int, encoder_outputs: Output, attention_mask: Array | None = None
    ) -> Cache:
        """An empty memory for `length` tokens that has heard the encoder, once."""
        source = encoder_outputs["last_hidden_state"]
        nodes = tokens(source.shape[1], attention_mask, None, None, None)
        return self.decoder.init_cache(batch, length, self.dtype, source=source, source_nodes=nodes)

    @property
    def positions(self) -> int | None:
        """How many learned positions there are; None where there is no table."""
        return None

    def check(self, inputs: Mapping[str, Any]) -> None:
        embed = self.embed.spec
        shapes = {}
        for prefix in ("", "decoder_"):
            ids, vectors = inputs.get(f"{prefix}input_ids"), inputs.get(f"{prefix}inputs_embeds")
            if ids is not None and vectors is not None:
                raise ValueError(f"give {prefix}input_ids or {prefix}inputs_embeds, not both")
            if ids is not None:
                checks.ids(f"{prefix}input_ids", ids, embed.vocab)
            shape = np.shape(ids) if ids is not None else np.shape(vectors)[:2]
            if ids is not None or vectors is not None:
                shapes[prefix] = shape
                like = f"{prefix}input_ids"
                checks.tokens(inputs, shape, like, prefix=prefix)
        heard = inputs.get("encoder_outputs") is not None or inputs.get("cache") is not None
        if "" not in shapes and not heard:
            raise ValueError("give input_ids (or encoder_outputs, or a cache that heard them)")
        if "decoder_" in shapes:
            checks.room(inputs.get("cache"), shapes["decoder_"])
            checks.tags({"decoder": self.decoder}, inputs, shapes["decoder_"])
        answered = shapes.get("decoder_", np.shape(inputs.get("labels", ())))
        checks.answers(self, inputs, answered)
