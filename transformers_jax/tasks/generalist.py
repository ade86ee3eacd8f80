"""Generalist: one decoder of texts, pictures and actions, whose tokens are all of one sequence."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.acting.codes import Borders, Codes
from transformers_jax.acting.named import environment
from transformers_jax.acting.rollout import rollout
from transformers_jax.arrays import Array
from transformers_jax.data.tables import Records
from transformers_jax.graph import OWN, Same
from transformers_jax.models.config import FamilyConfig
from transformers_jax.nn.loss import IGNORED, cross_entropy
from transformers_jax.objectives.example import Example
from transformers_jax.tasks.captions import image_tokens
from transformers_jax.tasks.decisions import Decisions
from transformers_jax.tasks.episodes import ASKED, COLUMNS, Episodes, episodes_of
from transformers_jax.tasks.images import IMAGE, Pictures, pictures_of
from transformers_jax.tasks.rows import NUMBER, Drawn, Form, Rows
from transformers_jax.tasks.trajectory_tokens import MOST, codes_of

CAPTION, TEXT, EPISODE = 1, 2, 3
"""The documents of a row: a picture with its caption, a text, and steps of an episode."""
KINDS = ("bits_per_token", "caption_accuracy", "action_accuracy")
"""What is reported of each."""
Ids = np.ndarray


@dataclass(frozen=True)
class Parts:
    """What the rows of a table are made of.

    Attributes:
        captions, texts: ids, of each record.
        ends: the id with which a caption ends.
        held: the id of the tokens in whose places a picture's vectors stand, and how many.
    """

    pictures: Pictures
    captions: Sequence[Ids]
    texts: Sequence[Ids]
    episodes: Episodes
    ends: int
    held: tuple[int, int]


class MixedRows(Drawn):
    """Rows of three documents, which do not attend to each other: the tokens of a picture and its
    caption; a part of a text; some steps of an episode."""

    def __init__(self, kinds: Parts, numbers: Sequence[int], codes: Codes, steps: int, text: int):
        self.kinds, self.numbers, self.codes = kinds, numbers, codes
        self.steps, self.text = steps, text
        caption = max(len(ids) for ids in kinds.captions)
        self.length = kinds.held[1] + caption + 1 + text + steps * codes.per_step
        sums = hashlib.sha256(f"{kinds.pictures.fingerprint} {kinds.episodes.fingerprint}".encode())
        sums.update(f"{codes} {steps} {text} {[*numbers]}".encode())
        for ids in (*kinds.captions, *kinds.texts):
            sums.update(ids.tobytes())
        self.fingerprint = sums.hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, number: Any) -> Any:
        return self._example(number, 0, 0)

    def draw(self, number: int, noise: np.random.Generator) -> Example:
        own = self.numbers[number]
        text, episode = self.kinds.texts[own], self.kinds.episodes.episodes[own]
        start = int(noise.integers(max(len(text) - self.text, 0) + 1))
        return self._example(number, start, int(noise.integers(len(episode))))

    def select(self, numbers: Sequence[int]) -> MixedRows:
        return self.by(self.codes, [self.numbers[number] for number in numbers])

    def by(self, codes: Codes, numbers: Sequence[int] | None = None) -> MixedRows:
        """These rows, or others, by other codes."""
        numbers = self.numbers if numbers is None else numbers
        return MixedRows(self.kinds, numbers, codes, self.steps, self.text)

    def _example(self, number: int, start: int, first: int) -> Example:
        kinds, own = self.kinds, self.numbers[number]
        held = np.full(kinds.held[1], kinds.held[0], np.int32)
        caption = np.append(kinds.captions[own], np.int32(kinds.ends))
        text = kinds.texts[own][start : start + self.text]
        episode = kinds.episodes.episodes[own]
        window = episode.window(first, self.steps)
        count = int(window.pop("attention_mask").sum())
        steps = self.codes.whole({n: array[None, :count] for n, array in window.items()})[0]
        chosen = np.arange(len(steps)) % self.codes.per_step == self.codes.before
        none = lambda ids: np.full(len(ids), IGNORED, np.int32)
        documents = [np.concatenate([held, caption]), text, steps]
        labels = [none(held), caption, text, np.where(chosen, steps, IGNORED)]
        tags = {
            "document": np.repeat((CAPTION, TEXT, EPISODE), [len(ids) for ids in documents]),
            "position": np.concatenate([np.arange(len(ids)) for ids in documents]),
        }
        tokens = {"input_ids": np.concatenate(documents), "labels": np.concatenate(labels)}
        once = {**kinds.pictures.arguments(own), NUMBER: number}
        once[ASKED] = np.array([episode.total], np.float32)
        return Example(tokens, tags={n: x.astype(np.int32) for n, x in tags.items()}, once=once)


@dataclass(frozen=True)
class Generalist(Decisions):
    """One model that describes pictures, writes texts and acts (Reed et al. 2022): a table with
    columns "image" and "caption", "text", and "states", "actions" and "rewards". The numbers of an
    episode have ids of their own behind those of the words; the patches of a picture are embedded
    at their places; nothing but words and actions is predicted (section 2.3).
    """

    context: int = 8
    """steps of an episode that are read together"""
    text_length: int = 96
    """tokens of a text that are read together"""
    bins: int = 32
    """of each number, which hold as many of the recorded ones each"""
    borders: Borders = ()
    """between the bins of returns, the numbers of a state, and rewards; the table says them"""
    words: int = 0
    """the first id of these, behind those of the tokenizer"""

    head: ClassVar[str] = "causal_lm"
    metric: ClassVar[str] = "loss"
    lower: ClassVar[bool] = True
    reads: ClassVar[tuple[str, ...]] = ("text", "images")
    needed: ClassVar[tuple[str, ...]] = ("image", "text", "label")
    usual: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "image": IMAGE,
        "text": ("text",),
        "label": ("caption", "description"),
        **COLUMNS,
    }
    withheld: ClassVar[tuple[str, ...]] = (NUMBER, ASKED, "labels")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least("objective.", bins=2, text_length=1)

    @property
    def learns_labels(self):
        return True

    @property
    def roles(self):
        return ("pad", "bos", "eos")

    def added_tokens(self, family: FamilyConfig) -> tuple[str, ...]:
        return image_tokens(family)

    def mask(self, packed):
        return OWN & Same("document")

    @property
    def codes(self) -> Codes:
        """Which ids the numbers of episodes have."""
        return Codes(self.borders, environment(self.environment).act_dim, self.words)

    # ------------------------------------------------------------ data

    def read(self, form: Form, records: Records, *, answered: bool = True) -> Rows:
        config: Any = form.model.config
        if (held := getattr(config, "image_token_index", None)) is None:
            raise ValueError(
                f"{config.model_type} has no places for pictures among its words; train a model "
                "that has, such as llava"
            )
        records, pictures, notes = pictures_of(form, records)
        place = environment(self.environment)
        columns = {role: form.columns[role] for role in COLUMNS}
        whole = episodes_of(records, columns, (place.state_dim, place.act_dim), MOST)
        ids = lambda texts: [
            np.asarray(one, np.int32)
            for one in form.tokenizer.batch(texts, padding=False, add_special_tokens=False)[
                "input_ids"
            ]
        ]
        captions, texts = (ids(form.texts(records, role)) for role in ("label", "text"))
        first = self.words or form.tokenizer.max_id + 1
        codes = self.codes if self.borders else codes_of(whole, place.act_dim, self.bins, first)
        ends = form.tokenizer.special_id("eos")
        model: Any = form.model
        count = pictures.tokens - model.towers["vision"].states.first
        kinds = Parts(pictures, captions, texts, whole, ends, (held, count))
        numbers = range(len(records))
        examples = MixedRows(kinds, numbers, codes, self.context, self.text_length)
        references = form.texts(records, "label")
        notes = (*notes, f"{records.name}: {whole.note}")
        return Rows(records, examples, np.arange(len(records)), references, notes=notes)

    def used(self, train, held_out):
        if held_out is None:
            return train, None
        codes = train.examples.codes
        return train, dataclasses.replace(held_out, examples=held_out.examples.by(codes))

    def learned(self, rows, form):
        codes = rows.examples.codes
        return dataclasses.replace(self, borders=codes.borders, words=codes.first)

    def fitted(self, model, classes):
        text = model.text_config.replace(vocab_size=self.words + self.codes.size)
        return model.replace(text_config=text)

    def finished(self, model, corpus):
        """By the mask of its family: what it goes on with is one document."""
        return model.with_mask(None)

    def equipped(self, model):
        return model.with_mask(self.mask(packed=True))

    # ------------------------------------------------------------ training

    def inputs(self, batch):
        """A row that fills up a batch has the tokens of its picture, which is black."""
        given = super().inputs(batch)
        ids, nothing = given["input_ids"], (batch[NUMBER] < 0)[:, None]
        like = ids[:1] == ids[0, 0]  # the first row is one, and begins with those of its picture
        like = like & (jnp.cumsum(~like, axis=1) == 0)
        given["input_ids"] = jnp.where(nothing & like, ids[0, 0], ids)
        given["attention_mask"] = jnp.where(nothing & like, 1, given["attention_mask"])
        return given

    def compare(self, output, batch):
        """(mean cross-entropy over words and actions, what is reported of each kind)."""
        total, count = cross_entropy(output.logits[:, :-1], batch["labels"][:, 1:])
        of_rows = {n: (x.sum(), y.sum()) for n, (x, y) in by_kind(output, batch).items()}
        return total / jnp.maximum(count, 1), {"loss": (total, count), **of_rows}

    # ------------------------------------------------------------ answers

    def write(self, model, batch, **options):
        """What the model obtains in an episode for each row, and how it reads its documents."""
        found = by_kind(self.output(model, batch, None), batch)
        kinds = {name: np.stack(jax.device_get(pair), axis=1) for name, pair in found.items()}
        return {**super().write(model, batch, **options), **kinds}

    def metrics(self, answers, rows, form):
        sums = {name: answers[name].sum(0) for name in KINDS}
        means = {name: float(total / max(count, 1)) for name, (total, count) in sums.items()}
        return {**means, **super().metrics(answers, rows, form)}

    def acted(self, model, asked, seeds):
        options: Any = {"seeds": seeds, "context": self.context, "codes": self.codes}
        return rollout(model.with_mask(None), self.environment, asked, **options)


def by_kind(output: Any, batch: Any) -> dict[str, tuple[Array, Array]]:
    """By the name of a figure its sum and count in each row: bits of the text and its tokens; of
    the captions those that are right to the last token; of the actions those that were taken."""
    logits, labels = output.logits[:, :-1], batch["labels"][:, 1:]
    document = jnp.where(labels == IGNORED, 0, batch["tags"]["document"][:, 1:])
    bits = jax.nn.logsumexp(logits, axis=-1)
    picked = jnp.maximum(labels, 0)[..., None]
    bits = (bits - jnp.take_along_axis(logits, picked, axis=-1)[..., 0]) / math.log(2)
    right = logits.argmax(-1) == labels
    caption, text, action = (document == kind for kind in (CAPTION, TEXT, EPISODE))
    named, whole = caption.any(1), (right | ~caption).all(1)
    counted = lambda mask: mask.sum(1).astype(jnp.float32)
    figures = (
        ((bits * text).sum(1), counted(text)),
        (counted((named & whole)[:, None]), counted(named[:, None])),
        (counted(action & right), counted(action)),
    )
    return dict(zip(KINDS, figures))
