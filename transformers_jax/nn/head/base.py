"""What heads are made of, and the output of a model without one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Bool, Float, Int, Key
from transformers_jax.nn.affine import affine
from transformers_jax.nn.feedforward import activation
from transformers_jax.nn.loss import Mean, cross_entropy, sum_of_means
from transformers_jax.nn.matrices import matrix_flops
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.param import param
from transformers_jax.nn.pooling import Name, Pooling, pool


@dataclass(frozen=True)
class HeadInputs:
    """What a head may read besides the stream.

    Attributes:
        arguments: those of the call, as `Head.prepare` left them.
        table: the word embeddings [V D], for tied heads; None where there are no words.
        pooled: the backbone's pooled vector [B D], if it has a pooler.
        valid: where there are tokens [B T], or None if everywhere.
        targets: whether labels are those of the next token already (of a decoder whose inputs are
            its labels, shifted).
        towers: the output of each tower, by name (`models.wiring`).
        norm: the final norm of the stack, if it has one.
        row: (tokens, where there are any, their ids) of which the vector of a row is made, where
            these are others than those of the stream.
        fields: what the embedder of the stream gives beside its tokens (`Tokens.fields`).
        hidden: the hidden states of the stream's tower, if the head `collects` them.
    """

    arguments: Mapping[str, Any]
    table: Float[Array, "V D"] | None
    pooled: Float[Array, "B D"] | None
    key: Key | None
    valid: Bool[Array, "B T"] | None = None
    targets: bool = False
    towers: Mapping[str, Any] = field(default_factory=dict)
    row: tuple[Array, Array | None, Array | None] | None = None
    fields: Mapping[str, Array] = field(default_factory=dict)
    hidden: tuple[Float[Array, "B T D"], ...] = ()
    norm: Callable[[Array], Array] | None = None

    def pool(self, x: Float[Array, "B T D"], pooling: Pooling | Name) -> Float[Array, "B D"]:
        """The vector of each row of the stream."""
        x, valid, ids = (x, self.valid, self.ids) if self.row is None else self.row
        return pool(x, pooling, valid, ids=ids, pooled=self.pooled)

    @property
    def ids(self) -> Int[Array, "B T"] | None:
        """The input ids (of the encoder, where there are two sides); None where
        the call has vectors."""
        return self.arguments.get("input_ids")


class HeadFlops(NamedTuple):
    """FLOPs of a forward pass over a row."""

    projections: float  # products of tokens and parameters
    unembedding: float = 0.0  # beside them, logits over the vocabulary


class Head(nnx.Module):
    """What turns tokens into the fields of the output. One that computes a loss says what it is a
    mean over: its fields begin with those of `loss_of`.

    Attributes:
        labels: the keyword arguments that it takes from the caller.
        rank: how many axes ids have: 3 where rows are candidates [B C T].
        predicts_ids: whether its labels are ids, of which a decoder's inputs can be made.
        collects: what stacks are to hand out of every layer for it ("hidden").
    """

    labels: tuple[str, ...] = ("labels",)
    rank: int = 2
    predicts_ids: bool = False
    collects: frozenset[str] = frozenset()

    def prepare(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """The arguments of a call as embedders are to read them."""
        return arguments

    def check(
        self, arguments: Mapping[str, Any], shape: tuple[int, ...], like: str = "the input"
    ) -> None:
        """Raises ValueError for labels that do not fit tokens of this shape, [B T]; `like` is the
        name of the tokens."""

    def check_towers(
        self, arguments: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
    ) -> None:
        """Raises ValueError for towers whose tokens, of these shapes [B T], do not go together."""

    def flops(self, tokens: int, table: Any) -> HeadFlops:
        """FLOPs of a forward pass over a row of so many tokens; `table` are the word embeddings
        [V D] of a tied head, or None."""
        return HeadFlops(tokens * matrix_flops(self))

    def __call__(
        self, x: Float[Array, "B T D"], inputs: HeadInputs, *args: Any, **labels: Any
    ) -> dict[str, Any]:
        raise NotImplementedError


class Beside(NamedTuple):
    """What a pooler may read besides the stream.

    Attributes:
        ids: the input ids [B T]; None where the input is no text.
        valid: where there are tokens [B T]; None if everywhere.
        norm: the final norm of the stack, if it has one.
    """

    ids: Int[Array, "B T"] | None = None
    valid: Bool[Array, "B T"] | None = None
    norm: Any = None


NOTHING = Beside()


class Dense(nnx.Module):
    """x W + b, onto an axis called `axis`."""

    def __init__(self, width: int, size: int, axis: str, initial: spec.Initial, bias: bool = True):
        sizes = {"embed": width, axis: size}
        self.weight = param(f"embed {axis}", sizes, initial.draw("head", sizes))
        self.bias = param(axis, sizes, spec.ZEROS) if bias else None

    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B N"]:
        return affine("...d,dn->...n", x, self.weight, self.bias)


class Square(Dense):
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
        super().__init__(width, out or width, "inner", initial, bias)
        self.act = act
        self.norm = Norm(norm, out or width) if norm else None

    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B E"]:
        x = activation(self.act)(super().__call__(x))
        return x if self.norm is None else self.norm(x)


class Activated(nnx.Module):
    """act(x): a `Square` that projects nothing."""

    def __init__(self, act: str):
        self.act = act
        activation(act)  # refuse an unknown one before any work

    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        return activation(self.act)(x)


class Pooler(Square):
    """act(W first token + b): BERT's summary of a row."""

    def __init__(
        self, width: int, initial: spec.Initial, act: str = "tanh", out: int | None = None
    ):
        super().__init__(width, act, initial, out=out)

    def __call__(self, x: Float[Array, "B T D"], beside: Beside = NOTHING) -> Float[Array, "B D"]:
        return super().__call__(pool(x, "first"))


class TokenPooler(nnx.Module):
    """The vector of one token of a row, or the mean of all but those that it skips in front,
    normalised where there is a norm, and projected where there is a layer for it.

    Args:
        again: whether the final norm of the stack is applied once more (BLIP).
    """

    def __init__(
        self,
        width: int,
        norm: spec.Norm | None = None,
        pooling: Pooling | Name = "first",
        project: Dense | None = None,
        again: bool = False,
        skip: int = 0,
    ):
        self.norm, self.pooling = None if norm is None else Norm(norm, width), pooling
        self.project, self.again, self.skip = project, again, skip

    def __call__(self, x: Float[Array, "B T D"], beside: Beside = NOTHING) -> Float[Array, "B D"]:
        row = pool(x, self.pooling, ids=beside.ids, skip=self.skip)
        row = beside.norm(row) if self.again else row
        row = row if self.norm is None else self.norm(row)
        return row if self.project is None else self.project(row)


def loss_of(**terms: Mean) -> dict[str, Any]:
    """The fields of a loss that is a sum of means, each with its sum and count; a loss that is one
    mean calls it `loss`."""
    return {"loss": sum_of_means(terms), "loss_terms": terms}


def mean_loss_of(**cases: tuple[Array, Array]) -> dict[str, Any]:
    """The fields of a loss that is the mean of cross-entropies, of (logits, labels) each."""
    entropies = {name: cross_entropy(*case) for name, case in cases.items()}
    return loss_of(**{n: (total / len(cases), count) for n, (total, count) in entropies.items()})


def scored(
    logits: Array, labels: Array | None, loss: Callable[[Array, Array], Mean] = cross_entropy
) -> dict[str, Any]:
    """The fields of a head of one loss: it, where there are labels, and the logits."""
    fields = {} if labels is None else loss_of(loss=loss(logits, labels))
    return {**fields, "logits": logits}


def no_head(x: Float[Array, "B T D"], inputs: HeadInputs) -> dict[str, jax.Array]:
    """The fields of a bare backbone."""
    fields = {"last_hidden_state": x, **inputs.fields}
    return fields if inputs.pooled is None else {**fields, "pooler_output": inputs.pooled}
