"""The heads that encoders share: masked words, and the tasks of fine-tuning. A family says the
dropout, and what stands between its stream and the answer."""

from __future__ import annotations

from typing import Any, TypeVar

from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.weight_rows import layer, norm
from transformers_jax.nn import head as heads
from transformers_jax.spec import Initial, Norm

Value = TypeVar("Value")


def first_of(*values: Value | None) -> Value:
    """The first of some values that a config says (of a dropout, ...)."""
    return next(value for value in values if value is not None)


def task_head(
    config: FamilyConfig, head: str, width: int, initial: Initial, **options: Any
) -> heads.Head:
    """The head of a task behind a stream of this width; `options` are those of its class (`rate`,
    `pooling`, `inner`, ...)."""
    labels = config.num_labels
    if head == "sequence_classification":
        problem = config.problem_type
        return heads.SequenceClassification(width, labels, initial, problem=problem, **options)
    if head == "token_classification":
        return heads.TokenClassification(width, labels, initial, **options)
    if head == "multiple_choice":
        return heads.MultipleChoice(width, initial, **options)
    return heads.QuestionAnswering(width, initial, **options)


def words_head(
    config: FamilyConfig,
    width: int,
    initial: Initial,
    transform: tuple[str, Norm | None],
    out: int | None = None,
    unused_bias: bool = False,
    **options: Any,
) -> heads.LanguageModel:
    """Logits of masked words (with `shift`, of the next ones): the stream is transformed by a layer
    with this activation and norm to the width `out` of the embeddings, and compared with them.
    `unused_bias` is that of `words_rows`."""
    size, out = config.target_vocab, width if out is None else out
    tied = config.tie_word_embeddings
    options = {"shift": False, **options, "unused_bias": unused_bias and not tied}
    square = heads.Square(width, transform[0], initial, transform[1], out=out)
    return heads.LanguageModel(
        size, out, initial, tied=tied, bias=True, transform=square, **options
    )


def classifier_rows(theirs: str) -> str:
    """The rows of a classifier of rows with a layer in front of it."""
    return layer(f"{theirs}.dense", "head.inner") + layer(f"{theirs}.out_proj", "head.classify")


def words_rows(names: str, ours: str = "head", tied: bool = True, unused_bias: bool = False) -> str:
    """The rows of such a head, by the names of the layer, of its norm, and of what holds the bias
    and the table. With `unused_bias` a file of untied words holds two biases, and only that of the
    decoder counts."""
    square, square_norm, output = names.split()
    text = layer(square, f"{ours}.transform") + norm(square_norm, f"{ours}.transform.norm")
    if tied or not unused_bias:
        table = "" if tied else f"\n{output}.weight | {ours}.table"
        return text + f"\n{output}.bias | {ours}.bias" + table
    return f"""{text}
{output}.bias           | {ours}.unused_bias
{output}.decoder.weight | {ours}.table
{output}.decoder.bias   | {ours}.bias
"""
