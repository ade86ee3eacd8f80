"""Captioning: texts about pictures, such as what they show, or answers to questions about them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax.numpy as jnp
import numpy as np

from transformers_jax.data.config import Table
from transformers_jax.data.tables import Records
from transformers_jax.generation import generate
from transformers_jax.metrics import exact_match, rouge, translation
from transformers_jax.models.base import Model
from transformers_jax.models.config import FamilyConfig
from transformers_jax.nn.loss import IGNORED
from transformers_jax.objectives.example import Example
from transformers_jax.tasks.base import Task
from transformers_jax.tasks.captions import (
    HELD,
    LOOKS,
    PROMPT,
    Encoder,
    Groups,
    Prompted,
    TextReader,
    TextsOfPictures,
    encoder_of,
    ends_of,
    groups_of,
    image_tokens,
    sequence_of,
    source_of,
    target_of,
)
from transformers_jax.tasks.figures import worst_texts
from transformers_jax.tasks.images import IMAGE, PIXELS
from transformers_jax.tasks.rows import NUMBER, Form, Rows

MOST = 64  # tokens of a text that is written, where no table says how long they are


@dataclass(frozen=True)
class Captioning(Task):
    """A text about a picture (Vinyals et al. 2015), or about several: a table with columns "image"
    and "caption", and "prompt", if each text answers one. The loss is of the tokens of the caption
    alone; in evaluations the model writes, by itself, and the texts are compared.

    A record may have a list of pictures, and `<image>` in its prompt says where each stands; where
    it does not, they stand in front. BLIP, a vision-encoder-decoder and BLIP-2 read one; Idefics
    any number, LLaVA and PaliGemma as many in each record.
    """

    loss: ClassVar[str] = "supervised"
    metric: ClassVar[str] = "exact_match"
    reads: ClassVar[tuple[str, ...]] = ("text", "images")
    needed: ClassVar[tuple[str, ...]] = ("image", "label")
    usual: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "image": (*IMAGE, "images"),
        "text": ("prompt", "question"),
        "label": ("caption", "text", "description", "answer", "label"),
    }
    answered: ClassVar[tuple[str, ...]] = ()
    writes: ClassVar[bool] = True
    peak: ClassVar[float] = 5e-5
    scorer: ClassVar[tuple[str, str] | None] = ("sacrebleu.metrics", "BLEU and chrF")
    withheld: ClassVar[tuple[str, ...]] = (NUMBER, PROMPT, HELD, LOOKS)
    head: ClassVar[str] = "causal_lm"

    max_new_tokens: int = 0
    """most tokens of a text that is written; 0: as many as the longest caption has"""
    num_beams: int = 1
    """texts that beam search keeps; 1: greedy"""
    best: Literal["exact_match", "chrf", "bleu", "rougeL"] = "exact_match"
    """the figure by which the best checkpoint is chosen"""
    encoder: Encoder = "none"
    """what the model's encoder reads: it has none (BLIP, LLaVA), images (vision-encoder-decoder),
    or images and the prompt (BLIP-2 with T5); the model says it"""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least("objective.", max_new_tokens=0, num_beams=1)
        if self.encoder == "images":
            object.__setattr__(self, "head", "seq2seq_lm")
        if self.encoder != "none":
            object.__setattr__(self, "sides", 2)

    @property
    def criterion(self):
        return self.best

    @property
    def learns_labels(self):
        return True

    @property
    def roles(self):
        return ("pad", "bos", "eos")

    @classmethod
    def trains(cls, model: Model) -> bool:
        """Whether a model writes about pictures."""
        writes = getattr(model.plan, "head", None) in ("causal_lm", "seq2seq_lm")
        return writes and PIXELS in model.arguments()

    def of_family(self, family: FamilyConfig) -> Task:
        return dataclasses.replace(self, encoder=encoder_of(family))

    def added_tokens(self, family: FamilyConfig) -> tuple[str, ...]:
        return image_tokens(family)

    def tabled(self, data: Table) -> Table:
        """Rows are not sorted by length, for which the pictures of all of them would be read."""
        return dataclasses.replace(data, rows="padded") if data.rows == "bucketed" else data

    # ------------------------------------------------------------ data

    def read(self, form: Form, records: Records, *, answered: bool = True) -> Rows:
        records, groups, notes = groups_of(form, records)
        captions = form.texts(records, "label") if answered else None
        prompts = form.texts(records, "text") if "text" in form.columns else [""] * len(records)
        reader = TextReader(form, groups.pictures.arguments(0)[PIXELS].shape[-2:])
        texts = []
        for number, (where, prompt) in enumerate(zip(records.places, prompts)):
            answer = None if captions is None else captions[number]
            if answer is not None and not answer.strip():
                raise ValueError(f"{where}: the caption is empty; take the record out")
            count = len(groups.members[number])
            try:
                texts.append(
                    reader.target(prompt, answer)
                    if self.encoder == "images"
                    else reader.read(prompt, answer, count)
                )
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from None
        texts, cut = self._cut(form, records, texts)
        if captions is not None:
            longest = max(len(one.answer) for one in texts if one.answer is not None)
            done = f"; {cut:,} are cut" if cut else "; none is cut"
            notes.append(f"{records.name}: the longest caption has {longest:,} tokens{done}")
        examples = TextsOfPictures(groups, self._examples(form, groups, texts))
        owners = np.arange(len(examples))
        return Rows(records, examples, owners, captions, notes=tuple(notes))

    def _cut(
        self, form: Form, records: Records, texts: Sequence[Prompted]
    ) -> tuple[list[Prompted], int]:
        """(the texts, with captions that fit into a row; how many were cut).

        Raises:
            ValueError: a caption that is too long, if it is not to be cut; a prompt that leaves no
                room for one.
        """
        apart, fitting, cut = self.encoder != "none", [], 0
        most = form.target_length if apart else form.length
        allowed = f"{most} at most (--data.target-length): raise it" if apart else form.at_most
        for where, text in zip(records.places, texts):
            if text.answer is None or not most:
                fitting.append(text)
                continue
            taken = 0 if self.encoder == "texts" else len(text.prompt)
            size = taken + len(text.answer)
            if size > most and (form.data.too_long == "error" or taken + 2 > most):
                truncate = ", or pass --data.too-long truncate" * (taken + 2 <= most)
                raise ValueError(
                    f"{where} has {size} tokens, {taken} of them in front of the caption, and rows "
                    f"have {allowed}{truncate}"
                )
            cut += size > most
            fitting.append(dataclasses.replace(text, answer=text.answer[: most - taken]))
        return fitting, cut

    def _examples(self, form: Form, groups: Groups, texts: Sequence[Prompted]) -> list[Example]:
        config: Any = form.model.config
        if self.encoder == "images":
            start = config.decoder_start_token_id
            if start is None:
                raise ValueError(
                    "the model names no decoder_start_token_id, with which a text begins; set "
                    "--model.decoder-start-token-id"
                )
            tokens = groups.pictures.tokens  # of each picture, by shapes of the whole model
            return [target_of(text, start, tokens) for text in texts]
        held = getattr(config, "image_token_index", None)
        if self.encoder == "texts":
            return [source_of(text, held) for text in texts]
        typed = config.model_type == "paligemma"
        return [sequence_of(text, typed, held) for text in texts]

    def learned(self, rows, form):
        examples: Any = rows.examples
        answers = [one.target or one.tokens for one in examples.texts]
        longest = max(int((one["labels"] != IGNORED).sum()) for one in answers)
        return dataclasses.replace(self, max_new_tokens=self.max_new_tokens or longest + 1)

    # ------------------------------------------------------------ training

    def inputs(self, batch):
        """A row that fills up a batch has the tokens of its picture, which is black."""
        given = {name: value for name, value in batch.items() if name not in self.withheld}
        pixels, nothing = given[PIXELS], (batch[NUMBER] < 0)[:, None]
        if self.encoder == "images":
            return _with_a_start(given, nothing)
        ids = given["input_ids"]
        if HELD in batch:
            number, count = batch[HELD][:, :1], batch[HELD][:, 1:]
            places = jnp.arange(ids.shape[1]) < count
            given["input_ids"] = jnp.where(nothing & places, number, ids)
            given["attention_mask"] = jnp.where(nothing, places, given["attention_mask"])
            if pixels.ndim == 5:
                given[PIXELS] = pixels.reshape(-1, *pixels.shape[2:])
        first = jnp.arange(ids.shape[1]) == 0
        given["attention_mask"] = jnp.where(nothing & first, 1, given["attention_mask"])
        if LOOKS in batch:
            images = jnp.arange(pixels.shape[1])
            given["image_attention_mask"] = (batch[LOOKS][..., None] == images).astype("int32")
        return given if self.encoder == "none" else _with_a_start(given, nothing)

    def measure(self, model, batch):
        return self.minimise(model, batch, None)[1], {}

    # ------------------------------------------------------------ answers

    def write(self, model: Any, batch: Mapping[str, Any], **options: Any) -> dict[str, np.ndarray]:
        """The ids that the model writes for each row of a batch, behind its prompt."""
        most = self.max_new_tokens or _room(model, batch)
        own = {"num_beams": self.num_beams, "max_new_tokens": most, "do_sample": False}
        given: dict[str, Any] = self.inputs(batch)
        given.pop("labels", None)
        width = 0
        if self.encoder != "texts":
            prefix = "decoder_" if self.encoder == "images" else ""
            counts = np.where(batch[NUMBER] < 0, 1, batch[PROMPT])
            if HELD in batch:
                counts = np.where(batch[NUMBER] < 0, batch[HELD][:, 1], counts)
            width = int(counts.max())
            given[f"{prefix}attention_mask"] = np.arange(width) < counts[:, None]
            for name in ("input_ids", "token_type_ids", "image_attention_mask"):
                if prefix + name in given:
                    given[prefix + name] = given[prefix + name][:, :width]
        else:
            given.pop("decoder_attention_mask", None)
            given.pop("decoder_input_ids", None)
        ids = np.asarray(generate(model, **given, **{**own, **options}))[:, width:]
        return {"sequences": ids, NUMBER: np.asarray(batch[NUMBER])}

    def _texts(self, answers: Any, form: Form) -> list[str]:
        ends = {*ends_of(form.model), form.model.config.pad_token_id, -1}
        rows = [
            row[: next((n for n, one in enumerate(row) if one in ends), len(row))]
            for row in answers["sequences"].tolist()
        ]
        texts = form.tokenizer.batch_decode(rows, skip_special_tokens=True)
        return [text.strip() for text in texts]

    def predictions(self, answers, rows, form):
        return [{"text": text} for text in self._texts(answers, form)]

    def metrics(self, answers, rows, form):
        assert rows.references is not None
        texts = self._texts(answers, form)
        references = [text.strip() for text in rows.references]
        compared = {**translation(texts, references), **rouge(texts, references)}
        return {**compared, **exact_match(texts, references)}

    def figure(self, answers, rows, form):
        if rows.references is None:
            return None
        return worst_texts(rows.records.places, self._texts(answers, form), rows.references)


def _with_a_start(given: dict[str, Any], nothing: Any) -> dict[str, Any]:
    """The arguments, in which a decoder's row that only fills up a batch has its first token."""
    if (mask := given.get("decoder_attention_mask")) is not None:
        first = jnp.arange(mask.shape[1]) == 0
        given["decoder_attention_mask"] = jnp.where(nothing & first, 1, mask)
    return given


def _room(model: Any, batch: Mapping[str, Any]) -> int:
    """How many tokens are written where nothing says it: those that the model can still read."""
    positions, ids = model.reading.positions, batch.get("input_ids")
    taken = 1 if ids is None or model.is_encoder_decoder else ids.shape[1]
    return MOST if positions is None else max(1, min(MOST, positions - taken))
