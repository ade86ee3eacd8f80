"""Encoder-decoders made of two families: which configs are read, which are refused, and why."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.generation.inputs import read
from transformers_jax.generation.options import resolve
from transformers_jax.generation.padding import Call
from transformers_jax.models import load_config
from transformers_jax.models.base import Plan
from transformers_jax.nn.param import bind, flatten, params

CASE = Path(__file__).parent.parent / "conformance" / "cases" / "encoder-decoder"
TINY = dict(vocab_size=53, hidden_size=20, num_hidden_layers=2, num_attention_heads=4)
READER = {"model_type": "bert", "intermediate_size": 28, "max_position_embeddings": 37, **TINY}
WRITER = {**READER, "is_decoder": True, "add_cross_attention": True}


def config(encoder=READER, decoder=WRITER, **more):
    return load_config(
        {"model_type": "encoder-decoder", "encoder": encoder, "decoder": decoder, **more}
    )


def shapes(config):
    model = Plan(config, "seq2seq_lm").build()
    return {path: leaf.shape for path, leaf in flatten(params(model)).items()}


def test_a_config_of_the_releases_before_is_read():
    nested = {  # what v4 wrote into each of the two
        **dict(add_cross_attention=False, chunk_size_feed_forward=0, is_decoder=False),
        **dict(cross_attention_hidden_size=None, tie_encoder_decoder=False, pruned_heads={}),
        **dict(return_dict=True, torchscript=False, tf_legacy_loss=False, length_penalty=1.0),
        **dict(position_embedding_type="absolute", finetuning_task=None, is_encoder_decoder=False),
    }
    old = config(
        {**nested, **READER},
        {**nested, **WRITER},
        **dict(tie_encoder_decoder=False, vocab_size=53, max_length=142, num_beams=4),
        tie_word_embeddings=False,
    )
    assert old == config()
    assert old != config(decoder={**WRITER, "tie_word_embeddings": False})
    assert load_config(json.loads(json.dumps(old.to_dict()))) == old


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (dict(decoder=READER), "decoder: bert without add_cross_attention=True cannot attend"),
        (dict(decoder={**READER, "add_cross_attention": True}), "needs is_decoder=True"),
        (dict(encoder={"model_type": "t5"}), "encoder: t5 has two stacks"),
        (dict(encoder={**READER, "hidden_layers": 2}), "unknown key 'hidden_layers'"),
        (dict(decoder={"model_type": "llama"}), "decoder: llama without add_cross_attention"),
        (dict(tie_encoder_decoder=True), "tie_encoder_decoder=True is not implemented"),
    ],
)
def test_pairs_that_do_not_fit_are_refused_with_the_reason(arguments, words):
    with pytest.raises(ValueError, match=words):
        config(**arguments)


def test_a_projection_joins_only_sides_of_different_widths():
    wide = config(encoder={**READER, "hidden_size": 28})
    assert shapes(wide)["project.weight"] == (28, 20)
    assert not any(path.startswith("project") for path in shapes(config()))
    assert "enc_to_dec_proj.weight" in wide.table("seq2seq_lm").fills(shapes(wide))


def test_every_parameter_has_one_name_in_every_pair():
    gpt2 = dict(model_type="gpt2", n_embd=20, n_layer=2, n_head=4, add_cross_attention=True)
    roberta = {"model_type": "roberta", **{k: v for k, v in WRITER.items() if k != "model_type"}}
    electra = {**roberta, "model_type": "electra", "embedding_size": 12}
    encoders = [{**READER, "model_type": name} for name in ("bert", "roberta", "electra")]
    for encoder in (*encoders, {"model_type": "distilbert", "dim": 24, "n_heads": 4}):
        for decoder in (WRITER, gpt2, roberta, electra):
            joined = config(encoder, decoder)
            ours = shapes(joined)
            fills = joined.table("seq2seq_lm").fills(ours)
            assert {path for fill in fills.values() for path in fill.row.ours} == set(ours)


def test_each_side_has_its_own_limit_of_positions():
    short = config(encoder={**READER, "max_position_embeddings": 18}, decoder_start_token_id=1)
    model = tj.from_pretrained(CASE)
    assert model.reading.source_positions == model.positions == 40
    built = Plan(short, "seq2seq_lm").build()
    assert (built.reading.source_positions, built.positions) == (18, 37)


@pytest.mark.parametrize(
    ("family", "marks"),
    [
        (dict(model_type="big_bird", block_size=2, num_random_blocks=1, pad_token_id=0), {}),
        (dict(model_type="longformer", attention_window=4), {"global_attention_mask": [0, 3]}),
    ],
)
def test_a_long_encoder_in_a_pair_computes_what_it_does_by_itself(family, marks):
    ids = np.random.default_rng(1).integers(4, 53, (2, 17))
    marks = {name: np.isin(np.arange(17), at)[None].repeat(2, 0) * 1 for name, at in marks.items()}
    joined, rng = config({**READER, **family}, decoder_start_token_id=1), np.random.default_rng(0)
    some = lambda leaf: rng.normal(size=leaf.shape).astype(np.float32)
    model = Plan(joined, "seq2seq_lm").build()
    model = bind(model, jax.tree.map(some, params(model)))
    parts = params(model)
    parts = dict(embed=parts["embed"], stack=parts["encoder"], pooler=parts["pooler"])
    encoder = bind(Plan(joined.encoder, "none").build(), parts)
    mine, theirs = model.encode(ids, **marks), encoder(ids, **marks)
    np.testing.assert_allclose(mine.last_hidden_state, theirs.last_hidden_state, atol=1e-5)
    call = Call(model, resolve({}, {}, {}, joined), ids, inputs=marks)
    inputs = read(call).prompt.inputs
    input_shapes = {name: x.shape for name, x in inputs.items()}
    if marks:
        assert input_shapes["global_attention_mask"] == input_shapes["input_ids"] == (2, 32)
        with pytest.raises(TypeError, match="has no argument 'labels'"):
            model.encode(ids, labels=ids)
    else:  # written texts begin with sources as they came: more blocks would be other blocks
        assert input_shapes["input_ids"] == (2, 17)


def test_heads_do_not_decide_the_attention_mask():
    masks = [
        str(Plan(load_config({**READER, **more}), head).build().stack.masks("self")[0])
        for head in ("causal_lm", "masked_lm")
        for more in ({}, {"is_decoder": True})
    ]
    assert masks == ["Full()", "CAUSAL", "Full()", "CAUSAL"]
    with pytest.raises(ValueError, match="is_decoder=True is not implemented for albert"):
        load_config({"model_type": "albert", "is_decoder": True})


def test_labels_are_shifted_right_and_padding_is_masked():
    model, ids = tj.from_pretrained(CASE, unroll=False), np.array([[5, 6, 7, 8]], np.int32)
    labels = np.array([[9, 0, 11, 12]], np.int32)  # 0 is the pad
    from_labels = model(input_ids=ids, labels=labels)
    shifted = np.array([[2, 9, 0, 11]], np.int32)
    from_ids = model(
        input_ids=ids,
        decoder_input_ids=shifted,
        decoder_attention_mask=(shifted != 0).astype(np.int32),
        labels=labels,
    )
    np.testing.assert_allclose(
        from_labels.logits, from_ids.logits, rtol=1e-5, atol=5e-6
    )  # they reach 5
    np.testing.assert_allclose(from_labels.loss, from_ids.loss, rtol=1e-6)


def saved(values, head, folder):
    """A checkpoint of random numbers."""
    model, rng = Plan(load_config(values), head).build(), np.random.default_rng(0)
    some = lambda leaf: rng.normal(size=leaf.shape).astype(np.float32)
    tj.save_pretrained(bind(model, jax.tree.map(some, params(model))), folder)
    return folder


def test_two_checkpoints_become_one_model_with_cross_attention(tmp_path):
    gpt2 = dict(model_type="gpt2", vocab_size=53, n_embd=16, n_layer=2, n_head=4, n_positions=37)
    encoder = saved(READER, "masked_lm", tmp_path / "bert")
    decoder = saved(gpt2, "causal_lm", tmp_path / "gpt2")
    join = tj.EncoderDecoderModel.from_encoder_decoder_pretrained
    model = join(encoder, decoder, key=jax.random.key(0), decoder_start_token_id=1, pad_token_id=0)
    values = flatten(tj.functional(model)[1])
    separate = {
        "encoder": flatten(tj.functional(tj.from_pretrained(encoder))[1]),
        "decoder": flatten(tj.functional(tj.from_pretrained(decoder))[1]),
    }
    for side, weights in separate.items():
        blocks = {path: x for path, x in weights.items() if path.startswith("stack.blocks")}
        for path, x in blocks.items():
            slot = path.replace("stack", side)
            assert np.array_equal(values[slot], x), path
    initialised = {path for path in values if ".cross" in path or path.startswith("project")}
    assert {"decoder.blocks.0.cross.query", "project.weight"} <= initialised
    model.save_pretrained(tmp_path / "both")
    again = flatten(tj.functional(tj.from_pretrained(tmp_path / "both"))[1])
    assert all(np.array_equal(again[path], x) for path, x in values.items())
    with pytest.raises(ValueError, match="unknown field 'is_decoder'"):
        join(encoder, CASE.parent / "llama", key=jax.random.key(0))
