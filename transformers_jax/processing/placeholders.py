"""Texts with the tokens at whose places a model puts its pictures: a rule for each processor class.

A rule is a record. It is called with the texts of a call, its pictures (their pixel values, and how
many belong to each text) and the options of `Tokenizer.batch`; it gives the model's arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

IMAGE = "<image>"
Arrays = dict[str, Any]


def token_id(tokenizer: Any, token: str) -> int:
    """The id of a token.

    Raises:
        ValueError: the vocabulary has none.
    """
    number = tokenizer.inner.token_to_id(token)
    if number is None:
        raise ValueError(
            f"the tokenizer has no token {token!r}, at whose places pictures are put; add it with "
            f"processor.tokenizer.add_special_tokens({{'additional_special_tokens': [{token!r}]}})"
        )
    return int(number)


def ensure(tokenizer: Any, token: str) -> int:
    """The id of a token, which is added where there is none, as transformers' processors do it."""
    if tokenizer.inner.token_to_id(token) is None:
        tokenizer.add_special_tokens({"additional_special_tokens": [token]})
    return token_id(tokenizer, token)


def check_counts(texts: Sequence[str], token: str, counts: Sequence[int] | None) -> None:
    """Each text has a token for each of its pictures; a flat list of them is dealt out in order.

    Raises:
        ValueError: too many or too few, by the texts.
    """
    written = [text.count(token) for text in texts]
    if counts is None:
        if any(written):
            raise ValueError(
                f"text {np.flatnonzero(written)[0]} has {token} and no images were passed"
            )
        return
    have = lambda w, c: f"{w} {token} and {c} image{'s' * (c != 1)}"
    wrong = (
        [f"text {n} has {have(w, c)}" for n, (w, c) in enumerate(zip(written, counts)) if w != c]
        if len(counts) == len(texts)
        else []
        if sum(written) == sum(counts)
        else [f"the texts have {have(sum(written), sum(counts))}"]
    )
    if wrong:
        more = " (images of several to a text come as a list of lists)" * (len(texts) > 1)
        raise ValueError(f"each image needs one {token} in its text: {'; '.join(wrong)}{more}")


def refuse_token(text: str, token: str, reader: str, name: str = "text") -> None:
    """Raises ValueError for a text, which messages call `name`, with the token of a picture, where
    `reader`, a model or its processor, places the picture by itself."""
    if token in text:
        raise ValueError(
            f"the {name} {text!r:.60} holds {token}, and {reader} takes its picture without one: "
            "leave it out"
        )


@dataclass(frozen=True)
class Plain:
    """Texts as the tokenizer has them, beside the pictures.

    Attributes:
        options: what the processor's class passes to the tokenizer, unless the call says otherwise.
        types: whether token types stay where the tokenizer gives them.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    types: bool = True

    def __call__(
        self, tokenizer: Any, texts: list[str], images: Arrays, counts: Any, options: Arrays
    ) -> Arrays:
        out = tokenizer.batch(texts, **{**self.options, **options})
        if not self.types:
            out.pop("token_type_ids", None)
        return {**out, **images}


@dataclass(frozen=True)
class Repeated:
    """Each image token becomes as many as the picture has vectors (LLaVA).

    Attributes:
        patch: the edge of a patch of the vision tower.
        more: tokens of the tower beyond its patches (a class token), less those left out.
        token: of a picture.
    """

    patch: int
    more: int
    token: str = IMAGE

    def __call__(
        self, tokenizer: Any, texts: list[str], images: Arrays, counts: Any, options: Arrays
    ) -> Arrays:
        number = token_id(tokenizer, self.token)
        check_counts(texts, self.token, counts)
        sizes = [image.shape[-2:] for image in images.get("pixel_values", ())]
        lengths = [(h // self.patch) * (w // self.patch) + self.more for h, w in sizes]
        longer, expected, next_image = [], [], 0
        for text in texts:
            first, *rest = text.split(self.token)
            mine = lengths[next_image : next_image + len(rest)]
            next_image += len(rest)
            longer.append(first + "".join(self.token * n + part for n, part in zip(mine, rest)))
            expected.append(sum(mine))
        out = tokenizer.batch(longer, **options)
        check_whole(out["input_ids"], number, expected, self.token)
        return {**out, **images}


def check_whole(rows: Any, number: int, expected: Sequence[int], token: str) -> None:
    """No image token was cut off.

    Raises:
        ValueError: by the row.
    """
    for n, (row, wanted) in enumerate(zip(rows, expected)):
        found = int((np.asarray(row) == number).sum())
        if found != wanted:
            raise ValueError(
                f"text {n} has {found} of the {wanted} {token} of its images after truncation; "
                "give a larger max_length, or truncation=False"
            )


@dataclass(frozen=True)
class Prefix:
    """All image tokens first, then <bos>, the prompt and a newline; then the suffix (PaliGemma).

    Attributes:
        length: how many tokens a picture is.
    """

    length: int

    def __call__(
        self,
        tokenizer: Any,
        texts: list[str],
        images: Arrays,
        counts: Any,
        options: Arrays,
        suffix: Sequence[str] | None = None,
    ) -> Arrays:
        """Beside ids there are "token_type_ids", 0 of what both ways attend to and 1 of the suffix,
        and with a suffix "labels", which are the ids of the suffix and -100 of all else."""
        if not images:
            raise ValueError("this model reads an image with every text; pass images=")
        number = ensure(tokenizer, IMAGE)
        bos, eos = tokenizer.special["bos"], tokenizer.special["eos"]
        if any(IMAGE in text for text in texts):
            check_counts(texts, IMAGE, counts)
            parts = [text.rpartition(IMAGE) for text in texts]
            texts = [f"{head}{token}{bos}{rest}\n" for head, token, rest in parts]
        else:
            if len(counts) != len(texts):
                raise ValueError(
                    f"{sum(counts)} images and {len(texts)} texts; pass one image for each text, a "
                    f"list of images for each, or write {IMAGE} into the texts"
                )
            texts = [f"{IMAGE * n}{bos}{text}\n" for n, text in zip(counts, texts)]
        expected = [self.length * text.count(IMAGE) for text in texts]
        texts = [text.replace(IMAGE, IMAGE * self.length) for text in texts]
        pairs = None if suffix is None else [text + eos for text in suffix]
        options = {"padding": "longest", **options, "add_special_tokens": False}
        wants = options.pop("return_sequence_ids", False)
        out = tokenizer.batch(texts, pairs, **options, return_sequence_ids=True)
        sides = out["sequence_ids"] if wants else out.pop("sequence_ids")
        check_whole(out["input_ids"], number, expected, IMAGE)
        each = (
            (lambda make: [make(*x) for x in zip(sides, out["input_ids"])])
            if isinstance(sides, list)
            else (lambda make: make(sides, out["input_ids"]))
        )
        out["token_type_ids"] = each(lambda side, ids: (side == 1).astype(ids.dtype))
        if suffix is not None:
            out["labels"] = each(lambda side, ids: np.where(side == 1, ids, -100))
        return {**out, **images}


@dataclass(frozen=True)
class Queries:
    """The tokens of the queries in front of each row, before what fills it up and before <bos>
    (BLIP-2); None of a file of before there were such tokens."""

    number: int | None

    def __call__(
        self, tokenizer: Any, texts: list[str], images: Arrays, counts: Any, options: Arrays
    ) -> Arrays:
        number = ensure(tokenizer, IMAGE)
        for text in texts if images else ():
            refuse_token(text, IMAGE, "BLIP-2")  # the model counts the tokens, these with them
        if options.get("max_length") is not None and self.number:
            options = {**options, "max_length": options["max_length"] - self.number}
        out = tokenizer.batch(texts, **options)
        out.pop("token_type_ids", None)
        if not images or self.number is None:
            return {**out, **images}
        if len(counts) != len(texts) or any(count != 1 for count in counts):
            raise ValueError(
                f"{sum(counts)} images and {len(texts)} texts; pass one image for each text"
            )
        front = {"input_ids": number, "attention_mask": 1}
        for name, value in front.items():
            rows = out[name]
            fill = lambda row, value=value: np.concatenate(
                [np.full((*row.shape[:-1], self.number), value, row.dtype), row], -1
            )
            out[name] = [fill(row) for row in rows] if isinstance(rows, list) else fill(rows)
        return {**out, **images}
