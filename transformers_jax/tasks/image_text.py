"""ImageTextPairs: pictures and texts that belong together (CLIP, SigLIP)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Int, Key
from transformers_jax.data.config import Table
from transformers_jax.data.tables import Records
from transformers_jax.embedding.zero_shot import reads_last_token
from transformers_jax.models.base import Model
from transformers_jax.nn.head import TokenPooler
from transformers_jax.nn.loss import IGNORED
from transformers_jax.nn.pooling import FirstOf
from transformers_jax.objectives.example import Example
from transformers_jax.objectives.metrics import Batch, LossAndMetrics
from transformers_jax.objectives.pairs import ComparesRows, ImageText
from transformers_jax.tasks import nearest
from transformers_jax.tasks.base import Task
from transformers_jax.tasks.figures import histogram_of_ranks
from transformers_jax.tasks.images import IMAGE, PictureExamples, Pictures, pictures_of
from transformers_jax.tasks.rows import NUMBER, Form, LongRow, Rows, encode

TEXT, PICTURE = "text_embeds", "image_embeds"
CUTOFFS = nearest.CUTOFFS


@dataclass(frozen=True)
class ImageTextPairs(Task):
    """Vectors of pictures and of texts, by which those that belong together find each other: a
    table with columns "image" and "text". The loss is that of the model: CLIP's (Radford et al.
    2021, section 2.3), or SigLIP's (Zhai et al. 2023, section 3.2). Negatives are all rows of the
    batch, on all devices and in all micro-batches."""

    head: ClassVar[str] = "contrastive"
    metric: ClassVar[str] = "recall@1"
    reads: ClassVar[tuple[str, ...]] = ("text", "images")
    needed: ClassVar[tuple[str, ...]] = ("image", "text")
    usual: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "image": IMAGE,
        "text": ("text", "caption", "sentence", "txt"),
    }
    answered: ClassVar[tuple[str, ...]] = (TEXT, PICTURE)
    peak: ClassVar[float] = 1e-4

    chunk: int | None = None
    """how many rows of the scores of a batch are in memory at a time, a divisor of the batch; by
    default all, which is quadratic in the batch"""
    no_duplicates: bool = True
    """no text is twice in a batch, where it would be a negative of its own picture"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.chunk is not None and self.chunk < 1:
            raise ValueError(f"chunk ({self.chunk}) must be at least 1")

    @property
    def roles(self) -> tuple[str, ...]:
        # CLIP finds the end of a text by its token; BERT reads the first one
        return ("pad", "bos", "eos", "cls", "sep")

    @property
    def apart(self) -> bool:
        return self.no_duplicates

    def tabled(self, data: Table) -> Table:
        """Texts of a batch are of any length: were they alike, negatives would be known by it."""
        return dataclasses.replace(data, rows="padded") if data.rows == "bucketed" else data

    # ------------------------------------------------------------ data

    def read(self, form: Form, records: Records, *, answered: bool = True) -> Rows:
        form = dataclasses.replace(form, length=_length(form))
        records, pictures, notes = pictures_of(form, records)
        texts = form.texts(records, "text")
        try:
            encoded = encode(form, texts)
        except LongRow as error:
            raise ValueError(f"{records.places[error.number]}: {error}") from None
        notes.append(encoded.note(f"{records.name}, texts", form.length))
        tokens = [filled(form.model, side) for side in encoded.sides]
        check_ends(form.model, tokens, records.places)
        examples = PairExamples(pictures, tokens)
        return Rows(records, examples, np.arange(len(examples)), texts, notes=tuple(notes))

    # ------------------------------------------------------------ training

    @property
    def compared(self) -> ImageText:
        """The loss of the vectors."""
        return ImageText(chunk=self.chunk)

    @property
    def objective(self):
        return ImageTextObjective(self)

    def minimise(self, model: Any, batch: Batch, key: Key | None) -> LossAndMetrics:
        return self.objective(model, batch, key)

    def measure(self, model, batch):
        vectors = self.objective.vectors(model, batch, None)
        answers = {TEXT: vectors[0], PICTURE: vectors[1], NUMBER: batch[NUMBER]}
        return self.objective.of(vectors)[1], answers

    # ------------------------------------------------------------ answers

    def metrics(self, answers, rows, form):
        found = both_ways(answers, rows)
        figures = {
            f"{name}_recall@{k}": float(np.mean(np.asarray(ranks) <= k))
            for name, ranks in found.items()
            for k in CUTOFFS
        }
        mean = lambda k: sum(figures[f"{name}_recall@{k}"] for name in found) / len(found)
        return {**{f"recall@{k}": mean(k) for k in CUTOFFS}, **figures}

    def figure(self, answers, rows, form):
        ranks = both_ways(answers, rows)
        return histogram_of_ranks("the picture that belongs to a text", ranks["text_to_image"])

    def predictions(self, answers, rows, form):
        text, image = (np.asarray(answers[name], np.float64) for name in self.answered)
        cosines = nearest.cosines(text, image)
        return [
            {"text_embeds": a.tolist(), "image_embeds": b.tolist(), "similarity": float(cosine)}
            for a, b, cosine in zip(text, image, cosines)
        ]


@dataclass(frozen=True)
class ImageTextObjective(ComparesRows):
    """The loss of the task, in two stages (see `ComparesRows`): behind what `ImageText` compares
    there is a column that says which rows count."""

    task: ImageTextPairs

    def vectors(self, model, batch, key):
        known = jnp.asarray(batch[NUMBER] != IGNORED).astype(jnp.float32)[:, None]
        return [*self.task.compared.vectors(model, self.task.inputs(batch), key), known]

    def of(self, vectors, known=None, labels=None):
        *own, known = vectors
        return self.task.compared.of(own, known[:, 0] > 0)

    def inputs(self, model, batch):
        return [self.task.inputs(batch)]


class PairExamples(PictureExamples):
    """Examples of pictures, each with the tokens of its text."""

    def __init__(self, pictures: Pictures, tokens: Sequence[Mapping[str, np.ndarray]]):
        ids = [{"ids": one["input_ids"]} for one in tokens]
        super().__init__(pictures, ids)
        self.tokens, self.patches = tokens, self.length
        self.length = max(len(one["input_ids"]) for one in tokens)

    def select(self, numbers):
        return PairExamples(self.pictures.select(numbers), [self.tokens[n] for n in numbers])

    def compared(self, number):
        return frozenset({self.tokens[number]["input_ids"].tobytes()})

    def _example(self, number, arguments):
        once = {**arguments, NUMBER: number}
        return Example(dict(self.tokens[number]), once=once, size=self.patches)


def both_ways(answers: Mapping[str, Any], rows: Rows) -> dict[str, list[int]]:
    """The rank, from 1, of what belongs to each text among all pictures, and to each picture among
    all texts. A text, or a picture, that is in several records is one."""
    assert isinstance(rows.examples, PairExamples)
    assert rows.references is not None
    names = {"text": [*rows.references], "image": [*map(str, rows.examples.pictures.pictures)]}
    vectors = {
        "text": np.asarray(answers[TEXT], np.float64),
        "image": np.asarray(answers[PICTURE], np.float64),
    }
    ways = (("text", "image"), ("image", "text"))
    return {f"{a}_to_{b}": nearest.ranks(names, vectors, a, b, "cosine") for a, b in ways}


# ---------------------------------------------------------------- texts as the model reads them


def _length(form: Form) -> int:
    """The most tokens of a text, or the number that all texts have.

    Raises:
        ValueError: another length than that to which the model's texts are filled up.
    """
    positions = form.model.towers["text"].positions  # type: ignore[attr-defined]
    if reads_last_token(form.model) and form.data.length not in (0, positions):
        raise ValueError(
            f"data.length ({form.data.length}): a text of {form.model.config.model_type} is its "
            f"last token, so that all are filled up to the {positions} that the model has "
            "positions for: leave --data.length out, or set max_position_embeddings"
        )
    most = [one for one in (form.length, positions) if one]
    return min(most, default=0)


def filled(model: Model, side: Mapping[str, np.ndarray]) -> dict[str, Int[np.ndarray, " T"]]:
    """The tokens of a text; of a model whose texts are their last token, with what fills them up,
    which it reads."""
    if not reads_last_token(model):
        return dict(side)
    text: Any = model.towers["text"]  # type: ignore[attr-defined]
    ids = np.full(text.positions, model.config.text_config.pad_token_id, np.int32)  # type: ignore[attr-defined]
    ids[: len(side["input_ids"])] = side["input_ids"]
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def check_ends(
    model: Model, tokens: Sequence[Mapping[str, np.ndarray]], places: Sequence[str]
) -> None:
    """Raises ValueError for a text without the token that the model finds its end by."""
    pooler = model.towers["text"].pooler  # type: ignore[attr-defined]
    pooling = pooler.pooling if isinstance(pooler, TokenPooler) else None
    if not isinstance(pooling, FirstOf) or not isinstance(pooling.token, int):
        return
    for place, one in zip(places, tokens):
        if pooling.token not in one["input_ids"]:
            raise ValueError(
                f"{place}: the text has no token {pooling.token} (text_config.eos_token_id), by "
                f"which {model.config.model_type} finds its end: its tokenizer has to put one "
                "behind each text; of those that are learned bpe, byte, character and unigram do"
            )
