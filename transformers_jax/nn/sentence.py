"""One vector for a row of tokens: how tokens are pooled, and what becomes of the pooled vector.

The steps are those of sentence-transformers (Reimers and Gurevych 2019), as frozen records; the
head applies them in order to two fields, `token_embeddings` and `sentence_embedding`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import MASKED, Array, Bool, Float, Int, Key, wide
from transformers_jax.inputs import checks
from transformers_jax.nn.feedforward import activation
from transformers_jax.nn.head import Dense, Head, HeadInputs
from transformers_jax.nn.noise import dropout
from transformers_jax.nn.norm import Norm

Mode = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
MODES: tuple[str, ...] = get_args(Mode)
"""The ways of pooling, by the names of sentence-transformers."""

Field = Literal["sentence_embedding", "token_embeddings"]
Fields = dict[str, Array]


# ---------------------------------------------------------------- pooling


def pool_tokens(
    x: Float[Array, "B T D"],
    mode: str,
    valid: Bool[Array, "B T"] | None = None,
    skip: Int[Array, ""] | int = 0,
) -> Float[Array, "B D"]:
    """The vector of each row; sums are made in float32. Zero for a row without tokens.

    Args:
        mode: "cls" (the first token), "lasttoken", "max", "mean", "mean_sqrt_len_tokens" (the sum
            over the square root of the number of tokens) or "weightedmean" (tokens count by their
            place, from 1: Muennighoff 2022, SGPT, equation 3).
        valid: where there are tokens; padding may lie on either side.
        skip: how many tokens in front of each row, a prompt, are left out. Places still count them.

    Raises:
        ValueError: an unknown mode; the known ones are listed.
    """
    if mode not in MODES:
        raise ValueError(f"pooling mode {mode!r} is unknown; known are {', '.join(MODES)}")
    length = x.shape[1]
    places = jnp.arange(length)
    valid = jnp.ones(x.shape[:2], bool) if valid is None else jnp.broadcast_to(valid, x.shape[:2])
    start = jnp.argmax(valid, axis=1)[:, None]
    taken = valid & (places >= start + skip)
    if mode in ("cls", "lasttoken"):
        first = mode == "cls"
        chosen = jnp.argmax(taken, 1) if first else length - 1 - jnp.argmax(taken[:, ::-1], 1)
        found = jnp.take_along_axis(x, chosen[:, None, None], axis=1)[:, 0]
        return jnp.where(taken.any(1, keepdims=True), found, 0)
    if mode == "max":
        greatest = jnp.where(taken[..., None], x, jnp.asarray(MASKED, x.dtype)).max(1)
        return jnp.where(taken.any(1, keepdims=True), greatest, 0)
    weights = taken * (places - start + 1 if mode == "weightedmean" else 1.0)
    kept = jnp.where(taken[..., None], x, 0).astype(wide(x))
    total = jnp.einsum("bt,btd->bd", weights, kept, precision="highest")
    count = jnp.maximum(weights.sum(1, keepdims=True), 1e-9)
    return (total / (jnp.sqrt(count) if mode == "mean_sqrt_len_tokens" else count)).astype(x.dtype)


def unit(x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
    """Vectors of length one in the same direction; a zero vector stays zero."""
    squares = jnp.square(x.astype(wide(x))).sum(-1, keepdims=True)
    # the gradient of a square root at zero is infinite, and infinity times zero is not a number
    length = jnp.sqrt(jnp.where(squares > 0, squares, 1.0))
    return (x / jnp.maximum(length, 1e-12)).astype(x.dtype)


# ---------------------------------------------------------------- steps


@dataclass(frozen=True)
class Pool:
    """Tokens become one vector: of several modes side by side.

    Attributes:
        modes: of `MODES`.
        include_prompt: whether the tokens of a prompt are pooled, too (INSTRUCTOR: not).
    """

    modes: tuple[str, ...] = ("mean",)
    include_prompt: bool = True

    def __post_init__(self):
        if not self.modes or (wrong := [mode for mode in self.modes if mode not in MODES]):
            came = ", ".join(map(repr, wrong)) if self.modes else "none"
            raise ValueError(f"pooling modes: {came}; known are {', '.join(MODES)}")


@dataclass(frozen=True)
class Project:
    """act(x W + b), plus x (through a matrix of its own if the widths differ) with `residual`."""

    width: int
    size: int
    act: str = "tanh"
    bias: bool = True
    residual: bool = False
    reads: Field = "sentence_embedding"
    writes: Field = "sentence_embedding"


@dataclass(frozen=True)
class Standardise:
    """LayerNorm of the sentence's vector, of this width."""

    width: int
    norm: spec.Norm = field(default_factory=spec.LayerNorm)


@dataclass(frozen=True)
class Normalise:
    """Vectors of length one."""

    reads: Field = "sentence_embedding"
    writes: Field = "sentence_embedding"


@dataclass(frozen=True)
class Drop:
    """Dropout of the sentence's vector, where there is a key."""

    rate: float


Step = Pool | Project | Standardise | Normalise | Drop


@dataclass(frozen=True)
class SentenceSpec:
    """The steps from a stream of `width` to a sentence's vector.

    Raises:
        ValueError: a step whose width is not what comes in, or that reads what nobody has written.
    """

    width: int
    steps: tuple[Step, ...]

    def __post_init__(self):
        if "sentence_embedding" not in self._sizes():
            raise ValueError("no module pools tokens into a sentence_embedding; add a Pooling")

    @property
    def size(self) -> int:
        """The width of a sentence's vector."""
        return self._sizes()["sentence_embedding"]

    def _sizes(self) -> dict[str, int]:
        """The widths of the fields behind all steps."""
        sizes = {"token_embeddings": self.width}
        for number, step in enumerate(self.steps, 1):
            reads = "token_embeddings" if isinstance(step, Pool) else _reads(step)
            if reads not in sizes:
                raise ValueError(f"module {number} ({step}) comes before any that pools tokens")
            came = sizes[reads]
            expected = getattr(step, "width", came)
            if expected != came:
                raise ValueError(
                    f"module {number} ({step}) expects vectors of {expected}; {came} come in"
                )
            size = came * len(step.modes) if isinstance(step, Pool) else getattr(step, "size", came)
            sizes[_writes(step)] = size
        return sizes


def _reads(step: Step) -> str:
    return getattr(step, "reads", "sentence_embedding")


def _writes(step: Step) -> str:
    return getattr(step, "writes", "sentence_embedding")


class Applied(nnx.Module):
    """A step with its parameters."""

    def __init__(self, step: Step, initial: spec.Initial):
        self.step = step
        if isinstance(step, Project):
            self.linear = Dense(step.width, step.size, "inner", initial, step.bias)
            other = step.residual and step.width != step.size
            shortcut = Dense(step.width, step.size, "inner", initial, bias=False)
            self.residual = shortcut if other else None
            activation(step.act)
        if isinstance(step, Standardise):
            self.norm = Norm(step.norm, step.width)

    def __call__(
        self,
        fields: Fields,
        valid: Bool[Array, "B T"] | None,
        prompt: Int[Array, ""] | int,
        key: Key | None,
    ) -> Fields:
        step = self.step
        if isinstance(step, Pool):
            skip = 0 if step.include_prompt else prompt
            found = [pool_tokens(fields["token_embeddings"], m, valid, skip) for m in step.modes]
            return {**fields, "sentence_embedding": jnp.concatenate(found, axis=-1)}
        return {**fields, _writes(step): self._apply(step, fields[_reads(step)], key)}

    def _apply(
        self,
        step: Project | Standardise | Normalise | Drop,
        x: Float[Array, "*B D"],
        key: Key | None,
    ) -> Float[Array, "*B E"]:
        if isinstance(step, Project):
            return self._project(step, x)
        if isinstance(step, Standardise):
            return self.norm(x)
        if isinstance(step, Normalise):
            return unit(x)
        return dropout(x, step.rate, key)

    def _project(self, step: Project, x: Float[Array, "*B D"]) -> Float[Array, "*B E"]:
        y = activation(step.act)(self.linear(x))
        if not step.residual:
            return y
        return y + (x if self.residual is None else self.residual(x))


class SentenceEmbedding(Head):
    """`sentence_embedding` Float[B E] and `token_embeddings` Float[B T D] of a backbone's stream.

    `prompt_length` Int[] is the number of tokens in front of every row that are a prompt, for
    poolings that leave it out.
    """

    labels = ("prompt_length",)

    def __init__(self, sentence: SentenceSpec, initial: spec.Initial):
        self.spec = sentence
        self.steps = nnx.List([Applied(step, initial) for step in sentence.steps])

    def check(self, arguments, shape, like="the input"):
        if (length := arguments.get("prompt_length")) is not None:
            checks.integers("prompt_length", length, 0)

    def __call__(self, x, given: HeadInputs, *, prompt_length=None):
        fields: Fields = {"token_embeddings": x}
        prompt = 0 if prompt_length is None else prompt_length
        for number, step in enumerate(self.steps):
            key = None if given.key is None else jax.random.fold_in(given.key, number)
            fields = step(fields, given.valid, prompt, key)
        return {name: fields[name] for name in ("sentence_embedding", "token_embeddings")}
