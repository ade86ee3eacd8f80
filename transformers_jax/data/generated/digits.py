"""`digits`: the handwritten digits of scikit-learn (Alpaydin & Kaynak 1998), 8 x 8 pixels.

They are the 1,797 digits of the test set of UCI's "Optical Recognition of Handwritten Digits", by
13 people. Splits are by the hash of the picture: digits of one hand are on both sides.

`digits_by_writer` has the same digits, and a test split by people who wrote none of the others. The
copy in scikit-learn does not say who wrote which, but its order does: each form begins with 0 to 9
three times, and goes on with the same digits as the others. The last forms, 382 digits, are the
test split; of the others one digit in ten is for validation, by its hash. There are fourteen forms
of thirteen people: that the one who filled in two did so in a row is assumed.

`digits_few` has ten digits of each class to train on, the first by the hash of the picture; what is
held out is the same.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from transformers_jax.data.generated.splits import split_of
from transformers_jax.extras import need

HIGHEST = 16  # the level of ink
NEW = 1415  # the first digit of the last forms
FEW = 10  # digits of a class to train on, in `digits_few`


def records(split: str) -> list[dict[str, Any]]:
    """{"image": uint8 [8 8], "label": 0 to 9} of each digit of a split."""
    return [one for one in _every() if split_of(one["image"].tobytes().hex()) == split]


def by_writer(split: str) -> list[dict[str, Any]]:
    """The same, where those who wrote the digits of the test split wrote no others."""
    if split == "test":
        return _every()[NEW:]
    held_out = lambda one: split_of(one["image"].tobytes().hex(), test=0) == "validation"
    return [one for one in _every()[:NEW] if held_out(one) == (split == "validation")]


def few(split: str) -> list[dict[str, Any]]:
    """The same, with ten digits of each class to train on."""
    if split != "train":
        return records(split)
    ordered = sorted(records(split), key=_order)
    kept = [[one for one in ordered if one["label"] == label][:FEW] for label in range(10)]
    return [one for digits in zip(*kept) for one in digits]


def _every() -> list[dict[str, Any]]:
    """All digits, in the order of the file."""
    found: Any = need("sklearn.datasets", "eval", "generated:digits").load_digits()
    images = np.round(found.images * (255 / HIGHEST)).astype(np.uint8)
    pairs = zip(images, found.target.tolist())
    return [{"image": image, "label": label} for image, label in pairs]


def _order(record: dict[str, Any]) -> bytes:
    """By which some of the digits are taken."""
    return hashlib.sha256(b"digit" + record["image"].tobytes()).digest()
