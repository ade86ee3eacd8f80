"""LED: BART whose encoder attends to a window and to global tokens."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import transformers_jax as tj
from tests.families.test_round_trip import CASES, load

IDS = np.random.default_rng(3).integers(5, 90, (1, 24))


@pytest.fixture(scope="module")
def model():
    return load("led-base")


def states(model, ids, **marks):
    return np.asarray(model.encode(input_ids=ids, **marks).last_hidden_state)


def test_three_windows_reach_eight_tokens_and_a_global_token_reaches_all(model):
    changed = IDS.copy()
    changed[0, 20] = (changed[0, 20] + 1) % 90
    moved = np.abs(states(model, IDS) - states(model, changed)).max(axis=(0, 2)) > 0
    assert moved.nonzero()[0].min() == 20 - (2 + 2 + 4)  # half of each window, layer after layer
    marks = {"global_attention_mask": (np.arange(24) == 0)[None].astype(int)}
    both = [states(model, ids, **marks) for ids in (IDS, changed)]
    assert (np.abs(both[0] - both[1]).max(axis=(0, 2)) > 0).all()  # through token 0


def test_no_token_is_global_by_itself(model):
    none = {"global_attention_mask": np.zeros((1, 24), int)}
    np.testing.assert_allclose(states(model, IDS), states(model, IDS, **none), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"attention_window": 5}, r"attention_window \[5, 5\].*even"),
        ({"attention_window": [4]}, r"each of the 2 layers \(encoder_layers\)"),
        ({"max_position_embeddings": 64}, "unknown key 'max_position_embeddings'"),
        ({"scale_embedding": True}, "scale_embedding=True is not implemented for led"),
        ({"is_decoder": True}, "is_decoder=True is not implemented for led"),
    ],
)
def test_what_the_family_has_not_is_refused(changes, error):
    with pytest.raises(ValueError, match=error):
        tj.LEDConfig.from_dict({"encoder_layers": 2, **changes})


def test_tables_that_are_stored_and_differ_are_not_tied(tmp_path):
    stored = load_file(CASES / "led" / "model.safetensors")
    stored["lm_head.weight"] = stored["led.shared.weight"] + 1
    save_file(stored, tmp_path / "model.safetensors")
    config = json.loads((CASES / "led" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    untied, tied = tj.from_pretrained(tmp_path), load("led")
    assert (untied.config.tie_word_embeddings, tied.config.tie_word_embeddings) == (False, True)
    inputs = dict(input_ids=IDS, decoder_input_ids=IDS[:, :3])
    last = untied(**inputs, output_hidden_states=True)
    change = np.asarray(last.decoder_hidden_states[-1]).sum(-1, keepdims=True)
    np.testing.assert_allclose(last.logits, tied(**inputs).logits + change, atol=1e-4)
