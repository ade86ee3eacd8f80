"""sentence-transformers loads what a run of embeddings exports. Runs where it is installed."""

import numpy as np
import pytest

from tests.tasks.conftest import encoder as encoder
from transformers_jax.runs.recipe import finetune

library = pytest.importorskip("sentence_transformers", exc_type=ImportError)

TEXTS = ["the good film", "a bad book and a very sad plot", "it"]
PAIRS = [{"query": text, "document": f"{text} film"} for text in TEXTS] * 4


@pytest.mark.parametrize("settings", [{}, {"pooling": "cls", "normalise": True}])
def test_its_vectors_are_ours(encoder, tmp_path, settings):
    run = finetune(
        encoder, "embedding", PAIRS, PAIRS, out=str(tmp_path / "run"), epochs=1, batch=4,
        query_prompt="the ", **settings,
    )  # fmt: skip
    theirs = library.SentenceTransformer(str(run.folder / "model"), device="cpu")
    for name in (None, "query"):
        expected = theirs.encode(TEXTS, prompt_name=name)
        np.testing.assert_allclose(run.model.encode(TEXTS, prompt_name=name), expected, atol=1e-5)
