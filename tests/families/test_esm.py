"""ESM: the frequencies that files store, dropped tokens, and contacts from attention."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import transformers_jax as tj
from tests.families.test_round_trip import CASES
from transformers_jax.models.esm import FREQUENCIES, TRAINED
from transformers_jax.nn.contacts import product_corrected, symmetric

KEYS = [f"esm.{name}" for name in FREQUENCIES]


@pytest.fixture
def folder(tmp_path):
    """A copy of a case, whose file may be changed."""
    for name in ("config.json", "model.safetensors"):
        shutil.copy(CASES / "esm-mlm" / name, tmp_path)
    (tmp_path / "model.safetensors").chmod(0o644)
    return tmp_path


def change(folder, tensors):
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def logits(model):
    ids = np.random.default_rng(0).integers(4, 24, (2, 11))
    return np.asarray(model(input_ids=ids).logits)


# ---------------------------------------------------------------- frequencies


@pytest.mark.parametrize("key", KEYS)
def test_the_frequencies_of_a_file_win_over_the_base_of_its_config(key, folder):
    tensors = load_file(folder / "model.safetensors")
    usual = tensors.pop(KEYS[0])
    stored = (500.0 ** -np.arange(0, 1, 1 / len(usual))).astype(np.float32)
    change(folder, {**tensors, key: stored})
    model = tj.from_pretrained(folder)
    change(folder, tensors)
    same, other = tj.from_pretrained(folder, rope_theta=500.0), tj.from_pretrained(folder)
    np.testing.assert_allclose(logits(model), logits(same), atol=2e-5)
    assert np.abs(logits(model) - logits(other)).max() > 1e-2  # the control


def test_frequencies_in_half_precision_are_kept_and_written(folder, tmp_path):
    tensors = load_file(folder / "model.safetensors")
    half = tensors[KEYS[0]].astype(np.float16).astype(np.float32)
    change(folder, {**tensors, KEYS[0]: half})
    model = tj.from_pretrained(folder)
    assert model.config.frequencies == tuple(map(float, half))
    model.save_pretrained(tmp_path / "saved")
    again = load_file(tmp_path / "saved" / "model.safetensors")
    np.testing.assert_array_equal(again[KEYS[0]], half)
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert config["frequencies"] == list(map(float, half))
    assert tj.from_pretrained(tmp_path / "saved").config == model.config


def test_usual_frequencies_are_no_key_of_the_config(folder, tmp_path):
    model = tj.from_pretrained(folder)
    assert model.config.frequencies is None
    assert "frequencies" not in model.config.to_dict()


def test_frequencies_of_another_width_are_refused(folder):
    tensors = load_file(folder / "model.safetensors")
    change(folder, {**tensors, KEYS[0]: np.ones(5, np.float32)})
    with pytest.raises(ValueError, match=r"5 frequencies .* heads of 8 numbers have 4"):
        tj.from_pretrained(folder)


def test_the_unread_table_of_positions_of_early_files_is_left_out(folder):
    before = logits(tj.from_pretrained(folder))
    tensors = load_file(folder / "model.safetensors")
    table = np.ones((42, 32), np.float32)
    change(folder, {**tensors, "esm.embeddings.position_embeddings.weight": table})
    np.testing.assert_array_equal(logits(tj.from_pretrained(folder)), before)


# ---------------------------------------------------------------- dropped tokens


def small(**changes):
    settings = dict(
        vocab_size=33,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        position_embedding_type="rotary",
        pad_token_id=1,
        mask_token_id=32,
        token_dropout=True,
    )
    config = tj.EsmConfig(**{**settings, **changes})
    return tj.from_config(config, head="masked_lm", key=jax.random.key(0))


def embedded(model, ids, **arguments):
    inputs = {"input_ids": jnp.asarray(ids), **arguments}
    return np.asarray(model.embed(inputs, dtype=jnp.float32).x)


def test_masked_tokens_are_zero_and_the_others_are_scaled_by_their_share():
    model, ids = small(), np.array([[0, 5, 32, 7, 2, 1, 1, 1]])
    mask = np.array([[1, 1, 1, 1, 1, 0, 0, 0]])
    x = embedded(model, ids, attention_mask=jnp.asarray(mask))
    table = np.asarray(model.embed.table[...])
    np.testing.assert_allclose(x[0, 1], table[5] * TRAINED / (1 - 1 / 5), rtol=1e-6)
    assert not x[0, 2].any()
    assert not x[0, 5:].any()
    plain = embedded(small(token_dropout=False), ids, attention_mask=jnp.asarray(mask))
    np.testing.assert_array_equal(plain[0, 2], table[32])  # the control
    np.testing.assert_array_equal(plain[0, 1], table[5])


def test_rows_without_tokens_and_rows_of_masks_stay_finite():
    model = small()
    ids = np.array([[32, 32, 32], [5, 6, 7]])
    mask = jnp.asarray([[1, 1, 1], [0, 0, 0]])
    assert np.isfinite(embedded(model, ids, attention_mask=mask)).all()


def test_settings_that_lack_what_they_read_are_refused():
    with pytest.raises(ValueError, match="mask_token_id is None, but token_dropout reads it"):
        tj.EsmConfig(position_embedding_type="rotary", token_dropout=True)
    with pytest.raises(ValueError, match="pad_token_id is None, but absolute positions reads it"):
        tj.EsmConfig(pad_token_id=None)
    tj.EsmConfig(pad_token_id=1)  # what the message says


# ---------------------------------------------------------------- contacts


def with_contacts(model):
    """The model with random numbers in the regression of contacts."""
    _, values = tj.functional(model)
    rng = np.random.default_rng(1)
    contacts = values["contacts"]
    weight = jnp.asarray(30 * rng.normal(size=contacts["weight"].shape), jnp.float32)
    return tj.bind(model, {**values, "contacts": {**contacts, "weight": weight}})


def test_contacts_are_symmetric_and_padding_changes_nothing():
    model = with_contacts(small(hidden_size=24, num_attention_heads=4))
    rng = np.random.default_rng(0)
    short, long = (np.r_[0, rng.integers(4, 24, n), 2] for n in (6, 9))
    rows = np.array([np.r_[short, 1, 1, 1], long])
    mask = (rows != 1).astype(int)
    both = np.asarray(model.predict_contacts(rows, mask))
    assert both.shape == (2, 9, 9)
    np.testing.assert_allclose(both, both.swapaxes(1, 2), atol=1e-6)
    alone = np.asarray(model.predict_contacts(short[None], np.ones((1, 8), int)))
    np.testing.assert_allclose(both[0, :6, :6], alone[0], atol=1e-5)
    unmasked = np.asarray(model.predict_contacts(rows))
    assert np.abs(unmasked[0, :6, :6] - alone[0]).max() > 1e-3  # the control


def test_contacts_can_be_compiled_and_come_with_every_head():
    model = with_contacts(small())
    ids = np.array([[0, 5, 9, 14, 7, 2]])
    eager = model.predict_contacts(ids, np.ones((1, 6), int))
    apply = jax.jit(lambda ids: model.predict_contacts(ids, jnp.ones((1, 6), int)))
    np.testing.assert_allclose(apply(jnp.asarray(ids)), eager, atol=1e-6)
    for head in ("none", "sequence_classification", "token_classification"):
        other = tj.from_config(model.config, head=head, key=jax.random.key(0))
        assert np.allclose(
            other.predict_contacts(ids, np.ones((1, 6), int)), 0.5
        )  # nothing learned


def test_the_correction_takes_away_what_rows_and_columns_explain():
    rng = np.random.default_rng(0)
    of_row = rng.random((5, 1))
    alone = of_row @ of_row.T
    assert np.abs(product_corrected(jnp.asarray(alone))).max() < 1e-6
    pair = alone.copy()
    pair[1, 3] = pair[3, 1] = 3.0
    corrected = np.asarray(product_corrected(jnp.asarray(pair)))
    assert np.unravel_index(corrected.argmax(), (5, 5)) in ((1, 3), (3, 1))
    assert not np.asarray(product_corrected(jnp.zeros((4, 4)))).any()
    np.testing.assert_allclose(
        symmetric(jnp.asarray(of_row @ np.ones((1, 5), int))), of_row + of_row.T
    )


def test_a_file_without_the_regression_begins_with_no_opinion(folder):
    tensors = load_file(folder / "model.safetensors")
    rest = {name: x for name, x in tensors.items() if "contact_head" not in name}
    change(folder, rest)
    contacts = tj.from_pretrained(folder).predict_contacts([[0, 5, 6, 7, 2]], np.ones((1, 5), int))
    np.testing.assert_allclose(contacts, 0.5)
