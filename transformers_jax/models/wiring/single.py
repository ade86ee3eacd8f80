"""Single: embed -> stack -> head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from transformers_jax.models import checks
from transformers_jax.models.answers import answers
from transformers_jax.models.base import Model
from transformers_jax.models.inputs import (
    Fill,
    Mark,
    check_marks,
    collected,
    described,
    row_length,
    split_key,
    word_count,
    word_table,
)
from transformers_jax.models.output import Output
from transformers_jax.nn.cache import Cache
from transformers_jax.nn.embed import TokenEmbedder
from transformers_jax.nn.head import (
    Head,
    HeadInputs,
    MultipleChoice,
    Pooler,
    no_head,
)
from transformers_jax.nn.stack import Stack


class Single(Model):
    """One stack over embedded ids.

    Args:
        marks: further arguments of a call that are tags of the tokens, [B T] each.
        counts: what generation numbers: the "tokens" of a row, or its "columns", padding included
            (decoders that Hugging Face gives no `position_ids`: BART's, alone).
        fill: rows are filled up as it says; of what is computed for the padding only the hidden
            states but the last tell, as in the reference.
    """

    def __init__(
        self,
        embed: TokenEmbedder,
        stack: Stack,
        head: Head | None = None,
        pooler: Pooler | None = None,
        marks: tuple[Mark, ...] = (),
        counts: Literal["tokens", "columns"] = "tokens",
        fill: Fill | None = None,
    ):
        self.embed, self.stack, self.head, self.pooler = embed, stack, head, pooler
        self.marks, self.counts, self.fill = marks, counts, fill

    @property
    def labels(self) -> tuple[str, ...]:
        return (*(mark.argument for mark in self.marks), *super().labels)

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
        per_token |= {m.argument: labels.pop(m.argument, None) for m in self.marks}
        routers = labels.pop("output_router_logits", False)
        if isinstance(self.head, MultipleChoice):
            # candidates are rows of their own until the head compares them
            labels["choices"] = row_length(input_ids, inputs_embeds)
            flat = lambda x: None if x is None else jnp.reshape(x, (-1, *x.shape[2:]))
            per_token = {name: flat(value) for name, value in per_token.items()}
            inputs_embeds = flat(inputs_embeds)
        ids, masked = per_token["input_ids"], per_token["attention_mask"] is not None
        length = row_length(ids, inputs_embeds)
        if per_token["token_type_ids"] is None and self.head is not None:
            per_token["token_type_ids"] = self.head.types(ids, length, labels)
        words, nodes, types = described(
            self.embed, per_token, inputs_embeds, tags, self.dtype, cache, self.marks, self.fill
        )
        keys = split_key(key, 3)
        x = self.embed(words, nodes, types, keys[0])
        ran = self.stack(
            x,
            nodes,
            pairs=pairs,
            cache=cache,
            key=keys[1],
            collect=collected(output_hidden_states, output_attentions),
        )
        pooled = None if self.pooler is None else self.pooler(ran.x)
        valid = None if nodes.valid is None or not masked else nodes.valid[:, :length]
        seen = HeadInputs(ids, word_table(self.embed), pooled, keys[2], valid)
        x = ran.x[:, :length]
        found = no_head(x, seen) if self.head is None else self.head(x, seen, **labels)
        fields: dict[str, Any] = dict(found)
        return Output(
            **fields,
            cache=ran.cache,
            hidden_states=(*ran.hidden[:-1], x) if output_hidden_states else None,
            attentions=ran.weights if output_attentions else None,
            router_logits=ran.routers or None if routers else None,
        )

    def init_cache(self, batch: int, length: int) -> Cache:
        """An empty memory for `length` tokens."""
        return self.stack.init_cache(batch, length, self.dtype)

    @property
    def positions(self) -> int | None:
        """How many tokens have a learned position; None where there is no table."""
        return self.embed.spec.longest

    def check(self, inputs: Mapping[str, Any]) -> None:
        ids: Any = inputs.get("input_ids")
        vectors: Any = inputs.get("inputs_embeds")
        if (ids is None) == (vectors is None):
            raise ValueError("give input_ids or inputs_embeds, one of the two")
        rank = 3 if isinstance(self.head, MultipleChoice) else 2
        if ids is not None:
            checks.ids("input_ids", ids, word_count(self.embed), rank=rank)
        else:
            checks.vectors("inputs_embeds", vectors, self.embed.spec.width, rank + 1)
        shape = np.shape(ids) if ids is not None else np.shape(vectors)[:-1]
        like = "input_ids" if ids is not None else "inputs_embeds"
        checks.tokens(inputs, shape, like, self.embed.spec)
        check_marks(self.marks, inputs, shape, like)
        masks = self.stack.masks("self")
        rows = (shape[0] * shape[1], shape[2]) if len(shape) == 3 else shape  # candidates are rows
        checks.tags("tags", inputs.get("tags"), masks, rows, self.positions)
        checks.apart(masks, inputs, self.embed.spec)
        if pairs := inputs.get("pairs"):
            keys = rows[1] if inputs.get("cache") is None else None
            checks.pairs(pairs, masks, rows[0], dict.fromkeys(pairs, (rows[1], keys)))
        checks.room(inputs.get("cache"), shape)
        answers(self, inputs, shape)
