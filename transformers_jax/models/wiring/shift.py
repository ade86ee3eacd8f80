"""Decoder inputs, where the caller gives none: the labels, shifted right by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax.numpy as jnp

from transformers_jax.arrays import Array, Int
from transformers_jax.nn.loss import IGNORED


@dataclass(frozen=True)
class ShiftRight:
    """The start token, then all but the last label; -100 becomes pad.

    Attributes:
        start: the id with which decoder inputs begin; "last" is the last token of each row that is
            no padding (mBART: the code of its language).
        pad: the id of padding.
        of_input_ids: whether they are the shifted input ids where there are no labels (BART).
        pads_masked: whether pads among them are padding.

    Class attributes:
        aligned: whether each label is that of the token behind its decoder input.
    """

    aligned: ClassVar[bool] = True

    start: int | Literal["last"] | None
    pad: int | None
    of_input_ids: bool = False
    pads_masked: bool = False

    def __call__(self, arguments: Mapping[str, Any], labels: Array | None) -> dict[str, Any]:
        """The arguments of a call with decoder inputs among them."""
        names = ("decoder_input_ids", "decoder_inputs_embeds")
        if any(arguments.get(name) is not None for name in names):
            return dict(arguments)
        ids = self.shifted(arguments.get("input_ids"), labels)
        shifted: dict[str, Any] = {"decoder_input_ids": ids}
        if self.pads_masked and arguments.get("decoder_attention_mask") is None:
            shifted["decoder_attention_mask"] = ids != self.pad
        return {**arguments, **shifted}

    def shifted(
        self, input_ids: Int[Array, "B S"] | None, labels: Int[Array, "B T"] | None
    ) -> Int[Array, "B T"]:
        """Decoder inputs of labels, or, where the model makes them so, of input ids.

        Raises:
            ValueError: neither is given, or the config lacks a special token.
        """
        whole = input_ids if labels is None and self.of_input_ids else labels
        if whole is None:
            of = "input_ids" if self.of_input_ids else "labels"
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


class AsLabels(ShiftRight):
    """The labels themselves, of which the head predicts each from those before it (BLIP); -100
    becomes pad."""

    aligned = False

    def shifted(self, input_ids, labels):
        if labels is None or self.pad is None:
            raise ValueError("give decoder_input_ids (or labels, which are then read as well)")
        return jnp.where(labels == IGNORED, self.pad, labels)
