"""JSON files: what is read, and the errors of those that cannot be read."""

import pytest

from transformers_jax.json_files import json_or_empty, parse_json, read_json

BROKEN = {
    "comma": (b'{"a": 1,\n"b" 2}', r"a\.json is not JSON \(Expecting ':'.*line 2.*download it"),
    "latin": (b'{"a": "\xe9"}', r"a\.json is not UTF-8 \(at byte 7\)"),
    "deep": (b"[" * 100_000, r"a\.json is nested too deeply"),
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
    assert parse_json(b'{"a": 1, "a": 2}', "it", pairs_hook=len) == 2
