"""JSON files: what is read, and the errors of those that cannot be read."""

import json
import math
from pathlib import Path

import pytest

import transformers_jax
from transformers_jax.json_files import (
    as_json,
    finite_or_null,
    json_or_empty,
    json_text,
    parse_json,
    read_json,
    with_nonfinite,
)

BROKEN = {
    "comma": (b'{"a": 1,\n"b" 2}', r"a\.json is not JSON \(Expecting ':'.*line 2.*download it"),
    "latin": (b'{"a": "\xe9"}', r"a\.json is not UTF-8 \(at byte 7\)"),
    "deep": (b"[" * 100_000, r"a\.json is nested too deeply"),
    "deeper than is walked": (b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}", "is nested too deeply"),
    "digits": (b"1" * 5000, r"a\.json is not JSON \(.*digits"),
    "list": (b"[1]", r"a\.json holds list, not a JSON object"),
}


def test_the_object_in_a_file_is_read(tmp_path):
    (tmp_path / "a.json").write_bytes('{"a": "é"}'.encode())
    assert read_json(tmp_path / "a.json") == {"a": "é"} == json_or_empty(tmp_path / "a.json")


@pytest.mark.parametrize("kind", BROKEN)
def test_an_error_names_the_file_and_what_is_wrong_in_it(tmp_path, kind):
    text, message = BROKEN[kind]
    (tmp_path / "a.json").write_bytes(text)
    for optional in (False, True):
        with pytest.raises(ValueError, match=message):
            read_json(tmp_path / "a.json", optional=optional)
    assert json_or_empty(tmp_path / "a.json") == {}


def test_a_missing_file_is_an_error_unless_it_is_optional(tmp_path):
    with pytest.raises(ValueError, match=r"a\.json does not exist; make one"):
        read_json(tmp_path / "a.json", advice="make one")
    with pytest.raises(ValueError, match=r"cannot be read \(Is a directory\)"):
        read_json(tmp_path)
    assert read_json(tmp_path / "a.json", optional=True) == {} == json_or_empty(tmp_path / "a.json")


def test_values_are_read_from_bytes_too():
    assert parse_json(b"[1, 2]", "the list") == [1, 2]


def test_what_is_nested_as_deeply_as_is_allowed_is_read():
    deep = parse_json("[" * 100 + '"[[{"' + "]" * 100, "it")
    for _ in range(100):
        (deep,) = deep
    assert deep == "[[{"


def test_a_line_of_text_is_read_with_advice_of_its_own():
    assert parse_json('{"a": "é"}', "a line") == {"a": "é"}
    with pytest.raises(ValueError, match=r"a\.jsonl, line 7 is not JSON .*; write one a line"):
        parse_json("[", "a.jsonl, line 7", advice="write one a line")


def test_values_are_given_back_as_json_holds_them():
    assert as_json({"a": (1, 2), 3: None}) == {"a": [1, 2], "3": None}


def test_a_key_may_come_twice_unless_keys_must_be_unique(tmp_path):
    (tmp_path / "a.json").write_bytes(b'{"a": [{"b": 1, "b": 1}]}')
    assert read_json(tmp_path / "a.json") == {"a": [{"b": 1}]}
    with pytest.raises(ValueError, match=r"a\.json has the key 'b' twice"):
        read_json(tmp_path / "a.json", unique=True)
    assert parse_json(b'{"a": {"b": 1}, "b": 2}', "it", unique=True) == {"a": {"b": 1}, "b": 2}


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_has_no_word_for_are_refused_by_their_entry(number):
    with pytest.raises(ValueError, match=rf"no word for a\.b\.1 = {number}; give a finite"):
        json_text({"a": {"b": [1.0, number]}, "c": 2.0})
    assert json_text({"a": [1.0, None]}) == '{"a": [1.0, null]}'


def test_figures_that_are_not_finite_are_null_and_come_back():
    figures = {"step": 1, "a": math.inf, "b": -math.inf, "c": math.nan, "d": 2.5, "e": "text"}
    written = finite_or_null(figures)
    assert json.loads(json_text(written)) == {
        "step": 1, "a": None, "a_hex": "inf", "b": None, "b_hex": "-inf", "c": None, "c_hex": "nan",
        "d": 2.5, "e": "text",
    }  # fmt: skip
    read = with_nonfinite(written)
    assert [read[name] for name in "abde"] == [math.inf, -math.inf, 2.5, "text"]
    assert math.isnan(read["c"])
    assert math.isnan(with_nonfinite({"loss": None})["loss"])


MESSAGES = ["processes.py", "training/peers.py"]  # between processes of a run: no files
PRINTED = ["data/chat_process.py", "runs/dry_run.py"]  # of numbers that are finite, or for people


def test_nothing_else_reads_or_writes_json():
    package = Path(transformers_jax.__file__).parent
    texts = {str(f.relative_to(package)): f.read_text() for f in package.rglob("*.py")}
    readers = {name for name, text in texts.items() if "json.load" in text}
    writers = {name for name, text in texts.items() if "json.dump" in text}
    assert readers == {"json_files.py", *MESSAGES}
    assert writers == {"json_files.py", *MESSAGES, *PRINTED}
