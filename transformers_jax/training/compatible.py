"""Which objectives a model can be trained on: it has the head, takes what examples hold, and sees
no token that it is to predict.

The last is decided by the masks: a mask under which no token attends to a later one is safe for any
text. Any other is drawn over rows that are as long as those of the run and made by the objective
itself, with labels and tags: what the tokens before a target attend to, in one layer or over
several, must not be the target.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from transformers_jax.data import packing
from transformers_jax.data.stream import Part, Stream
from transformers_jax.data.tokens import Tokens
from transformers_jax.graph import attends_ahead
from transformers_jax.models.causal import unattended
from transformers_jax.models.config import FamilyConfig
from transformers_jax.nn.convolution import ConvolutionSpec
from transformers_jax.nn.embed import nodes_of
from transformers_jax.nn.loss import IGNORED
from transformers_jax.objectives import OBJECTIVES, Vocabulary, objective
from transformers_jax.objectives.spans import SENTINELS
from transformers_jax.objectives.vocabulary import ROLES
from transformers_jax.tasks import TASKS, FewShot, Task
from transformers_jax.training.config import TrainConfig
from transformers_jax.training.initial import PAIR, abstract_model
from transformers_jax.training.probe import check_probe
from transformers_jax.training.samples import POSITIONS

LONGEST = 1024  # tokens of a row, where its length does not matter
SIZE = 512  # ids of the vocabulary of such a row


def check_objective(config: TrainConfig) -> None:
    """Checks that the model of a config can be trained on its objective; nothing is computed.

    Raises:
        ValueError: a model without the head, one that does not take what the examples hold, or one
            whose masks let it see what it is to predict (or, where text is to be predicted from
            both of its sides, hide one).
    """
    target, family = config.objective, config.model.model_type
    name = type(target).__name__
    if not _has_vocabulary(config):
        raise ValueError(
            f"{name} trains a model of text, whose vocab_size is that of the tokenizer; {family} "
            "has no such setting"
        )
    _check_head(config)
    check_probe(config)
    if isinstance(target, FewShot) and config.adapter is not None:
        raise ValueError(
            "few_shot exports the model with a regression on its vectors, so that it trains the "
            "whole model: leave the adapter out"
        )
    if isinstance(target, Task):  # its labels are no tokens that the model reads
        return
    model = abstract_model(config)
    batch = example_batch(config)
    inputs = objective(target.loss).inputs(model, batch)[0]  # type: ignore[attr-defined]
    if wrong := [argument for argument in inputs if argument not in model.arguments()]:
        raise ValueError(
            f"{name} gives a model the arguments {', '.join(wrong)}, which {family} does not take; "
            "choose another model"
        )
    if target.loss in ("causal_lm", "seq2seq_lm"):
        _check_unseen(config, model)
    else:
        _check_both_sides(config, model)
        _check_copies(config, model)


def _has_vocabulary(config: TrainConfig) -> bool:
    """Whether the model has the vocabulary that its objective needs; where a task reads text beside
    something else, a part of the model may have it."""
    if not isinstance(config.objective, Task):
        return any(field.name == "vocab_size" for field in dataclasses.fields(config.model))
    parts = [getattr(config.model, field.name) for field in dataclasses.fields(config.model)]
    parts = [one for one in parts if isinstance(one, FamilyConfig)]
    known = any(hasattr(one, "vocab_size") for one in (config.model, *parts))
    return known or "text" not in config.objective.reads


def _check_head(config: TrainConfig) -> None:
    """Raises ValueError where the family does not have the head of the objective."""
    target, model = config.objective, config.model
    heads = {*model.HEADS.values()}
    if target.head not in {*heads, PAIR, "embedding"}:  # their plans say what they are made of
        known = TASKS if isinstance(target, Task) else OBJECTIVES
        served = heads | {"embedding"} if "none" in heads else heads
        reads = getattr(target, "reads", None)
        fitting = [
            name
            for name, record in known.items()
            if record.head in served and getattr(record, "reads", None) == reads
        ]
        raise ValueError(
            f"{type(target).__name__} trains a model with the head {target.head!r}, and "
            f"{model.model_type} has {', '.join(sorted(heads))}: choose another model, or of the "
            f"objectives {', '.join(fitting) or 'none, as it has none'}"
        )


def example_batch(config: TrainConfig, *, whole: bool = False, documents: int = 2) -> packing.Batch:
    """A batch of one row, as the objective makes it of a text that stands for any other, with
    sentences of five tokens.

    Args:
        whole: the row is as long as those of the run, and not at most LONGEST.
        documents: so many of them are as long as a row.
    """
    data, target = config.text, config.objective
    length = data.length if whole else min(data.length, LONGEST)
    target_length = data.target_length if whole else None
    data = dataclasses.replace(data, length=length, target_length=target_length, batch=1)
    special = {role: number for number, role in enumerate(ROLES)}
    modes = {mode: len(ROLES) + number for number, mode in enumerate(target.modes)}
    sentinels = tuple(range(SIZE - SENTINELS, SIZE))
    words = Vocabulary(SIZE, special, sentinels, modes, np.zeros(SIZE, bool))
    starts = np.arange(9) * max(length // documents, 2)
    first, last = len(special) + len(modes), SIZE - SENTINELS
    ids = first + np.arange(starts[-1]) % (last - first)
    sentences = np.union1d(starts[:-1], np.arange(0, starts[-1], 5))
    part = Part(Tokens(ids, starts, sentences), data, target, words, 0, shuffle=False)
    row = [part.example(0, number) for number in part.rows(0, 0)[0]]
    return packing.assemble([row], part.layout)


def check_positions(config: TrainConfig, stream: Stream) -> None:
    """Rows are no longer than the model's table of positions.

    Raises:
        ValueError: they are.
    """
    data, target = config.data, stream.layout.target
    length = stream.layout.width - (config.objective.width(data.length) - data.length)
    for name in POSITIONS:
        count, need = getattr(config.model, name, None), max(length, target)
        if isinstance(count, int) and need > count:
            setting = "data.length" if length > count else "data.target_length"
            raise ValueError(
                f"{setting}: rows of {need} are longer than model.{name} ({count}); "
                f"pass --model.{name.replace('_', '-')} {need}, or shorter rows"
            )


def _check_unseen(config: TrainConfig, model: Any) -> None:
    """Raises ValueError where a token is to be predicted from one that attends to it."""
    free = not any(attends_ahead(mask, prefix=True) for mask in model.reading.masks)
    for documents in (2,) if free else (2, 1):  # edges may be of documents as long as a row
        batch = example_batch(config, whole=not free, documents=documents)
        inputs = objective(config.objective.loss).inputs(model, batch)[0]  # type: ignore[attr-defined]
        _check_row(config, model, inputs)


def _check_row(config: TrainConfig, model: Any, inputs: Mapping[str, Any]) -> None:
    """Raises ValueError where a token of these rows is to be predicted from one that attends to
    it."""
    prefix = "decoder_" if config.objective.sides == 2 else ""
    names = ("input_ids", "attention_mask", "tags")
    read = {name: inputs[prefix + name] for name in names if prefix + name in inputs}
    nodes = nodes_of(read["input_ids"].shape[1], read.get("attention_mask"), read.get("tags"))
    nodes = nodes if model.reading.layout is None else model.reading.layout(nodes)
    for mask in model.reading.masks:
        mask.check(nodes, nodes, {})
    free = unattended(model.reading, read)
    if free is None:
        return
    # a label is the next token that is read
    seen = (inputs["labels"][:, :-1] != IGNORED) & ~np.asarray(free)[:, 1:]
    if not seen.any():
        return
    mask = next(m for m in model.reading.masks if attends_ahead(m, prefix=True))
    number = int(np.argmax(seen[0])) + 1
    raise ValueError(
        f"{type(config.objective).__name__} predicts each token from those before it, but under "
        f"the mask {mask} of {config.model.model_type} these see it (token {number + 1} is "
        f"a target, and token {number} sees it), so that the model would learn to copy; "
        f"{_advice(config)}"
    )


def _advice(config: TrainConfig) -> str:
    """How a model of this family sees no later tokens."""
    if config.model.transformers_jax is not None:
        return "take the mask out of model.transformers_jax, or store one that is causal in it"
    if getattr(config.model, "is_decoder", None) is False:
        return "pass --model.is-decoder, or choose an objective of encoders such as MaskedLM"
    return "choose another model, or store a causal mask in model.transformers_jax"


def _check_copies(config: TrainConfig, model: Any) -> None:
    """Raises ValueError where a row holds its text twice, as it is and with tokens hidden, and
    something else than the objective's mask says which of them is seen."""
    if config.objective.copies == 1:
        return
    ops = {op for stack in model.stacks().values() for op in stack.spec.ops}
    convolves = any(isinstance(op, ConvolutionSpec) for op in ops)
    if convolves or any(stack.masks("cross") for stack in model.stacks().values()):
        raise ValueError(
            f"{type(config.objective).__name__} reads a text beside its own answer, and the mask "
            f"{config.objective.mask(packed=False)} hides it; in {config.model.model_type} "
            f"{'a convolution reads' if convolves else 'other tokens read'} the whole row, so that "
            "the model would learn to copy; choose MaskedDiffusion, or a model whose tokens attend "
            "to one another only"
        )


def _check_both_sides(config: TrainConfig, model: Any) -> None:
    """Raises ValueError where no token attends to a later one, and masked ones are predicted."""
    masks = [mask for stack in model.stacks().values() for mask in stack.masks("self")]
    if masks and not any(attends_ahead(mask, prefix=True) for mask in masks):
        raise ValueError(
            f"{type(config.objective).__name__} predicts masked tokens from both of their sides, "
            f"but under the mask {masks[0]} of {config.model.model_type} no token attends to a "
            "later one; choose CausalLM, or a model that is no decoder"
        )
