"""The public interface: the cost of an import, and errors about inputs before anything compiles."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import transformers_jax as tj

CASES = Path(__file__).parent / "conformance" / "cases"
FORBIDDEN = ("torch", "tensorflow", "transformers", "grain", "orbax", "huggingface_hub", "tyro")

IMPORT = f"""
import socket, sys
def refuse(*args, **kwargs):
    raise AssertionError("the network was touched")
socket.socket.connect = refuse
import transformers_jax
from jax._src import xla_bridge
assert not xla_bridge._backends, "a backend was started"
loaded = [name for name in {FORBIDDEN!r} if name in sys.modules]
assert not loaded, loaded
assert "flax" not in sys.modules
transformers_jax.CAUSAL, transformers_jax.GPT2Config, transformers_jax.from_pretrained
transformers_jax.generate
assert not xla_bridge._backends, "a backend was started by a name"
loaded = [name for name in ("torch", "tensorflow", "transformers") if name in sys.modules]
assert not loaded, loaded
"""


def test_importing_starts_no_backend_and_touches_no_network():
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_public_name_exists():
    missing = []
    for name in tj.__all__:
        try:
            getattr(tj, name)
        except (AttributeError, ModuleNotFoundError):
            missing.append(name)
    assert not missing
    with pytest.raises(AttributeError, match="no attribute 'from_pretraned'"):
        _ = tj.from_pretraned


# ---------------------------------------------------------------- inputs


@pytest.fixture(scope="module")
def gpt2():
    return tj.from_pretrained(CASES / "gpt2")


@pytest.fixture(scope="module")
def bert():
    return tj.from_pretrained(CASES / "bert-tokens")


@pytest.fixture(scope="module")
def t5():
    return tj.from_pretrained(CASES / "t5-v1.0")


@pytest.fixture(autouse=True)
def nothing_compiles(monkeypatch, request):
    """Wrong inputs are refused before any compile: `wrong` tests may not run a model at all."""
    if "wrong" in request.node.name:
        from transformers_jax.models import base

        def refuse(*args):
            raise AssertionError("a model was run")

        monkeypatch.setattr(base, "_run", refuse)


IDS = np.array([[3, 4, 5], [6, 7, 8]])


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (
            dict(input_ids=[[3, 4, 96]]),
            r"input_ids\[0, 2\] is 96, outside the vocabulary \[0, 96\)",
        ),
        (dict(input_ids=[[3, -1]]), r"input_ids\[0, 1\] is -1"),
        (dict(input_ids=[[0.5, 2.0]]), "input_ids must hold integers, but its dtype is float64"),
        (dict(input_ids=[3, 4]), "input_ids must have 2 axes"),
        (dict(input_ids=[[3, 4], [5]]), "rows of different lengths"),
        (dict(input_ids=np.zeros((2, 0), int)), "input_ids is empty"),
        (dict(input_ids=np.full((1, 99), 3)), r"99 tokens, but the model has \d+ positions"),
        (dict(input_ids=IDS, labels=IDS + 90), r"labels\[1, 0\] is 96; expected -100"),
        (dict(input_ids=IDS, labels=IDS * 0 - 1), r"labels\[0, 0\] is -1; expected -100"),
        (dict(input_ids=IDS, labels=IDS[:, :2]), r"labels has shape \(2, 2\)"),
        (dict(input_ids=IDS, labels=IDS * 1.0), "labels must hold integers"),
        (dict(input_ids=IDS, attention_mask=IDS[:1] > 0), r"attention_mask has shape \(1, 3\)"),
        (dict(input_ids=IDS, attention_mask=IDS), r"attention_mask\[0, 0\] is 3; expected 1"),
        (dict(input_ids=IDS, position_ids=IDS * 50), r"position_ids\[0, 0\] is 150"),
        (dict(input_ids=IDS, token_type_ids=IDS + 90), r"token_type_ids\[1, 0\] is 96"),
        (dict(input_ids=IDS, inputs_embeds=np.ones((2, 3, 24))), "one of the two"),
        (dict(inputs_embeds=np.ones((2, 3, 7))), "inputs_embeds has shape"),
        (dict(), "give input_ids or inputs_embeds"),
        (dict(input_ids=IDS, tags={"document": IDS}), "read by no mask of this model"),
    ],
)
def test_an_error_about_inputs_names_the_wrong_element(gpt2, inputs, words):
    with pytest.raises(ValueError, match=words):
        gpt2(**inputs)


def test_unknown_names_of_inputs_are_reported_with_the_nearest_name(gpt2):
    with pytest.raises(TypeError, match="'atention_mask'; did you mean 'attention_mask'"):
        gpt2(input_ids=IDS, atention_mask=IDS > 0)


def test_wrong_labels_of_rows_and_tokens(bert, t5):
    count = bert.config.num_labels
    with pytest.raises(ValueError, match=rf"labels\[0, 0\] is {count}"):
        bert(input_ids=IDS, labels=IDS * 0 + count)
    with pytest.raises(ValueError, match=r"decoder_input_ids.*outside the vocabulary"):
        t5(input_ids=IDS, decoder_input_ids=IDS + 90)
    with pytest.raises(ValueError, match="labels has shape"):
        t5(input_ids=IDS, decoder_input_ids=IDS, labels=IDS[:1])
    with pytest.raises(ValueError, match="give input_ids"):
        t5(decoder_input_ids=IDS)


def test_wrong_labels_of_whole_rows():
    model = tj.from_pretrained(
        CASES / "bert-base", head="sequence_classification", num_labels=3, key=jax.random.key(0)
    )
    for labels, words in (
        ([0, 3], r"labels\[1\] is 3"),
        ([0], r"labels has shape \(1,\)"),
        ([[0.0, 1.0], [0.0, 1.0]], r"labels has shape \(2, 2\); expected \(2, 3\)"),
    ):
        with pytest.raises(ValueError, match=words):
            model(input_ids=IDS, labels=labels)


def test_wrong_cache_is_refused(gpt2):
    cache = tj.init_cache(gpt2, 2, 2)
    with pytest.raises(ValueError, match="the cache holds 2 tokens: 3 do not fit"):
        gpt2(input_ids=IDS, cache=cache)
    cache = dataclasses.replace(tj.init_cache(gpt2, 2, 4), length=np.int32(3))
    with pytest.raises(ValueError, match="the cache holds 4 tokens and 3 are written: 3 more"):
        gpt2(input_ids=IDS, cache=cache)
    with pytest.raises(ValueError, match="2 rows, but the cache was made for 1"):
        gpt2(input_ids=IDS, cache=tj.init_cache(gpt2, 1, 8))


# ---------------------------------------------------------------- configs and files


@pytest.fixture
def copy(tmp_path):
    """copy("gpt2", tensors=..., config=...): a case with changed tensors or config."""

    def make(name, tensors=lambda t: t, config=lambda c: c):
        folder = tmp_path / "copy"
        shutil.copytree(CASES / name, folder)
        file = folder / "model.safetensors"
        save_file(tensors(dict(load_file(file))), file, metadata={"format": "pt"})
        values = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config(values)))
        return folder

    return make


def test_unknown_config_keys_name_the_nearest(copy):
    folder = copy("gpt2", config=lambda c: {**c, "n_heads": 4, "wormhole": True})
    with pytest.raises(ValueError, match=r"'n_heads'; did you mean 'n_head'.*'wormhole'"):
        tj.from_pretrained(folder)
    tj.from_pretrained(folder, ignore=("n_heads", "wormhole"))
    with pytest.raises(ValueError, match="unknown field 'n_lair'; did you mean 'n_layer'"):
        tj.from_config(tj.GPT2Config(), key=jax.random.key(0), n_lair=2)
    with pytest.raises(ValueError, match="n_layer should be a whole number, not 'two'"):
        tj.from_config(tj.GPT2Config(), key=jax.random.key(0), n_layer="two")
    with pytest.raises(ValueError, match="'gpt-2' is not supported; did you mean 'gpt2'"):
        tj.from_config({"model_type": "gpt-2"}, key=jax.random.key(0))
    with pytest.raises(ValueError, match="no head 'causal_ml'; did you mean 'causal_lm'"):
        tj.from_config(tj.GPT2Config(), head="causal_ml", key=jax.random.key(0))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tj.GPT2Config(n_embd=30, n_head=7), r"n_embd \(30\) must be a multiple of n_head"),
        (lambda: tj.BertConfig(hidden_size=30, num_attention_heads=7), "nearest are 28 and 35"),
        (lambda: tj.LlamaConfig(hidden_size=30, num_attention_heads=4), "multiple of num_att"),
        (lambda: tj.LlamaConfig(num_key_value_heads=3), r"heads \(32\) must be a multiple of kv"),
        (lambda: tj.TransformerConfig(d_model=30, nhead=4), "multiple of nhead"),
        (lambda: tj.GPT2Config(n_layer=0, vocab_size=-1), "vocab_size=-1, n_layer=0: sizes are"),
        (lambda: tj.GPT2Config(activation_function="gleu"), "unknown activation 'gleu'"),
        (lambda: tj.T5Config(feed_forward_proj="gated-gelu-x"), "expected 'relu', 'gated-gelu'"),
    ],
)
def test_wrong_sizes_are_refused_while_building(make, words):
    with pytest.raises(ValueError, match=words):
        tj.from_config(make(), key=jax.random.key(0))


def test_wrong_keys_and_masks_name_what_is_expected(gpt2):
    with pytest.raises(ValueError, match=r"give key=jax\.random\.key\(3\)"):
        tj.from_config(tj.GPT2Config(), key=3)
    with pytest.raises(ValueError, match=r"give key=jax\.random\.key\(3\)"):
        gpt2(input_ids=IDS, key=3)
    with pytest.raises(ValueError, match="mask='causal': expected a mask such as"):
        tj.from_pretrained(CASES / "gpt2", mask="causal")


def broken(tensors):
    """One missing, one unexpected, one mis-shaped tensor."""
    tensors.pop("transformer.ln_f.bias")
    tensors["transformer.h.7.ln_1.bias"] = np.zeros(24, np.float32)
    tensors["transformer.wpe.weight"] = tensors["transformer.wpe.weight"][:5].copy()
    return tensors


def test_all_errors_of_a_file_are_reported_at_once(copy):
    folder = copy("gpt2", tensors=broken)
    with pytest.raises(ValueError) as error:  # noqa: PT011 - each part is looked for below
        tj.from_pretrained(folder)
    for words in ("transformer.ln_f.bias", "transformer.h.7.ln_1.bias", "got [5, 24], expected"):
        assert words in str(error.value)


def test_tables_that_are_stored_separately_stay_separate(copy):
    changed = lambda t: {**t, "encoder.embed_tokens.weight": t["shared.weight"] + 1}
    one = tj.from_pretrained(CASES / "t5-v1.0").parameter_count
    two = tj.from_pretrained(copy("t5-v1.0", tensors=changed)).parameter_count
    assert two - one == 96 * 24  # a further table of words


def test_without_strict_it_is_reported_and_drawn(copy):
    folder = copy("gpt2", tensors=broken)
    with pytest.raises(ValueError, match="give key="):
        tj.from_pretrained(folder, strict=False)
    loaded = tj.from_pretrained(folder, strict=False, key=jax.random.key(0), return_report=True)
    assert set(loaded.initialised) == {"embed.position", "stack.norm.shift"}
    assert loaded.report.missing == ("transformer.ln_f.bias",)
    assert loaded.report.unexpected == ("transformer.h.7.ln_1.bias",)
    assert np.isfinite(loaded.model(input_ids=IDS).logits).all()


def test_a_new_head_is_drawn_from_its_key():
    load = lambda **options: tj.from_pretrained(
        CASES / "gpt2-base", head="sequence_classification", num_labels=5, **options
    )
    with pytest.raises(ValueError, match=r"head\.classify.*key=jax\.random\.key"):
        load()
    loaded = load(key=jax.random.key(0), return_report=True)
    assert loaded.initialised == ("head.classify.weight",)
    one, same, other = (load(key=jax.random.key(seed)) for seed in (0, 0, 1))
    weight = lambda model: np.asarray(tj.functional(model)[1]["head"]["classify"]["weight"])
    assert weight(one).shape == (24, 5)
    assert np.array_equal(weight(one), weight(same))
    assert not np.array_equal(weight(one), weight(other))


def test_auto_classes_are_heads():
    model = tj.AutoModelForSequenceClassification.from_pretrained(CASES / "bert-sequence")
    assert model.plan.head == "sequence_classification"
    assert tj.AutoModel.from_pretrained(CASES / "bert-mlm", key=jax.random.key(0)).head is None
    with pytest.raises(ValueError, match="has no head 'masked_lm'"):
        tj.AutoModelForMaskedLM.from_pretrained(CASES / "gpt2")


def test_auto_classes_of_images_and_audio_are_heads():
    for auto, case, head in (
        (tj.AutoModel, "vit-base", "none"),
        (tj.AutoModel, "clip", "contrastive"),
        (tj.AutoModel, "whisper-base", "none"),
        (tj.AutoModelForImageClassification, "vit-classify", "image_classification"),
        (tj.AutoModelForZeroShotImageClassification, "clip", "contrastive"),
        (tj.AutoModelForSpeechSeq2Seq, "whisper", "seq2seq_lm"),
    ):
        model = auto.from_pretrained(CASES / case)
        assert model.plan.head == head
        assert auto.from_config(model.config, key=jax.random.key(0)).plan.head == head
    with pytest.raises(ValueError, match="bert has no head 'image_classification'"):
        tj.AutoModelForImageClassification.from_pretrained(CASES / "bert-mlm")
    tower = tj.from_pretrained(CASES / "clip", head="CLIPVisionModelWithProjection")
    assert tower.config.model_type == "clip_vision_model"


def test_dtypes_are_as_requested_and_auto_is_as_stored(tmp_path):
    half = tj.from_pretrained(CASES / "gpt2-base", dtype="bfloat16")
    half.save_pretrained(tmp_path)
    leaves = lambda model: {leaf.dtype.name for leaf in jax.tree.leaves(tj.functional(model)[1])}
    assert leaves(half) == {"bfloat16"}
    assert leaves(tj.from_pretrained(tmp_path)) == {"float32"}
    assert leaves(tj.from_pretrained(tmp_path, dtype="auto")) == {"bfloat16"}
    with pytest.raises(ValueError, match="'int8' is not a floating-point type"):
        tj.from_pretrained(tmp_path, dtype="int8")


def test_an_output_is_read_in_every_way(gpt2):
    out = gpt2(input_ids=IDS, labels=IDS, output_hidden_states=True)
    assert set(out) == {"loss", "logits", "hidden_states"}
    assert out["logits"] is out.logits
    assert dict(out.items())["loss"] is out.loss
    assert len(out.hidden_states) == gpt2.config.n_layer + 1
    with pytest.raises(AttributeError, match="it has loss, logits, hidden_states"):
        _ = out.attentions


def test_a_function_and_its_parameters_are_the_model(gpt2):
    apply, params = tj.functional(gpt2)
    jitted = jax.jit(lambda p, ids: apply(p, input_ids=ids).logits)
    np.testing.assert_allclose(
        jitted(params, IDS.astype(np.int32)), gpt2(input_ids=IDS).logits, rtol=1e-5, atol=1e-5
    )
    zero = tj.bind(gpt2, jax.tree.map(np.zeros_like, params))
    assert not np.asarray(zero(input_ids=IDS).logits).any()
