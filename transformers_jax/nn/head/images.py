"""Heads of images: classes, what hidden patches were, and maps of features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Bool, Float, wide
from transformers_jax.inputs import labels as check
from transformers_jax.inputs.arguments import readable
from transformers_jax.nn.grid import Grid
from transformers_jax.nn.head.base import Dense, Head, HeadFlops, HeadInputs, loss_of, scored
from transformers_jax.nn.head.classify import SequenceClassification
from transformers_jax.nn.image.pyramid import Neck
from transformers_jax.nn.loss import IGNORED
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.pooling import pool

EMPTY = 1e-5  # added to the number of hidden pixels, as in the reference


class MaskedImage(Head):
    """The pixels of every patch, linear in its token; the loss is the mean absolute error of those
    that were hidden (Xie et al. 2021, SimMIM, section 3). A token makes `stride` x `stride` pixels;
    `front` tokens stand in front of the patches."""

    labels = ()

    def __init__(
        self, width: int, channels: int, patch: Grid, stride: int, front: int, initial: spec.Initial
    ):
        self.patch, self.stride, self.front, self.channels = patch, stride, front, channels
        self.decode = Dense(width, channels * stride**2, "inner", initial)

    def check(self, arguments, shape, like="the input"):
        if arguments.get("bool_masked_pos") is not None and self.patch != (self.stride,) * 2:
            raise ValueError(
                f"the loss of hidden patches compares pixels one by one, but a patch has "
                f"{self.patch[0]} x {self.patch[1]} of them and encoder_stride makes {self.stride} "
                f"x {self.stride} of it; give encoder_stride={self.patch[0]} and square patches"
            )

    def __call__(self, x, inputs):
        pixels = inputs.arguments["pixel_values"]
        rows, columns = (n // p for n, p in zip(pixels.shape[2:], self.patch))
        made = rearrange(
            self.decode(x[:, self.front :]),
            "b (h w) (c p q) -> b c (h p) (w q)",
            h=rows, w=columns, p=self.stride, q=self.stride,
        )  # fmt: skip
        hidden = inputs.arguments.get("bool_masked_pos")
        if hidden is None:
            return {"reconstruction": made}
        pixels = pixels[:, :, : made.shape[2], : made.shape[3]]
        return {**self._loss(made, pixels, hidden), "reconstruction": made}

    def _loss(
        self, made: Float[Array, "B C H W"], pixels: Array, hidden: Bool[Array, "B P"]
    ) -> dict[str, Array]:
        rows = made.shape[2] // self.stride
        counted = rearrange(hidden.astype(wide(made)), "b (h w) -> b 1 h w", h=rows)
        counted = counted.repeat(self.stride, axis=2).repeat(self.stride, axis=3)
        errors = jnp.abs(pixels.astype(wide(made)) - made.astype(wide(made))) * counted
        return loss_of(loss=(errors.sum() / self.channels, counted.sum() + EMPTY))


class Distilled(Head):
    """The mean of two classifiers, that of the class token and that of the token that learned from
    a teacher (Touvron et al. 2020, section 4)."""

    labels = ()

    def __init__(self, width: int, count: int, initial: spec.Initial):
        self.classify = Dense(width, count, "label", initial)
        self.distilled = Dense(width, count, "label", initial)

    def __call__(self, x, inputs):
        own, taught = self.classify(x[:, 0]), self.distilled(x[:, 1])
        logits = {"cls_logits": own, "distillation_logits": taught}
        return {"logits": (own + taught) / 2, **logits}


class ClassAndPatches(SequenceClassification):
    """A class per image, from its class token beside the mean of its patches (Oquab et al. 2023,
    section 7.3); `front` tokens stand in front of these."""

    def __init__(
        self, width: int, count: int, initial: spec.Initial, *, front: int, problem: str | None
    ):
        super().__init__(2 * width, count, initial, problem=problem, pooling="first")
        self.front = front

    def pooled(self, x, inputs):
        rows = x[:, 0], pool(x, "mean of all", skip=self.front)
        return jnp.concatenate(rows, axis=1)


class VisualTokens(Head):
    """The visual token of every patch; the loss is the cross-entropy of those that were hidden (Bao
    et al. 2021, section 2.3). Labels are one per patch, Int[B P], of which those of hidden ones are
    read, or one per hidden patch, row by row."""

    def __init__(self, width: int, vocab: int, norm: spec.Norm, initial: spec.Initial):
        self.norm, self.vocab = Norm(norm, width), vocab
        self.words = Dense(width, vocab, "vocab", initial)

    def check(self, arguments, shape, like="the input"):
        if (labels := arguments.get("labels")) is None:
            return
        hidden = arguments.get("bool_masked_pos")
        if hidden is None:
            raise ValueError(
                "labels are visual tokens of hidden patches; give bool_masked_pos as well"
            )
        check.labels("labels", labels, self.vocab)
        known = readable(hidden)
        if np.ndim(labels) == 1 and known is not None and known.sum() != len(labels):
            raise ValueError(
                f"labels are of {len(labels)} patches, but bool_masked_pos hides {known.sum()}; "
                "give one label for each, row by row, or one for every patch"
            )
        if np.ndim(labels) != 1 and np.shape(labels) != np.shape(hidden):
            raise ValueError(
                f"labels have shape {np.shape(labels)}; expected {np.shape(hidden)}, one for every "
                "patch, or one axis, one for every hidden patch"
            )

    def __call__(self, x, inputs, *, labels=None):
        logits = self.words(self.norm(x))[:, 1:]
        if labels is None:
            return {"logits": logits}
        hidden = inputs.arguments["bool_masked_pos"].astype(bool)
        if labels.ndim == 1:
            order = jnp.cumsum(hidden.reshape(-1)).reshape(hidden.shape) - 1
            labels = jnp.take(labels, order, mode="fill", fill_value=self.vocab)
        return scored(logits, jnp.where(hidden, labels, IGNORED))


class FeatureMaps(Head):
    """Hidden states of some stages as maps [B D h w], for models that read them.

    Args:
        stages: by their numbers, 0 being what enters the first layer: whether the final norm is
            applied to them.
        reshaped: False: they stay tokens [B T D], those in front included unless `patches_only`.
        neck: makes a pyramid of four maps [B h w D].
    """

    labels = ()
    collects = frozenset({"hidden"})

    def __init__(
        self,
        stages: Mapping[int, bool],
        front: int,
        patch: Grid,
        reshaped: bool,
        patches_only: bool = False,
        neck: Neck | None = None,
    ):
        self.neck = neck
        self.stages, self.front, self.patch = tuple(stages.items()), front, patch
        self.reshaped, self.patches_only = reshaped, patches_only

    def __call__(self, x, inputs):
        maps = tuple(self.maps(inputs))
        if self.neck is not None:
            levels = self.neck([jnp.moveaxis(each, 1, -1) for each in maps])
            maps = tuple(jnp.moveaxis(each, -1, 1) for each in levels)
        return {"feature_maps": maps}

    def flops(self, tokens, table):
        return HeadFlops(0.0 if self.neck is None else self.neck.flops(tokens - self.front))

    def maps(self, inputs: HeadInputs) -> Iterator[Float[Array, "B ..."]]:
        """The states of each stage."""
        size = inputs.arguments["pixel_values"].shape[2:]
        rows = size[0] // self.patch[0]
        states = inputs.hidden
        for number, normed in self.stages:
            tokens = states[number]
            if normed and inputs.norm is not None:
                tokens = inputs.norm(tokens)
            if self.reshaped or self.patches_only:
                tokens = tokens[:, self.front :]
            if self.reshaped:
                tokens = rearrange(tokens, "b (h w) d -> b d h w", h=rows)
            yield tokens


class StageMaps(Head):
    """The states of some stages, which the network makes images of (`models.wiring.grid`).

    Args:
        widths: of the stages, by their numbers, 0 being what enters the first.
        norm: of each.
    """

    labels = ()
    collects = frozenset({"hidden"})

    def __init__(self, widths: Mapping[int, int], norm: spec.Norm | None):
        self.stages = tuple(widths)
        norms = () if norm is None else [Norm(norm, width) for width in widths.values()]
        self.norms = nnx.List(norms)

    def __call__(self, x, inputs):
        states = [inputs.hidden[number] for number in self.stages]
        if self.norms:
            states = [norm(each) for norm, each in zip(self.norms, states)]
        return {"feature_maps": tuple(states)}
