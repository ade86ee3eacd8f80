"""How pictures and texts become the rows of a model that writes about pictures."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from transformers_jax.arrays import Int
from transformers_jax.data.damaged import without
from transformers_jax.data.tables import Records
from transformers_jax.models.config import FamilyConfig
from transformers_jax.nn.loss import IGNORED
from transformers_jax.objectives.example import Example
from transformers_jax.processing import placeholders as rules
from transformers_jax.processing.interleaved import FAKE, Interleaved, image_mask
from transformers_jax.processing.placeholders import IMAGE, token_id
from transformers_jax.processing.processor import rule_of
from transformers_jax.tasks.images import PIXELS, Pictures, pictures_of
from transformers_jax.tasks.rows import NUMBER, Drawn, Form, fingerprint_of

Encoder = Literal["none", "images", "texts"]
"""What the encoder of a model reads: it has none, images alone, or images and a prompt."""
LOOKS = "image_number"
"""Of each token, which picture of its row it looks at (Idefics); -1: none."""
HELD = "image_tokens"
"""[the id of the tokens that hold a picture, how many of them a row has]."""
PROMPT = "prompt_tokens"
"""The entry of a batch that says how many tokens of a row are its prompt."""
Ids = Int[np.ndarray, " T"]


def encoder_of(family: FamilyConfig) -> Encoder:
    """What the encoder of a model of this family reads."""
    if "seq2seq_lm" in family.HEADS.values():
        return "images"
    text = getattr(family, "text_config", family)
    return "texts" if text.is_encoder_decoder else "none"


def ends_of(model: Any) -> list[int]:
    """The ids of which one ends what a model writes, as `generate` takes them."""
    said, config = model.generation_config, model.config
    own = said.get("eos_token_id")
    ends = np.ravel([config.eos_token_id if own is None else own]).tolist()
    return [end for end in ends if end is not None]


def image_tokens(family: FamilyConfig) -> tuple[str, ...]:
    """The tokens by which a model of this family knows where pictures stand."""
    if family.model_type == "idefics":
        return FAKE, IMAGE
    return (IMAGE,) if hasattr(family, "image_token_index") else ()


# ---------------------------------------------------------------- pictures


@dataclass(frozen=True)
class Groups:
    """The pictures of records, of which each has one or several.

    Attributes:
        pictures: of all records, one after the other.
        members: of each record, the numbers of its own.
        nested: whether the rows of a batch have an axis of pictures.
    """

    pictures: Pictures
    members: Sequence[Sequence[int]]
    nested: bool

    @property
    def most(self) -> int:
        """Pictures of a row."""
        return max(map(len, self.members))

    def arguments(self, number: int) -> dict[str, np.ndarray]:
        """What the model takes for the pictures of a record."""
        own = [self.pictures.arguments(member) for member in self.members[number]]
        if not self.nested:
            return own[0]
        arrays = {name: np.stack([one[name] for one in own]) for name in own[0]}
        room = [(0, self.most - len(own))]
        return {n: np.pad(x, room + [(0, 0)] * (x.ndim - 1)) for n, x in arrays.items()}

    def select(self, numbers: Sequence[int]) -> Groups:
        """Those of some records."""
        return dataclasses.replace(self, members=[self.members[number] for number in numbers])

    @property
    def fingerprint(self) -> str:
        """16 hex digits: which pictures these are, and whose."""
        whole = f"{self.pictures.fingerprint} {[list(some) for some in self.members]}"
        return hashlib.sha256(whole.encode()).hexdigest()[:16]


def several(value: Any) -> list[Any]:
    """The pictures that a value of a column is: a list of files, bytes or arrays, or one picture.
    Lists of numbers, or of lists of them, are one."""
    if not isinstance(value, (list, tuple)):
        return [value]
    numbers = bool(value) and isinstance(value[0], (int, float, list, tuple))
    return [value] if numbers else list(value)


def groups_of(form: Form, records: Records) -> tuple[Records, Groups, list[str]]:
    """(the records whose pictures can all be read, the pictures, what is told of them).

    Raises:
        ValueError: as of `pictures_of`; a record without a picture, or not as many as the others
            of a model whose rows have one number of them.
    """
    column = form.columns["image"]
    values = [several(value) for value in records.column(column, "data.image")]
    flat, places, owners = [], [], []
    for number, (where, some) in enumerate(zip(records.places, values)):
        if not some:
            raise ValueError(f"{where}: {column!r} is empty: a text needs its picture")
        for one, value in enumerate(some):
            flat.append({column: value})
            places.append(f"{where}, picture {one}" if len(some) > 1 else where)
            owners.append(number)
    table = Records(records.name, flat, places)
    kept, pictures, notes = pictures_of(form, table)
    wrong = {owners[n]: error for n, error in kept.left_out.items()}
    left = without(records, wrong, kept.note) if wrong else records
    members: dict[int, list[int]] = {}
    for position, n in enumerate(n for n in range(len(flat)) if n not in kept.left_out):
        if owners[n] not in wrong:
            members.setdefault(owners[n], []).append(position)
    counts = {len(own) for own in members.values()}
    free = form.model.config.model_type == "idefics"
    if len(counts) > 1 and not free:
        odd = next(n for n, own in members.items() if len(own) != len(values[0]))
        raise ValueError(
            f"{records.places[odd]}: {column!r} has {len(values[odd])} pictures, and the first "
            f"record {len(values[0])}; {form.model.config.model_type} reads as many in every row"
        )
    nested = free or max(counts) > 1
    if nested and not image_tokens(form.model.config):
        raise ValueError(
            f"{records.name}: {column!r} has {max(counts)} pictures of a record, and "
            f"{form.model.config.model_type} reads one with a text"
        )
    return left, Groups(pictures, list(members.values()), nested), notes


class TextsOfPictures(Drawn):
    """Examples of texts, each with its pictures, which are read when they are needed.

    Args:
        texts: the examples without their pictures.
    """

    def __init__(self, groups: Groups, texts: Sequence[Example]):
        self.groups, self.texts = groups, texts
        self.length = max(_length(one.tokens) or one.size for one in texts)
        self.target = max(_length(one.target) for one in texts)
        whole = fingerprint_of(texts) + groups.fingerprint
        self.fingerprint = hashlib.sha256(whole.encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def lengths(self) -> Int[np.ndarray, "N 2"]:
        return np.tile((self.length, self.target), (len(self), 1))

    def __getitem__(self, number: Any) -> Any:
        text = self.texts[number]
        once = {**text.once, **self.groups.arguments(number), NUMBER: number}
        return dataclasses.replace(text, once=once)

    def draw(self, number: int, noise: np.random.Generator) -> Example:
        return self[number]

    def select(self, numbers: Sequence[int]) -> TextsOfPictures:
        return TextsOfPictures(self.groups.select(numbers), [self.texts[n] for n in numbers])


def _length(side: Mapping[str, np.ndarray]) -> int:
    return next(iter(side.values())).shape[-1] if side else 0


# ---------------------------------------------------------------- texts


@dataclass(frozen=True)
class Prompted:
    """A text as a model reads it.

    Attributes:
        prompt: ids in front of what is written, the pictures' tokens with them.
        answer: ids of what is written, and of the end; None where it is not known.
        looks: of each id of the prompt, the picture that it looks at; None where nothing says it.
    """

    prompt: Ids
    answer: Ids | None
    looks: Ids | None = None


class TextReader:
    """Prompts and answers as ids, as the processor of the model writes them.

    Args:
        form: with the model, its tokenizer and its processor.
        size: (height, width) of pixel values.

    Attributes:
        ends: ids of which one ends a text.
    """

    def __init__(self, form: Form, size: tuple[int, int]):
        self.tokenizer, self.config, self.size = form.tokenizer, form.model.config, size
        assert form.processor is not None
        self.rule: Any = rule_of(self.config, form.processor)
        self.ends = ends_of(form.model)
        said = form.model.generation_config
        self.begin = said.get("bos_token_id") if encoder_of(self.config) == "none" else None

    def read(self, prompt: str, answer: str | None, pictures: int) -> Prompted:
        """A prompt, in which `<image>` may say where each of so many pictures stands, and what is
        written behind it.

        Raises:
            ValueError: not as many `<image>` as pictures.
        """
        if encoder_of(self.config) == "texts":
            ids = self._ids(prompt, pictures)
            return Prompted(ids, None if answer is None else self._ended(self._plain(answer, True)))
        first = self._unended(self._ids(prompt, pictures))
        looks = self._looks(first, pictures)
        if answer is None:
            return Prompted(first, None, looks)
        return Prompted(first, self._ended(self._answer(first, prompt, answer, pictures)), looks)

    def target(self, prompt: str, answer: str | None) -> Prompted:
        """The same of a decoder behind an encoder of images: ids that no picture has."""
        rules.refuse_token(prompt, IMAGE, self.config.model_type)
        first = self._plain(prompt) if prompt else np.zeros(0, np.int32)
        said = None if answer is None else self._plain(" " * bool(prompt) + answer)
        return Prompted(first, None if said is None else self._ended(said))

    def _answer(self, first: Ids, prompt: str, answer: str, pictures: int) -> Ids:
        """The ids of an answer as they stand behind the prompt; of a tokenizer that cuts both
        together otherwise, those that it has by itself."""
        if not isinstance(self.rule, rules.Prefix) and prompt.replace(IMAGE, "").strip():
            whole = self._unended(self._ids(f"{prompt.rstrip(' ')} {answer}", pictures))
            if len(whole) > len(first) and np.array_equal(whole[: len(first)], first):
                return whole[len(first) :]
        return self._plain(answer)

    def _plain(self, text: str, special: bool = False) -> Ids:
        ids = self.tokenizer.batch([text], padding=False, add_special_tokens=special)["input_ids"]
        return np.asarray(ids[0], np.int32)

    def _ids(self, prompt: str, pictures: int) -> Ids:
        """The ids of a prompt with its pictures."""
        if type(self.rule) is rules.Plain:
            rules.refuse_token(prompt, IMAGE, self.config.model_type)
            first = [] if self.begin is None else [self.begin]
            return np.concatenate([np.array(first, np.int32), self._plain(prompt)])
        if isinstance(self.rule, Interleaved):
            parts = self._parts(prompt, pictures)
            text, _ = self.rule.text(parts, self.tokenizer, False)
            return self._plain(text)
        if isinstance(self.rule, rules.Repeated) and self.rule.token not in prompt:
            prompt = self.rule.token * pictures + "\n" * bool(prompt) + prompt
        images = {PIXELS: np.zeros((pictures, 1, *self.size))}
        out = self.rule(self.tokenizer, [prompt], images, [pictures], {"padding": False})
        return np.asarray(out["input_ids"][0], np.int32)

    @staticmethod
    def _parts(prompt: str, pictures: int) -> list[Any]:
        """Texts and pictures (None) that take turns; without `<image>` the pictures stand first."""
        if IMAGE not in prompt:
            return [*[None] * pictures, *[prompt] * bool(prompt)]
        rules.check_counts([prompt], IMAGE, [pictures])
        first, *rest = prompt.split(IMAGE)
        parts = [first, *(part for text in rest for part in (None, text))]
        return [part for part in parts if part is None or part.strip()]

    def _looks(self, ids: Ids, pictures: int) -> Ids | None:
        if not isinstance(self.rule, Interleaved):
            return None
        number, end = token_id(self.tokenizer, IMAGE), self.tokenizer.special_id("eos")
        mask = image_mask(ids[None], number, end, pictures)[0]
        return np.where(mask.any(-1), mask.argmax(-1), -1).astype(np.int32)

    def _unended(self, ids: Ids) -> Ids:
        """Ids without the token that ends a text, which some tokenizers put behind each."""
        return ids[:-1] if len(ids) and ids[-1] in self.ends else ids

    def _ended(self, ids: Ids) -> Ids:
        if not self.ends or (len(ids) and ids[-1] in self.ends):
            return ids
        return np.append(ids, np.int32(self.ends[0]))


def sequence_of(text: Prompted, typed: bool, held: int | None) -> Example:
    """The example of a decoder that reads the prompt and writes the answer behind it.

    Args:
        typed: whether the model is told by token types what is a prefix (PaliGemma).
        held: the id of the tokens that hold pictures; None where there are none.
    """
    answer = np.zeros(0, np.int32) if text.answer is None else text.answer
    ids, count = np.concatenate([text.prompt, answer]), len(text.prompt)
    tokens = {"input_ids": ids}
    if text.answer is not None:
        nothing = np.full(count, IGNORED, np.int32)
        tokens["labels"] = np.concatenate([nothing, answer])
    if typed:
        tokens["token_type_ids"] = (np.arange(len(ids)) >= count).astype(np.int32)
    if text.looks is not None:
        last = text.looks[-1:] if count else np.array([-1], np.int32)
        tokens[LOOKS] = np.concatenate([text.looks, np.repeat(last, len(answer))])
    return Example(tokens, once={PROMPT: count, **_held(text.prompt, held)})


def source_of(text: Prompted, held: int | None) -> Example:
    """The example of an encoder that reads images and a prompt, and a decoder behind it."""
    target = {} if text.answer is None else {"labels": text.answer}
    return Example({"input_ids": text.prompt}, target, once=_held(text.prompt, held))


def target_of(text: Prompted, start: int, patches: int) -> Example:
    """The example of a decoder behind an encoder of images, which begins with `start`."""
    answer = np.zeros(0, np.int32) if text.answer is None else text.answer
    ids, count = np.concatenate([[start], text.prompt, answer]).astype(np.int32), len(text.prompt)
    target = {"decoder_input_ids": ids[: count + 1]}
    if text.answer is not None:
        nothing = np.full(count, IGNORED, np.int32)
        target = {
            "decoder_input_ids": ids[:-1],
            "labels": np.concatenate([nothing, answer]),
        }
    return Example(target=target, once={PROMPT: 1 + count}, size=patches)


def _held(ids: Ids, held: int | None) -> dict[str, np.ndarray]:
    if held is None:
        return {}
    return {HELD: np.array([held, int((ids == held).sum())], np.int32)}
