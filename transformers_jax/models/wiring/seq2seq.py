"""Seq2Seq: embed -> encoder; embed -> decoder, which hears the encoder -> head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Float
from transformers_jax.models import checks
from transformers_jax.models.answers import answers
from transformers_jax.models.base import Model, by_name
from transformers_jax.models.inputs import (
    Fill,
    Mark,
    check_marks,
    collected,
    described,
    placed,
    row_length,
    split_key,
    tokens,
    word_count,
    word_table,
)
from transformers_jax.models.output import Output
from transformers_jax.nn.embed import TokenEmbedder
from transformers_jax.nn.experts import RouterLosses
from transformers_jax.nn.head import (
    Head,
    HeadInputs,
    LanguageModel,
    no_head,
)
from transformers_jax.nn.loss import IGNORED
from transformers_jax.nn.pooling import LastOf
from transformers_jax.nn.stack import Stack


class Seq2Seq(Model):
    """An encoder, and a decoder that hears it.

    Args:
        decoder_embed: what the decoder adds to the words, where that is another than the encoder's
            (BART's positions and norm). With `vocab=None` it reads the encoder's words, otherwise
            it has a table of its own, which is also that of a tied output.
        output_of: the side whose words a tied output shares.
        start, pad: ids from which decoder inputs are made where there are none; `start="last"` is
            the last token of each row that is no padding (mBART: the code of its language).
        input_ids_shifted: whether they are made of the input ids where there are no labels (BART).
        pads_masked: whether pads among decoder inputs that are made of labels are padding.
        marks, fill: of the encoder's tokens, as in `Single`.
        routing: what the routers of experts add to the loss, where their scores are asked for.
    """

    is_encoder_decoder = True
    encoder: Any  # a Stack, where no subclass says otherwise

    def __init__(
        self,
        embed: TokenEmbedder,
        encoder: Stack,
        decoder: Stack,
        head: Head | None = None,
        *,
        decoder_embed: TokenEmbedder | None = None,
        output_of: Literal["encoder", "decoder"] = "decoder",
        start: int | Literal["last"] | None = None,
        pad: int | None = None,
        input_ids_shifted: bool = False,
        pads_masked: bool = False,
        marks: tuple[Mark, ...] = (),
        fill: Fill | None = None,
        routing: RouterLosses | None = None,
    ):
        self.embed, self.encoder, self.decoder, self.head = embed, encoder, decoder, head
        self.decoder_embed, self.output_of = decoder_embed, output_of
        self.start, self.pad, self.routing = start, pad, routing
        self.input_ids_shifted, self.pads_masked = input_ids_shifted, pads_masked
        self.marks, self.fill = marks, fill

    @property
    def labels(self) -> tuple[str, ...]:
        return (*(mark.argument for mark in self.marks), *super().labels)

    def arguments(self, method="forward"):
        asked = () if self.head is None else self.head.labels  # no question of the encoder's
        names = super().arguments(method)
        return names if method == "forward" else tuple(n for n in names if n not in asked)

    def encode(self, input_ids=None, **inputs: Any) -> Output:
        """The encoder alone, of the arguments of `encoder_forward`: `last_hidden_state` and what
        else is asked for."""
        return self.call("encoder_forward", input_ids=input_ids, **inputs)

    @by_name
    def encoder_forward(
        self,
        input_ids=None,
        attention_mask=None,
        inputs_embeds=None,
        token_type_ids=None,
        key=None,
        tags=None,
        output_hidden_states=False,
        output_attentions=False,
        output_router_logits=False,
        **marks,
    ) -> Output:
        per_token = dict(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=None,
        )
        per_token |= {m.argument: marks.get(m.argument) for m in self.marks}
        words, nodes, types = described(
            self.embed, per_token, inputs_embeds, tags, self.dtype, None, self.marks, self.fill
        )
        keys = split_key(key, 3)
        collect = collected(output_hidden_states, output_attentions)
        x = self.embed(words, nodes, types, keys[0])
        ran = self.encoder(x, nodes, key=keys[1], collect=collect)
        x = ran.x[:, : row_length(input_ids, inputs_embeds)]
        return Output(
            last_hidden_state=x,
            hidden_states=(*ran.hidden[:-1], x) if output_hidden_states else None,
            attentions=ran.weights if output_attentions else None,
            router_logits=ran.routers or None if output_router_logits else None,
        )

    def told(self, states: Float[Array, "B S E"]) -> Float[Array, "B S D"]:
        """What the decoder hears of the encoder's states: the states."""
        return states

    def _embedded(self, embed, ids, vectors, valid, tags, cache, key):
        """(stream, nodes, keys) of the decoder, which may read the words of `self.embed`."""
        dtype = self.dtype
        if vectors is None:
            words = embed.words(ids, dtype, self._words(embed).table[...])
        else:
            words = embed.given(vectors, dtype)
        nodes = tokens(words.shape[1], valid, placed(embed, tags, None, ids, cache), cache)
        keys = split_key(key, 3)
        return embed(words, nodes, key=keys[0]), nodes, keys

    @property
    def _decoder_embed(self) -> TokenEmbedder:
        return self.embed if self.decoder_embed is None else self.decoder_embed

    def _words(self, embed: TokenEmbedder) -> TokenEmbedder:
        """Whose table a side reads."""
        return self.embed if embed.spec.vocab is None else embed

    @by_name
    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        decoder_input_ids=None,
        decoder_attention_mask=None,
        encoder_outputs=None,
        inputs_embeds=None,
        decoder_inputs_embeds=None,
        token_type_ids=None,
        key=None,
        tags=None,
        decoder_tags=None,
        pairs=None,
        cache=None,
        output_hidden_states=False,
        output_attentions=False,
        **labels,
    ) -> Output:
        """`tags` (and `attention_mask`) are of the encoder's tokens, `decoder_tags` of the
        decoder's; masks of cross-attention compare the two."""
        heard: dict[str, Any] = {}
        encoder_key, decoder_key = split_key(key, 2)
        routers = labels.pop("output_router_logits", False)
        marks = {m.argument: labels.pop(m.argument, None) for m in self.marks}
        asked = dict(output_hidden_states=output_hidden_states, output_attentions=output_attentions)
        if encoder_outputs is not None:
            heard = dict(encoder_outputs)
        elif cache is None:
            ran = self.encoder_forward(
                input_ids, attention_mask, inputs_embeds, token_type_ids, encoder_key, tags,
                **asked, output_router_logits=routers, **marks,
            )  # fmt: skip
            heard = dict(ran)
        source = heard.get("last_hidden_state")
        nodes = None if source is None else tokens(source.shape[1], attention_mask, tags)
        if decoder_input_ids is None and decoder_inputs_embeds is None:
            decoder_input_ids = self._shifted(input_ids, labels.get("labels"))
            if self.pads_masked and decoder_attention_mask is None:
                decoder_attention_mask = decoder_input_ids != self.pad
        x, own, keys = self._embedded(
            self._decoder_embed,
            decoder_input_ids,
            decoder_inputs_embeds,
            decoder_attention_mask,
            decoder_tags,
            cache,
            decoder_key,
        )
        ran = self.decoder(
            x,
            own,
            pairs=pairs,
            source=None if source is None else self.told(source),
            source_nodes=nodes,
            cache=cache,
            key=keys[1],
            collect=collected(**asked),
        )
        side = self.embed if self.output_of == "encoder" else self._decoder_embed
        table = word_table(self._words(side))
        seen = HeadInputs(input_ids, table, None, keys[2], own.valid)
        found = no_head(ran.x, seen) if self.head is None else self.head(ran.x, seen, **labels)
        fields: dict[str, Any] = dict(found)
        scores = {"encoder": heard.get("router_logits", ()), "decoder": ran.routers}
        if routers and self.routing is not None:
            fields |= self.routing.fields(scores, len(ran.x), fields.get("loss_terms"))
        return Output(
            **fields,
            cache=ran.cache,
            decoder_hidden_states=ran.hidden if output_hidden_states else None,
            decoder_attentions=ran.weights if output_attentions else None,
            cross_attentions=ran.cross_weights if output_attentions else None,
            encoder_last_hidden_state=source,
            encoder_hidden_states=heard.get("hidden_states"),
            encoder_attentions=heard.get("attentions"),
            **{f"{n}_router_logits": x or None for n, x in scores.items() if routers},
        )

    def _shifted(self, input_ids: Array | None, labels: Array | None) -> Array:
        """Decoder inputs: the start token, then all but the last label (or, where the model
        `input_ids_shifted`, all but the last input id); -100 becomes pad."""
        answers = labels if isinstance(self.head, LanguageModel) else None
        whole = input_ids if answers is None and self.input_ids_shifted else answers
        if whole is None:
            of = "input_ids" if self.input_ids_shifted else "labels"
            raise ValueError(f"give decoder_input_ids (or {of}, from which they are made)")
        if self.start is None or self.pad is None:
            raise ValueError(
                "decoder inputs cannot be made: the config lacks decoder_start_token_id or "
                "pad_token_id; give decoder_input_ids"
            )
        whole = jnp.where(whole == IGNORED, self.pad, whole)
        if self.start == "last":
            last = jnp.sum(whole != self.pad, axis=1, keepdims=True) - 1
            first = jnp.take_along_axis(whole, last, axis=1)
        else:
            first = jnp.full_like(whole[:, :1], self.start)
        return jnp.concatenate([first, whole[:, :-1]], axis=1)

    @by_name
    def init_cache(
        self,
        batch: int,
        length: int,
        encoder_outputs: Output,
        attention_mask: Array | None = None,
        tags: Mapping[str, Array] | None = None,
    ) -> Any:
        """An empty memory for `length` tokens that has heard the encoder, once."""
        checks.encoded(encoder_outputs, self.encoder.spec.width)
        shape = np.shape(encoder_outputs["last_hidden_state"])[:2]
        if shape[0] != batch:
            raise ValueError(f"encoder_outputs have {shape[0]} rows, but batch is {batch}")
        self._check_mask(attention_mask, shape)
        checks.tags("tags", tags, self.decoder.masks("cross"), shape)
        source = self.told(encoder_outputs["last_hidden_state"])
        nodes = tokens(source.shape[1], attention_mask, tags)
        return self.decoder.init_cache(batch, length, self.dtype, source=source, source_nodes=nodes)

    @property
    def source_positions(self) -> int | None:
        """How many tokens of the encoder have a learned position; None without a table."""
        return self.embed.spec.longest

    @property
    def positions(self) -> int | None:
        """How many tokens of the decoder have a learned position; None without a table."""
        return self._decoder_embed.spec.longest

    def check(self, inputs: Mapping[str, Any]) -> None:
        shapes = {}
        for prefix, side in (("", self.embed), ("decoder_", self._decoder_embed)):
            ids: Any = inputs.get(f"{prefix}input_ids")
            vectors: Any = inputs.get(f"{prefix}inputs_embeds")
            if ids is not None and vectors is not None:
                raise ValueError(f"give {prefix}input_ids or {prefix}inputs_embeds, not both")
            if ids is not None:
                checks.ids(f"{prefix}input_ids", ids, word_count(self._words(side)))
            elif vectors is not None:
                checks.vectors(f"{prefix}inputs_embeds", vectors, side.spec.width)
            shape = np.shape(ids) if ids is not None else np.shape(vectors)[:2]
            if ids is not None or vectors is not None:
                shapes[prefix] = shape
                like = f"{prefix}{'input_ids' if ids is not None else 'inputs_embeds'}"
                checks.tokens(inputs, shape, like, side.spec, prefix)
        self._check_source(inputs, shapes)
        if "decoder_" in shapes:
            checks.room(inputs.get("cache"), shapes["decoder_"])
        self._check_answers(inputs, shapes)

    def _check_source(self, inputs: Mapping[str, Any], shapes: dict[str, Any]) -> None:
        """What the decoder hears: tokens, or what the encoder made of them."""
        outputs: Any = inputs.get("encoder_outputs")
        cache: Any = inputs.get("cache")
        if "" not in shapes and outputs is None and cache is None:
            raise ValueError("give input_ids (or encoder_outputs, or a cache that heard them)")
        checks.unread_beside(
            cache, inputs, ("input_ids", "inputs_embeds", "token_type_ids", "tags")
        )
        if (heard := getattr(cache, "source", None)) is not None and "attention_mask" in inputs:
            shape = (jax.tree.leaves(cache.nodes)[0].shape[0], heard.length)
            checks.mask("attention_mask", inputs["attention_mask"], shape, "what the cache heard")
        if outputs is not None:
            checks.encoded(outputs, self.encoder.spec.width)
            made = np.shape(outputs["last_hidden_state"])[:2]
            checks.encoded_from(inputs, shapes.setdefault("", made), made)
            self._check_mask(inputs.get("attention_mask"), made)
        if "" in shapes:
            masks = self.encoder.masks("self") + self.decoder.masks("cross")
            limit = self.embed.spec.longest
            checks.tags("tags", inputs.get("tags"), masks, shapes[""], limit)
            checks.apart(masks, inputs, None)
            check_marks(self.marks, inputs, shapes[""], "input_ids")

    def _check_mask(self, mask: Any, shape: tuple[int, int]) -> None:
        if mask is not None:
            checks.mask("attention_mask", mask, shape, "encoder_outputs")

    def _check_answers(self, inputs: Mapping[str, Any], shapes: dict[str, Any]) -> None:
        """What the decoder is given and asked: its tags, and the labels of the head."""
        speaks, labels = isinstance(self.head, LanguageModel), inputs.get("labels")
        made, like = shapes.get("", ()), "the input"
        if speaks and labels is not None:
            checks.integers("labels", labels, 2)
            made, like = np.shape(labels), "labels"
            if "decoder_" not in shapes and self._decoder_embed.spec.padding is None:
                checks.length("labels", made[1], self.positions)
        if "decoder_" in shapes:
            made, like = shapes["decoder_"], "decoder_input_ids"
        elif "decoder_attention_mask" in inputs and made:
            checks.mask("decoder_attention_mask", inputs["decoder_attention_mask"], made, like)
        if made and "" in shapes and made[0] != shapes[""][0]:
            raise ValueError(
                f"the source has {shapes[''][0]} rows and the decoder {made[0]}; give as many"
            )
        own, cross = self.decoder.masks("self"), self.decoder.masks("cross")
        checks.tags("decoder_tags", inputs.get("decoder_tags"), own + cross, made, self.positions)
        checks.apart(own + cross, inputs, None, "decoder_")
        queries = made[1] if made else None
        keys = queries if inputs.get("cache") is None else None
        sides = {name: (queries, keys) for mask in own for name in mask.pairs}
        heard = shapes[""][1] if "" in shapes else None
        sides |= {name: (queries, heard) for mask in cross for name in mask.pairs}
        checks.pairs(inputs.get("pairs"), own + cross, made[0] if made else None, sides)
        if made:
            answers(self, inputs, made, like)
        if isinstance(pooling := getattr(self.head, "pooling", None), LastOf):
            checks.present("input_ids", inputs.get("input_ids"), pooling.token)
