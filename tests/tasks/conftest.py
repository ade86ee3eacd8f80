"""A small model, its tokenizer and a table, for the tests of tasks."""

import json
import random

import jax
import pytest

import transformers_jax as tj
from tests.training.conftest import compiled_once, without_pictures
from transformers_jax.data.tokenizers import train_tokenizer

__all__ = ["compiled_once", "without_pictures"]

GOOD, BAD = "good great fine nice lovely".split(), "bad poor awful sad ugly".split()
OTHER = "the a film book was and it very really story plot".split()


def reviews(count, seed=0):
    """Records of texts with one word that decides the label."""
    draw, records = random.Random(seed), []
    for _ in range(count):
        good = draw.random() < 0.4
        words = [draw.choice(OTHER) for _ in range(draw.randint(2, 12))]
        words.insert(draw.randrange(len(words)), draw.choice(GOOD if good else BAD))
        records.append({"sentence": " ".join(words), "label": "pos" if good else "neg"})
    return records


def write(file, records):
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(file)


@pytest.fixture(scope="session")
def encoder(tmp_path_factory):
    """The directory of a tiny BERT with its tokenizer."""
    folder = tmp_path_factory.mktemp("encoder")
    texts = [record["sentence"] for record in reviews(200)]
    roles = ("pad", "unk", "cls", "sep", "mask")
    tokenizer = train_tokenizer("wordpiece", texts, 128, roles=roles)
    config = tj.BertConfig(
        vocab_size=tokenizer.max_id + 1,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=48,
    )
    tj.save_pretrained(tj.from_config(config, head="masked_lm", key=jax.random.key(0)), folder)
    tokenizer.save(folder)
    return folder
