"""Nomic BERT as its authors' code writes it: their config, their names, a head without biases."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import transformers_jax as tj
from tests.families.test_round_trip import CASES, load, tensors

AUTHORS = {  # the config of nomic-embed-text-v1.5 at the size of the case
    "activation_function": "swiglu",
    "architectures": ["NomicBertForPreTraining"],
    "attn_pdrop": 0.0,
    "auto_map": {"AutoConfig": "nomic-ai/nomic-bert-2048--configuration.NomicBertConfig"},
    "bos_token_id": None,
    "causal": False,
    "dense_seq_output": True,
    "embd_pdrop": 0.0,
    "eos_token_id": None,
    "fused_bias_fc": True,
    "fused_dropout_add_ln": True,
    "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-12,
    "max_trained_positions": 2048,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
    "model_type": "nomic_bert",
    "n_embd": 24,
    "n_head": 4,
    "n_inner": 256,
    "n_layer": 2,
    "n_positions": 8192,
    "pad_vocab_size_multiple": 64,
    "parallel_block": False,
    "parallel_block_tied_norm": False,
    "prenorm": False,
    "qkv_proj_bias": False,
    "reorder_and_upcast_attn": False,
    "resid_pdrop": 0.0,
    "rotary_emb_base": 1000,
    "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None,
    "rotary_scaling_factor": None,
    "scale_attn_by_inverse_layer_idx": False,
    "scale_attn_weights": True,
    "summary_activation": None,
    "summary_first_dropout": 0.0,
    "summary_proj_to_labels": True,
    "summary_type": "cls_index",
    "summary_use_proj": True,
    "torch_dtype": "float32",
    "transformers_version": "4.37.2",
    "type_vocab_size": 2,
    "use_cache": True,
    "use_flash_attn": True,
    "use_rms_norm": False,
    "use_xentropy": True,
    "vocab_size": 90,
}


def test_the_authors_config_becomes_one_of_transformers():
    config = tj.NomicBertConfig.from_dict(AUTHORS)
    expected = tj.NomicBertConfig(
        vocab_size=128,  # 90 rounded up to a multiple of 64
        hidden_size=24,
        num_attention_heads=4,
        num_hidden_layers=2,
        intermediate_size=256,
        max_position_embeddings=8192,
        architectures=("NomicBertForPreTraining",),
        dtype="float32",
    )
    assert config == expected
    assert tj.NomicBertConfig.from_dict(config.to_dict()) == config
    rounded = tj.NomicBertConfig.from_dict({**AUTHORS, "n_inner": 257})
    assert rounded.intermediate_size == 512  # a gated network of theirs


def test_longer_rows_of_the_authors_config_scale_the_base():
    config = tj.NomicBertConfig.from_dict({**AUTHORS, "rotary_scaling_factor": 2.0})
    scaling = config.spec().blocks[0][0].op.rotary.scaling
    assert (scaling.factor, scaling.original) == (2.0, 2048)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("prenorm", True),
        ("causal", True),
        ("rotary_emb_fraction", 0.5),
        ("rotary_emb_interleaved", True),
        ("rotary_emb_scale_base", 512),
        ("qkv_proj_bias", True),
        ("mlp_fc1_bias", True),
        ("activation_function", "glu"),
        ("use_rms_norm", True),
    ],
)
def test_further_options_of_the_authors_code_are_refused(key, value):
    with pytest.raises(ValueError, match=f"{key}=.* is not implemented for nomic_bert"):
        tj.NomicBertConfig.from_dict({**AUTHORS, key: value})


def of_the_authors(folder):
    """The case of the masked language model as a directory of the authors: their config, their
    prefix, and a head without biases."""
    folder.mkdir()
    stored = load_file(CASES / "nomic-bert-mlm" / "model.safetensors")
    bare = ("cls.predictions.bias", "cls.predictions.transform.dense.bias")
    weights = {n.replace("nomic_bert.", "bert."): x for n, x in stored.items() if n not in bare}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((CASES / "nomic-bert-mlm" / "config.json").read_text())
    sizes = dict(vocab_size=96, pad_vocab_size_multiple=1, rotary_emb_base=50, n_positions=40)
    values = {**AUTHORS, **sizes, "layer_norm_epsilon": config["layer_norm_eps"]}
    (folder / "config.json").write_text(json.dumps(values))
    return {name: stored[name] for name in bare}


def test_a_directory_of_the_authors_loads_and_has_no_biases_in_its_head(tmp_path, monkeypatch):
    # the case's feed-forward is narrower than their code makes any
    monkeypatch.setattr("transformers_jax.models.nomic_bert.MULTIPLE", 1)
    monkeypatch.setitem(AUTHORS, "n_inner", 48)
    of_the_authors(tmp_path / "theirs")
    loaded = tj.from_pretrained(tmp_path / "theirs", return_report=True)
    assert loaded.model.plan.head == "masked_lm"
    assert set(loaded.initialised) == {"head.bias", "head.transform.bias"}
    ids = np.array([[5, 6, 7, 8]])
    bare, whole = tj.from_pretrained(tmp_path / "theirs", head="none"), load("nomic-bert-base")
    assert bare(input_ids=ids).last_hidden_state.shape == (1, 4, 24)
    assert whole(input_ids=ids).last_hidden_state.shape == (1, 4, 24)
    loaded.model.save_pretrained(tmp_path / "ours")
    again = tj.from_pretrained(tmp_path / "ours")
    same = [np.asarray(m(input_ids=ids).logits) for m in (loaded.model, again)]
    assert np.array_equal(*same)
    written = tensors(tmp_path / "ours")
    assert not any(np.frombuffer(written[n][2], np.float32).any() for n in
                   ("cls.predictions.bias", "cls.predictions.transform.dense.bias"))  # fmt: skip


def test_names_within_transformers_are_read_like_those_of_the_files():
    one, other = load("nomic-bert-mlm"), load("runtime-nomic-bert")
    ids = np.array([[5, 6, 7, 8]])
    assert np.array_equal(one(input_ids=ids).logits, other(input_ids=ids).logits)


def test_a_missing_tensor_has_the_name_of_the_files_layout(tmp_path):
    for name, missing in (
        ("nomic-bert-mlm", "attn.Wqkv"),
        ("runtime-nomic-bert", "self_attn.q_proj"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text((CASES / name / "config.json").read_text())
        weights = load_file(CASES / name / "model.safetensors")
        dropped = next(n for n in weights if missing in n)
        del weights[dropped]
        save_file(weights, folder / "model.safetensors")
        with pytest.raises(ValueError, match=rf"missing \(1\):\n  {dropped}"):
            tj.from_pretrained(folder)


def test_a_sentence_embedding_directory_is_read_in_either_layout(tmp_path):
    """nomic-embed-text: the mean of the encoder's states."""
    ids = np.array([[5, 6, 7, 8]])
    embeddings = {}
    for name in ("nomic-bert-mlm", "runtime-nomic-bert"):
        folder = tmp_path / name
        (folder / "1_Pooling").mkdir(parents=True)
        for file in ("config.json", "model.safetensors"):
            shutil.copy(CASES / name / file, folder)
        kinds = (("", "Transformer"), ("1_Pooling", "Pooling"))
        modules = [
            {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for n, (path, kind) in enumerate(kinds)
        ]
        (folder / "modules.json").write_text(json.dumps(modules))
        pooling = {"word_embedding_dimension": 24, "pooling_mode_mean_tokens": True}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
        model = tj.from_pretrained(folder, head="embedding")
        embeddings[name] = np.asarray(model(input_ids=ids).sentence_embedding)
    states = tj.from_pretrained(CASES / "nomic-bert-mlm", head="none")(input_ids=ids)
    expected = np.asarray(states.last_hidden_state).mean(1)
    for vectors in embeddings.values():
        np.testing.assert_allclose(vectors, expected, rtol=1e-5, atol=1e-5)
