"""One vector for a sentence: how its tokens are pooled, and the steps behind.

The steps are those of sentence-transformers (Reimers and Gurevych 2019), as frozen records; the
head applies them in order to two fields, `token_embeddings` and `sentence_embedding`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import jax.numpy as jnp
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Key
from transformers_jax.inputs import checks
from transformers_jax.nn.feedforward import activation
from transformers_jax.nn.head import Dense, Head, HeadInputs
from transformers_jax.nn.noise import dropout, numbered_key
from transformers_jax.nn.norm import Norm, unit
from transformers_jax.nn.pooling import MODES, Pooling, pool

Field = Literal["sentence_embedding", "token_embeddings"]
Fields = dict[str, Array]


# ---------------------------------------------------------------- steps


@dataclass(frozen=True)
class Pool:
    """Tokens become one vector: of several modes side by side.

    Attributes:
        modes: of `pooling.MODES`.
        include_prompt: whether the tokens of a prompt are pooled, too (INSTRUCTOR: not).
    """

    modes: tuple[str, ...] = ("mean",)
    include_prompt: bool = True
    reads: ClassVar[Field] = "token_embeddings"
    writes: ClassVar[Field] = "sentence_embedding"

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
    reads: ClassVar[Field] = "sentence_embedding"
    writes: ClassVar[Field] = "sentence_embedding"


@dataclass(frozen=True)
class Normalise:
    """Vectors of length one."""

    reads: Field = "sentence_embedding"
    writes: Field = "sentence_embedding"


@dataclass(frozen=True)
class Drop:
    """Dropout of the sentence's vector, where there is a key."""

    rate: float
    reads: ClassVar[Field] = "sentence_embedding"
    writes: ClassVar[Field] = "sentence_embedding"


Step = Pool | Project | Standardise | Normalise | Drop


@dataclass(frozen=True)
class SentenceSpec:
    """The steps from a stream of `width` to a sentence's vector.

    Raises:
        ValueError: a step of another width than its input, or that reads what no step has written.
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
            if step.reads not in sizes:
                raise ValueError(f"module {number} ({step}) comes before any that pools tokens")
            width = sizes[step.reads]
            expected = getattr(step, "width", width)
            if expected != width:
                raise ValueError(
                    f"module {number} ({step}) expects vectors of {expected}; {width} come in"
                )
            several = width * len(step.modes) if isinstance(step, Pool) else width
            sizes[step.writes] = getattr(step, "size", several)
        return sizes


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

    def __call__(self, fields: Fields, valid: Array | None, prompt, key: Key | None) -> Fields:
        step = self.step
        x = y = fields[step.reads]
        match step:
            case Pool():
                skip = 0 if step.include_prompt else prompt
                y = jnp.concatenate(
                    [pool(x, Pooling(mode=mode), valid, skip=skip) for mode in step.modes], axis=-1
                )
            case Project():
                y = activation(step.act)(self.linear(x))
                if step.residual:
                    y = y + (x if self.residual is None else self.residual(x))
            case Standardise():
                y = self.norm(x)
            case Normalise():
                y = unit(x)
            case Drop():
                y = dropout(x, step.rate, key)
        return {**fields, step.writes: y}


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

    def __call__(self, x, inputs: HeadInputs, *, prompt_length=None):
        fields: Fields = {"token_embeddings": x}
        prompt = 0 if prompt_length is None else prompt_length
        for number, step in enumerate(self.steps):
            key = numbered_key(inputs.key, number)
            fields = step(fields, inputs.valid, prompt, key)
        return {name: fields[name] for name in ("sentence_embedding", "token_embeddings")}
