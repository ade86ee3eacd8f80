"""Tasks of encoder-decoders that write a text: summaries, translations and the like."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from transformers_jax.arrays import Int
from transformers_jax.data.tables import Records
from transformers_jax.generation import generate
from transformers_jax.metrics import exact_match, rouge, translation
from transformers_jax.objectives.example import Example
from transformers_jax.objectives.losses import seq2seq_lm
from transformers_jax.tasks.base import Task
from transformers_jax.tasks.figures import worst_texts
from transformers_jax.tasks.rows import NUMBER, Form, LongRow, Rows, encode, numbered


class Writing(Task):
    """What the tasks share: a source is read, and a target is written, token by token.

    In evaluations the model writes, by itself, and the texts are compared; `eval_loss` is that of
    the tokens of the targets.
    """

    head: ClassVar[str] = "seq2seq_lm"
    loss: ClassVar[str] = "seq2seq_lm"
    sides: ClassVar[int] = 2
    needed: ClassVar[tuple[str, ...]] = ("text", "label")
    answered: ClassVar[tuple[str, ...]] = ()
    writes: ClassVar[bool] = True

    prefix: str
    max_new_tokens: int
    num_beams: int

    # ------------------------------------------------------------ data

    def _sources(self, form: Form, records: Records) -> list[str]:
        return [self.prefix + text for text in form.texts(records, "text")]

    def _targets(self, form: Form, records: Records) -> list[np.ndarray]:
        tokenizer = form.tokenizer.target or form.tokenizer
        texts = form.texts(records, "label")
        options: dict[str, Any] = {}
        if form.target_length:
            options = dict(truncation=True, max_length=form.target_length)
        batch = tokenizer.batch(texts, padding=False, return_token_type_ids=False, **options)
        ends = np.ravel([form.model.config.eos_token_id]).tolist()
        return [_ended(ids, ends, form.target_length) for ids in batch["input_ids"]]

    def read(self, form: Form, records: Records, *, answered: bool = True) -> Rows:
        try:
            encoded = encode(form, self._sources(form, records))
        except LongRow as error:
            raise ValueError(f"{records.places[error.number]} {error}") from None
        notes = [encoded.note(f"{records.name}, sources", form.length)]
        targets: list[dict[str, np.ndarray]] = [{}] * len(records)
        references = None
        if answered:
            references = form.texts(records, "label")
            targets = [{"labels": ids} for ids in self._targets(form, records)]
            longest, most = max(len(one["labels"]) for one in targets), form.target_length
            full = sum(len(one["labels"]) >= most for one in targets)
            filled = f"; {full:,} fill {most:,}" if most else ""
            notes.append(f"{records.name}, targets: the longest has {longest:,} tokens{filled}")
        examples = [Example(side, target) for side, target in zip(encoded.sides, targets)]
        owners = np.arange(len(examples))
        return Rows(records, numbered(examples), owners, references, notes=tuple(notes))

    # ------------------------------------------------------------ training, answers

    def minimise(self, model, batch, key):
        return seq2seq_lm(model, self.inputs(batch), key)

    def measure(self, model, batch):
        return self.minimise(model, batch, None)[1], {}

    def write(self, model: Any, batch: Mapping[str, Any], **options: Any) -> dict[str, np.ndarray]:
        """The ids that the model writes for each row of a batch."""
        mask = np.array(batch["attention_mask"])
        mask[~mask.any(1), 0] = 1  # a row without an example has to have a token
        own = {"num_beams": self.num_beams, "max_new_tokens": self.max_new_tokens}
        options = {"do_sample": False, **own, **options}
        ids = generate(model, batch["input_ids"], attention_mask=mask, **options)
        return {"sequences": np.asarray(ids), NUMBER: np.asarray(batch[NUMBER])}

    def learned(self, rows, form):
        return self.writing(self.max_new_tokens or form.target_length + 1)

    def writing(self, most: int) -> Task:
        """The task with so many tokens at most."""
        raise NotImplementedError

    def _texts(self, answers, form) -> list[str]:
        rows = np.where(answers["sequences"] < 0, _padding(form), answers["sequences"])
        tokenizer = form.tokenizer.target or form.tokenizer
        return [text.strip() for text in tokenizer.batch_decode(rows, skip_special_tokens=True)]

    def predictions(self, answers, rows, form):
        return [{"text": text} for text in self._texts(answers, form)]

    def metrics(self, answers, rows, form):
        texts = self._texts(answers, form)
        references = [text.strip() for text in rows.references]
        figures = {**self.figures(texts, references), **exact_match(texts, references)}
        tokens = (answers["sequences"] >= 0) & (answers["sequences"] != _padding(form))
        return {**figures, "written_tokens": float(tokens.sum(1).mean())}

    def figure(self, answers, rows, form):
        sources = form.texts(rows.records, "text")
        return worst_texts(sources, self._texts(answers, form), rows.references)

    def figures(self, texts: list[str], references: list[str]) -> dict[str, float]:
        """The figures of the task."""
        raise NotImplementedError


def _ended(ids: Any, ends: list[int | None], most: int) -> Int[np.ndarray, " T"]:
    """A target with the token that ends a text, which some tokenizers leave to others."""
    row = np.asarray(ids, np.int32)
    if ends[0] is None or {*row[-2:].tolist()} & {*ends}:  # mBART's have the language behind it
        return row
    return np.append(row[: most - 1] if most else row, np.int32(ends[0]))


def _padding(form: Form) -> int:
    return int(np.ravel([form.model.config.pad_token_id or 0])[0])


@dataclass(frozen=True)
class Summarization(Writing):
    """A summary of a text (Nallapati et al. 2016); by the ROUGE of what is written."""

    metric: ClassVar[str] = "rougeLsum"
    scorer: ClassVar[tuple[str, str] | None] = ("rouge_score.rouge_scorer", "ROUGE")
    usual: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "text": ("document", "article", "text", "dialogue"),
        "label": ("summary", "highlights", "abstract", "title"),
    }

    prefix: str = ""
    """what is put in front of every source, such as "summarize: " of T5"""
    max_new_tokens: int = 0
    """most tokens of a text that is written; 0: as many as the longest target has"""
    num_beams: int = 1
    """texts that beam search keeps; 1: greedy"""

    def writing(self, most):
        return dataclasses.replace(self, max_new_tokens=most)

    def figures(self, texts, references):
        return rouge(texts, references)


@dataclass(frozen=True)
class Translation(Writing):
    """The same text in another language; by the BLEU and chrF of what is written.

    Of models of many languages (mBART, mBART-50, M2M-100, NLLB) both languages are named by the
    codes of their tokenizer: sources and targets get the tokens of theirs, and what is written
    begins with that of the target (Liu et al. 2020, section 3.1; Fan et al. 2020, section 2).
    """

    metric: ClassVar[str] = "bleu"
    scorer: ClassVar[tuple[str, str] | None] = ("sacrebleu.metrics", "BLEU")
    usual: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "text": ("source", "src", "text"),
        "label": ("target", "tgt", "translation", "label"),
    }

    prefix: str = ""
    """what is put in front of every source, such as "translate English to German: " of T5"""
    max_new_tokens: int = 0
    """most tokens of a text that is written; 0: as many as the longest target has"""
    num_beams: int = 1
    """texts that beam search keeps; 1: greedy"""
    bleu_tokenizer: str = "13a"
    """of sacreBLEU: 13a, intl, char, zh, ja-mecab, ..."""
    best: Literal["bleu", "chrf", "exact_match"] = "bleu"
    """the figure by which the best checkpoint is chosen; BLEU is 0 of texts below four words"""
    source_language: str = ""
    """code of the language of sources, such as en_XX, en or eng_Latn"""
    target_language: str = ""
    """code of the language that is written"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.source_language) != bool(self.target_language):
            raise ValueError(
                "source_language and target_language belong together: name both, by the codes of "
                "the tokenizer"
            )

    @property
    def criterion(self):
        return self.best

    @property
    def languages(self):
        if not self.target_language:
            return {}
        return {"src_lang": self.source_language, "tgt_lang": self.target_language}

    def generation(self, tokenizer):
        """The token with which what is written begins: behind the start, where targets have it in
        front, and as the start, where they have it at their end (mBART)."""
        if not self.target_language:
            return {}
        known = tokenizer.languages
        if self.target_language not in known or tokenizer.target is None:
            raise ValueError(
                f"target_language: the tokenizer has no language {self.target_language!r}"
            )
        number = known[self.target_language]
        first = int(tokenizer.target.batch(["a"], padding=False)["input_ids"][0][0])
        return {"forced_bos_token_id" if first == number else "decoder_start_token_id": number}

    def writing(self, most):
        return dataclasses.replace(self, max_new_tokens=most)

    def figures(self, texts, references):
        return translation(texts, references, tokenize=self.bleu_tokenizer)
