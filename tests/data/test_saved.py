"""Saved tokenizers give the same rows in PyTorch's transformers."""

import json
import lzma
from pathlib import Path

import pytest

from tests.data.row_cases import SECOND_TEXTS, TEXTS
from transformers_jax.data.tokenizers import load_tokenizer

SAVED = json.loads(lzma.decompress(Path(__file__).with_name("saved.json.xz").read_bytes()))


@pytest.mark.parametrize("name", list(SAVED))
def test_pytorch_reads_what_is_saved_as_it_is_read_here(name, tmp_path):
    """The files are those that transformers read, and the rows are those that it returned."""
    case = SAVED[name]
    (tmp_path / "tokenizer.json").write_text(json.dumps(case["source"]))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(case["config"]))
    loaded = load_tokenizer(tmp_path)
    loaded.add_tokens(["[E1]"], special_tokens=True)
    loaded.add_tokens(["two words"])
    loaded.save(tmp_path / "saved")
    for file, content in case["saved"].items():
        assert json.loads((tmp_path / "saved" / file).read_text()) == content, file
    theirs, texts = case["theirs"], [*TEXTS, "the [E1] two words"]
    assert [loaded.padding_side, loaded.truncation_side] == theirs["sides"]
    assert loaded.model_max_length == theirs["length"]
    for one in (loaded, load_tokenizer(tmp_path / "saved")):
        rows = {
            "single": one.batch(texts),
            "pairs": one.batch(TEXTS, SECOND_TEXTS),
            "cut": one.batch(texts, truncation=True, max_length=9),
        }
        for call, batch in rows.items():
            for key, array in batch.items():
                assert array.tolist() == theirs[call][key], (call, key)
            types = theirs[call].get("token_type_ids")
            assert "token_type_ids" in batch or not any(map(any, types or []))
