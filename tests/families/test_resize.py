"""Vocabularies of another size: the old words as they were, in every family."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.nn.param import axes, flatten, params

CASES = Path(__file__).parent.parent / "conformance" / "cases"
OLDER = ("older-", "odd-")
KEY = jax.random.key(5)


def load(name):
    case = json.loads((CASES / name / "case.json").read_text())
    return tj.from_pretrained(CASES / name, head=case["architecture"])


NO_WORDS = {  # families whose configs say a vocab_size of which no model has a table of words
    "beit": "beit-base",
    "hubert": "hubert-base",
    "blip_2_qformer": "blip-2-qformer",
    "decision_transformer": "decision-transformer",
}
SEVERAL = {"clip", "siglip", "siglip2", "vision-text-dual-encoder"}  # towers beside one another


def has_words(name):
    config = json.loads((CASES / name / "config.json").read_text())
    words = {"vocab_size", "decoder", "text_config"} & {*config}  # not in images
    family = config.get("model_type")
    return words and family not in {None, *NO_WORDS, *SEVERAL} and "module" not in config


def one_of_each():
    """A case of each family, with its words scored if there is such a head."""
    case_of = {}
    for path in sorted(CASES.glob("*/case.json")):
        name = path.parent.name
        if name.startswith(OLDER) or not has_words(name):
            continue
        case = json.loads(path.read_text())
        family = json.loads((path.parent / "config.json").read_text())["model_type"]
        if family not in case_of or any(w in case["architecture"] for w in ("LM", "Generation")):
            case_of[family] = name
    return sorted(case_of.values())


NAMES = one_of_each()
SIDED = {"encoder-decoder": ("encoder", "decoder")}


@pytest.mark.parametrize("name", NAMES)
def test_old_rows_are_unchanged_and_new_ones_survive_saving(name, tmp_path):
    model = load(name)
    before = flatten(params(model))
    for side in SIDED.get(name, (None,)):
        config = model.config if side is None else getattr(model.config, side)
        old = config.target_vocab if side is None else config.vocab_size
        grown = tj.resize_embeddings(model, old + 7, key=KEY, side=side)
        named, after = flatten(axes(grown)), flatten(params(grown))
        changed = {path for path in after if after[path].shape != before[path].shape}
        assert changed
        for path in after:
            if path not in changed:
                np.testing.assert_array_equal(after[path], before[path], err_msg=path)
                continue
            axis = named[path].index("vocab")
            rows = before[path].shape[axis]
            unchanged, new = np.split(np.asarray(after[path]), [rows], axis)
            np.testing.assert_array_equal(unchanged, before[path], err_msg=path)
            assert new.shape[axis] == 7
            assert np.isfinite(new).all()
            if new.ndim > 1:  # tables; biases begin at 0
                assert len(np.unique(new)) > 7
            else:
                assert not new.any()
        grown.save_pretrained(tmp_path / str(side))
        again = tj.from_pretrained(tmp_path / str(side))
        for path, value in flatten(params(again)).items():
            np.testing.assert_array_equal(value, after[path], err_msg=path)
        assert again.config.target_vocab == old + 7 or side == "encoder"


@pytest.mark.parametrize("name", sorted(NO_WORDS.values()))
def test_models_that_read_no_words_are_refused(name):
    model = load(name)
    with pytest.raises(ValueError, match=f"{model.config.model_type} has no vocabulary"):
        tj.resize_embeddings(model, 107, key=KEY)


def test_tokens_behind_the_vocabulary_have_their_own_table():
    model = load("idefics")
    grown = tj.resize_embeddings(model, 107, key=KEY)
    assert (grown.config.vocab_size, grown.config.additional_vocab_size) == (96, 11)
    fewer = tj.resize_embeddings(grown, 100, shrink=True)
    assert fewer.config == model.config
    with pytest.raises(ValueError, match=r"96 tokens of idefics .* give at least 97"):
        tj.resize_embeddings(model, 96, shrink=True)


def test_a_side_that_reads_no_text_is_refused():
    speech = load("speech-encoder-decoder")
    with pytest.raises(ValueError, match="only the decoder reads text; leave side out"):
        tj.resize_embeddings(speech, 107, key=KEY, side="encoder")


@pytest.mark.parametrize("name", ["bert-mlm", "bart", "t5-v1.1"])
def test_logits_of_old_tokens_are_unchanged(name):
    model = load(name)
    old = model.config.vocab_size
    ids = jnp.arange(12).reshape(2, 6) + 3
    inputs = {"input_ids": ids}
    if model.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids[:, ::-1]
    grown = tj.resize_embeddings(model, old + 3, key=KEY)
    fresh = tj.from_config(grown.config, head=model.plan.head, key=KEY)  # as the family draws
    table = lambda one: flatten(params(one))["embed.table"][old:]
    np.testing.assert_array_equal(table(grown), table(fresh))
    before, after = model(**inputs).logits, grown(**inputs).logits
    np.testing.assert_allclose(after[..., :old], before, atol=2e-6)
    assert after.shape[-1] == old + 3
    assert np.isfinite(after).all()
    inputs["input_ids"] = inputs["input_ids"].at[:, 2].set(old + 2)
    assert np.isfinite(grown(**inputs).logits).all()
    with pytest.raises(ValueError, match="outside the vocabulary"):
        model(**inputs)


def small(**options):
    config = tj.GPT2Config(vocab_size=20, n_positions=16, n_embd=8, n_layer=1, n_head=2, **options)
    return tj.from_config(config, head="causal_lm", key=jax.random.key(0))


def test_new_embeddings_may_start_as_the_mean():
    model = small(tie_word_embeddings=False)
    grown = tj.resize_embeddings(model, 22, rows="mean")
    for path, value in flatten(params(grown)).items():
        old = flatten(params(model))[path]
        if value.shape != old.shape:
            np.testing.assert_allclose(value[20:], np.stack([old.mean(0)] * 2), atol=1e-7)


def test_a_table_may_be_padded_and_cut():
    model = small()
    padded = tj.resize_embeddings(model, 21, key=KEY, pad_to_multiple_of=16)
    assert padded.config.vocab_size == 32
    back = tj.resize_embeddings(padded, 20, shrink=True)
    for path, value in flatten(params(back)).items():
        np.testing.assert_array_equal(value, flatten(params(model))[path])
    same = tj.resize_embeddings(model, 20)
    assert same.config == model.config


def test_a_resized_table_has_the_sharding_it_had():
    mesh = tj.make_mesh({"tensor": 1})
    config = tj.GPT2Config(vocab_size=20, n_positions=16, n_embd=8, n_layer=1, n_head=2)
    model = tj.from_config(config, head="causal_lm", key=jax.random.key(0), mesh=mesh)
    grown = tj.resize_embeddings(model, 24, key=KEY)
    path = "embed.table"
    assert flatten(params(grown))[path].sharding == flatten(params(model))[path].sharding
    apart = model.with_layers("list")
    assert tj.resize_embeddings(apart, 24, key=KEY).execution.layers == "list"


def test_invalid_resizes_are_refused():
    model = small(eos_token_id=19)
    for size, options, words in [
        (24, {}, r"rows of embed.table are drawn: give key=jax.random.key"),
        (18, {}, r"the last 2 tokens would be cut off; pass shrink=True"),
        (18, {"shrink": True}, "with 18 rows there is no eos_token_id=19"),
        (0, {}, "vocab_size=0 must be a whole number"),
        (24, {"rows": "zero"}, "rows='zero': expected 'draw' or 'mean'"),
        (24, {"side": "decoder"}, "has one vocabulary; leave it out"),
        (24, {"pad_to_multiple_of": 0}, "pad_to_multiple_of=0 must be"),
    ]:
        with pytest.raises(ValueError, match=words):
            tj.resize_embeddings(model, size, **options)
    both = load("encoder-decoder")
    with pytest.raises(ValueError, match=r"two vocabularies .* say side='encoder' or"):
        tj.resize_embeddings(both, 99, key=KEY)


def test_tables_of_their_own_grow_one_by_one():
    config = tj.MarianConfig(
        vocab_size=30,
        decoder_vocab_size=24,
        share_encoder_decoder_embeddings=False,
        d_model=8,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=8,
        decoder_ffn_dim=8,
        max_position_embeddings=16,
        pad_token_id=0,
        eos_token_id=1,
        forced_eos_token_id=1,
        decoder_start_token_id=0,
    )
    model = tj.from_config(config, head="seq2seq_lm", key=jax.random.key(0))
    read = tj.resize_embeddings(model, 33, key=KEY, side="encoder")
    resized = tj.resize_embeddings(read, 26, key=KEY, side="decoder")
    assert (resized.config.vocab_size, resized.config.decoder_vocab_size) == (33, 26)
    ids = jnp.arange(4)[None] + 20
    out = resized(input_ids=ids + 9, decoder_input_ids=ids + 2)
    assert out.logits.shape == (1, 4, 26)
    np.testing.assert_allclose(
        resized(input_ids=ids, decoder_input_ids=ids).logits[..., :24],
        model(input_ids=ids, decoder_input_ids=ids).logits,
        atol=2e-6,
    )
