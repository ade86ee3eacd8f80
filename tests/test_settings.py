"""Records of settings hold values of the types that they declare, whichever door these come by."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import pytest

from transformers_jax.models.config import FamilyConfig
from transformers_jax.settings import Settings, hints_of
from transformers_jax.training.config import TrainConfig


class Rate(NamedTuple):
    name: str
    rate: float = 1.0


@dataclass(frozen=True)
class Inner(Settings):
    size: int = 1


@dataclass(frozen=True)
class Derived(Inner):
    pass


@dataclass(frozen=True)
class Outer(Settings):
    count: int = 1
    share: float = 0.5
    on: bool = False
    word: str = "a"
    most: int | None = None
    rows: Literal["stream", "packed"] = "stream"
    names: tuple[Literal["wandb", "trackio"], ...] = ()
    pairs: tuple[tuple[int, float], ...] = ()
    rates: tuple[Rate, ...] = ()
    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    inner: Inner = Inner()
    either: Inner | Rate = Inner()
    anything: Any = None


WRONG = {
    "count": [(True, "count should be a whole number, not True"), (1.0, "not 1.0"), ("1", "'1'")],
    "share": [("0.5", "a finite number"), (float("nan"), "nan"), (float("inf"), "inf"), (True, "")],
    "on": [(1, "on should be True or False, not 1"), ("True", "True or False")],
    "word": [(b"a", "a text"), (None, "a text")],
    "most": [(1.5, "a whole number or None, not 1.5"), (False, "not False")],
    "rows": [("pack", "'stream' or 'packed', not 'pack'; did you mean 'packed'"), (None, "None")],
    "names": [
        ("wandb", "a tuple whose entries are 'wandb' or 'trackio', not 'wandb'"),
        (("wandbb",), r"names\[0\] should be .*; did you mean 'wandb'"),
    ],
    "pairs": [
        (((1, 2), (1, "x")), r"pairs\[1\]\[1\] should be a finite number, not 'x'"),
        (((1, 2, 3),), r"pairs\[0\] should be a tuple \(a whole number, a finite number\)"),
        (3, "should be a tuple"),
    ],
    "rates": [((("a", "b"),), r"rates\[0\].rate should be"), (((),), r"Rate\(name, rate\)")],
    "sizes": [({"a": "b"}, r"sizes\['a'\] should be"), ({1: 1}, "a key of sizes should be a text")],
    "inner": [
        ({"size": 1}, "inner should be Inner, not {'size': 1}"),
        (Inner, r"not the class Inner itself: write Inner\(...\)"),
        (Derived(), r"not Derived\(size=1\)"),
        ("Inner", r"not the text 'Inner': write Inner\(\), the record"),
        ("iner", r"not the text 'iner': write Inner\(\), the record"),
    ],
    "either": [(3, r"Inner or Rate\(name, rate\), not 3")],
}


@pytest.mark.parametrize("name", WRONG)
def test_a_value_of_another_type_is_refused_by_name(name):
    for value, message in WRONG[name]:
        with pytest.raises(ValueError, match=f"Outer: .*{message}"):
            Outer(**{name: value})


def test_all_problems_are_reported_at_once_and_each_short():
    with pytest.raises(ValueError, match=r"count should.*word should.*; rows should") as caught:
        Outer(count="1", word=["x" * 1000], rows="row")
    assert len(str(caught.value)) < 400


def test_values_that_mean_the_same_are_taken_as_the_declared_type():
    taken = Outer(
        count=np.int64(3), share=np.float32(0.5), on=np.bool_(True), word=Path("a") / "b",
        names=["wandb"], pairs=[[1, 2]], rates=[["a"]], sizes={"a": np.int32(1)},
    )  # fmt: skip
    assert (taken.count, taken.share, taken.on, taken.word) == (3, 0.5, True, "a/b")
    assert (type(taken.count), type(taken.share), type(taken.on)) == (int, float, bool)
    assert (taken.names, taken.pairs) == (("wandb",), ((1, 2),))
    assert (taken.rates, taken.sizes) == ((Rate("a"),), {"a": 1})
    assert Outer(share=1, most=None, anything=object()).share == 1


def test_every_record_of_a_run_is_checked():
    """Also those that will be added: each record that a field may hold is one of settings."""
    seen, waiting = set(), [TrainConfig]
    while waiting:
        record = waiting.pop()
        seen.add(record)
        for name, hint in hints_of(record).items():
            kinds = {hint, *get_args(hint)} - seen
            records = [kind for kind in kinds if dataclasses.is_dataclass(kind)]
            waiting += [kind for kind in records if not issubclass(kind, FamilyConfig)]
            assert hint not in (object, dict, list, tuple), f"{record.__name__}.{name} says little"
    assert len(seen) > 20
    assert not [record.__name__ for record in seen if not issubclass(record, Settings)]


def test_a_field_that_declares_nothing_is_not_checked():
    """The control of the tests above."""
    assert Outer(anything=b"1").anything == b"1"
