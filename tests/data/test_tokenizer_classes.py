"""Tokenizers of every class against what PyTorch transformers made of the same directories."""

import base64
import json
import lzma
from pathlib import Path

import pytest

from tests.data.tokenizer_texts import pairs, texts
from transformers_jax.data.tokenizers import load_tokenizer

MADE = json.loads(lzma.decompress(Path(__file__).with_name("tokenizers.json.xz").read_bytes()))


def write(name, folder):
    """A directory of the made ones."""
    for file, key in MADE["cases"][name]["files"].items():
        (folder / file).write_bytes(base64.b64decode(MADE["blobs"][key]))
    return folder


def rows(batch, key="input_ids"):
    """Rows without what fills them."""
    return [
        row[mask.astype(bool)].tolist() for row, mask in zip(batch[key], batch["attention_mask"])
    ]


@pytest.mark.parametrize("name", sorted(MADE["cases"]))
def test_a_directory_gives_the_ids_that_its_class_gives(name, tmp_path):
    case = MADE["cases"][name]
    tokenizer = load_tokenizer(write(name, tmp_path))
    if "pad" not in tokenizer.special:
        tokenizer.special["pad"] = next(iter(tokenizer.special.values()))
    assert rows(tokenizer.batch(texts())) == case["ids"]
    first, second = zip(*pairs())
    both = tokenizer.batch(first, second, return_token_type_ids=True)
    assert rows(both) == case["pair_ids"]
    if case["pair_types"] is not None:
        assert rows(both, "token_type_ids") == case["pair_types"]
    assert [tokenizer.decode(row) for row in case["ids"]] == case["decoded"]
