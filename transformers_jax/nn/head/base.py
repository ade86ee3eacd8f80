"""What heads are made of, and the answer of a model without one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Bool, Float, Int, Key
from transformers_jax.nn.feedforward import activation
from transformers_jax.nn.loss import Mean, sum_of_means
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.param import add, contract, param


@dataclass(frozen=True)
class HeadInputs:
    """What a head may look at besides the stream.

    Attributes:
        ids: the input ids [B T] (of the encoder, where there are two sides), or None if vectors
            were given.
        valid: where there are tokens [B T], or None if everywhere.
        table: the word embeddings [V D], for tied heads.
        pooled: the backbone's pooled vector [B D], if it has a pooler.
    """

    ids: Int[Array, "B T"] | None
    table: Float[Array, "V D"]
    pooled: Float[Array, "B D"] | None
    key: Key | None
    valid: Bool[Array, "B T"] | None = None


class Head(nnx.Module):
    """The contract of heads; `labels` are the keyword arguments it takes from the caller. One that
    computes a loss says what it is a mean over: its fields begin with those of `loss_of`."""

    labels: tuple[str, ...] = ("labels",)

    def __call__(
        self, x: Float[Array, "B T D"], seen: HeadInputs, *args: Any, **labels: Any
    ) -> dict[str, Array]:
        raise NotImplementedError

    def types(
        self, ids: Int[Array, "B T"] | None, length: int, labels: dict[str, Any]
    ) -> Int[Array, "B T"] | None:
        """The types of tokens for which the caller gives none; None: all are of type 0."""
        return None


class Dense(nnx.Module):
    """x W + b, onto an axis called `axis`."""

    def __init__(self, width: int, size: int, axis: str, initial: spec.Initial, bias: bool = True):
        sizes = {"embed": width, axis: size}
        self.weight = param(f"embed {axis}", sizes, initial.draw("head", sizes))
        self.bias = param(axis, sizes, spec.ZEROS) if bias else None

    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B N"]:
        return add(contract("...d,dn->...n", x, self.weight), self.bias)


class Square(nnx.Module):
    """act(x W + b), then a norm: BERT's transform and pooler. To the width of the stream, or to
    `out` (ELECTRA's generator: that of the embeddings)."""

    def __init__(
        self,
        width: int,
        act: str,
        initial: spec.Initial,
        norm: spec.Norm | None = None,
        out: int | None = None,
        bias: bool = True,
    ):
        self.act = act
        sizes = {"embed": width, "inner": out or width}
        self.weight = param("embed inner", sizes, initial.draw("head", sizes))
        self.bias = param("inner", sizes, spec.ZEROS) if bias else None
        self.norm = Norm(norm, out or width) if norm else None

    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B E"]:
        x = activation(self.act)(add(contract("...d,de->...e", x, self.weight), self.bias))
        return x if self.norm is None else self.norm(x)


class Activated(nnx.Module):
    """act(x): a `Square` that projects nothing."""

    def __init__(self, act: str):
        self.act = act
        activation(act)  # refuse an unknown one before any work

    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        return activation(self.act)(x)


class Pooler(Square):
    """tanh(W first token + b): BERT's summary of a row."""

    def __init__(self, width: int, initial: spec.Initial):
        super().__init__(width, "tanh", initial)

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B D"]:
        return super().__call__(x[:, 0])


def loss_of(**terms: Mean) -> dict[str, Any]:
    """The fields of a loss that is a sum of means, each with its sum and count; a loss that is one
    mean calls it `loss`."""
    return {"loss": sum_of_means(terms), "loss_terms": terms}


def no_head(x: Float[Array, "B T D"], seen: HeadInputs) -> dict[str, jax.Array]:
    """The fields of a bare backbone."""
    fields = {"last_hidden_state": x}
    return fields if seen.pooled is None else {**fields, "pooler_output": seen.pooled}
