"""PyTorch transformers loads what `save_pretrained` writes. Runs where the extra `parity` is."""

import json

import jax
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.tasks.reranking import SIGMOID, Reranking

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", exc_type=ImportError)

IDS = np.arange(24).reshape(2, 12) + 3
SIZES = dict(vocab_size=53, hidden_size=16, num_hidden_layers=2, num_attention_heads=2)
CONFIGS = {
    "bert": lambda: tj.BertConfig(**SIZES, intermediate_size=20),
    "gpt2": lambda: tj.GPT2Config(
        vocab_size=53, n_embd=16, n_layer=2, n_head=2, eos_token_id=1, pad_token_id=0
    ),
    "llama": lambda: tj.LlamaConfig(**SIZES, intermediate_size=20, pad_token_id=0),
    "t5": lambda: tj.T5Config(
        vocab_size=53, d_model=16, d_kv=8, d_ff=20, num_layers=2, num_heads=2
    ),
}
CLASSES = [
    (family, name)
    for family, make in CONFIGS.items()
    for name in make().HEADS
    if "With" not in name
]


@pytest.mark.parametrize(("family", "name"), CLASSES)
def test_transformers_computes_the_same(family, name, tmp_path):
    model = tj.from_config(CONFIGS[family](), head=name, key=jax.random.key(0))
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == [name]
    theirs, report = getattr(transformers, name).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    ids = IDS.reshape(2, 3, 4) if name.endswith("MultipleChoice") else IDS
    inputs = {"input_ids": ids}
    if model.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids
    with torch.no_grad():
        expected = theirs.eval()(**{key: torch.tensor(x) for key, x in inputs.items()})
    for key, actual in model(**inputs).items():
        if hasattr(actual, "shape") and key in expected:
            np.testing.assert_allclose(actual, expected[key].numpy(), atol=1e-5, err_msg=key)


@pytest.mark.parametrize("family", list(CONFIGS))
def test_transformers_reads_a_resized_vocabulary(family, tmp_path):
    name = next(n for n, head in CONFIGS[family]().HEADS.items() if head.endswith("_lm"))
    model = tj.from_config(CONFIGS[family](), head=name, key=jax.random.key(0))
    grown = tj.resize_embeddings(model, 60, key=jax.random.key(1))
    grown.save_pretrained(tmp_path)
    theirs, report = getattr(transformers, name).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    assert theirs.get_output_embeddings().weight.shape[0] == theirs.config.vocab_size == 60


@pytest.mark.parametrize("family", [name for name in CONFIGS if name != "t5"])
def test_transformers_reads_a_cross_encoder(family, tmp_path):
    config = Reranking().fitted(CONFIGS[family](), ())
    model = tj.from_config(config, head="sequence_classification", key=jax.random.key(0))
    model.save_pretrained(tmp_path)
    theirs, report = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not any(report.values()), report
    assert theirs.config.num_labels == 1
    assert theirs.config.sentence_transformers["activation_fn"] == SIGMOID
    with torch.no_grad():
        expected = theirs.eval()(input_ids=torch.tensor(IDS)).logits.numpy()
    np.testing.assert_allclose(model(input_ids=IDS).logits, expected, atol=1e-5)
