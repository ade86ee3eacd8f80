"""Files are replaced atomically."""

import pytest

from transformers_jax.publish import publish, publish_json, remove_drafts


@pytest.mark.parametrize(
    "content", ["é\n", "é\n".encode(), lambda file: file.write("é\n".encode())]
)
def test_text_bytes_and_writers_make_the_same_file(tmp_path, content):
    publish(tmp_path / "a", content)
    assert (tmp_path / "a").read_bytes() == b"\xc3\xa9\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_fails_leaves_what_was_there(tmp_path):
    def half(file):
        file.write(b"ha")
        raise OSError("no space")

    def refuse(draft):
        assert draft.read_bytes() == b"new"
        raise ValueError("not good")

    publish(tmp_path / "a", b"old")
    with pytest.raises(OSError, match="no space"):
        publish(tmp_path / "a", half)
    with pytest.raises(ValueError, match="not good"):
        publish(tmp_path / "a", b"new", refuse)
    with pytest.raises(TypeError):
        publish_json(tmp_path / "a", {"x": object()})
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_drafts_of_killed_processes_are_forgotten(tmp_path):
    publish_json(tmp_path / "a.json", {"b": 1, "a": 2}, sort_keys=True)
    (tmp_path / ".a.json.12345.tmp").write_bytes(b"half")
    remove_drafts(tmp_path)
    assert (tmp_path / "a.json").read_text() == '{\n  "a": 2,\n  "b": 1\n}\n'
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
