"""Generation with masks over tags equals a loop of whole forward passes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax import CAUSAL, FULL, OWN, Near, Same, Where
from transformers_jax.graph import (
    TEXT_POSITION,
    Before,
    Dense,
    attends_ahead,
    from_first_token,
    parse,
    sequence,
)

PREFIX = CAUSAL | Where("prefix")
NEW = 6
LIKELY = dict(max_new_tokens=NEW, eos_token_id=None, fixed_width=True)
MASKS = {
    "prefix": PREFIX,
    "prefix in a window": PREFIX & Near(left=5, right=5),
    "layers": [CAUSAL & Near(left=3), PREFIX],
    "documents": PREFIX & Same("document"),
}
IDS = np.random.default_rng(2).integers(3, 31, (3, 7))
TAGS = {
    "prefix": np.array([[1] * 7, [1, 1, 1, 0, 0, 0, 0], [1, 0, 0, 1, 1, 0, 0]]),
    "document": np.array([[0] * 7, [0] * 7, [0, 0, 0, 1, 1, 1, 1]]),
}


@functools.cache
def plain():
    config = tj.GPT2Config(
        vocab_size=31, n_positions=32, n_embd=16, n_layer=2, n_head=2, eos_token_id=1,
        initializer_range=0.5,
    )  # fmt: skip
    return tj.from_config(config, head="causal_lm", key=jax.random.key(3))


def tags_for(name):
    return TAGS if name == "documents" else {"prefix": TAGS["prefix"]}


def naive(model, ids, tags):
    """Each token from a forward pass over the whole row; tags go on as documented."""
    for _ in range(NEW):
        token = np.asarray(model(input_ids=ids, tags=tags).logits)[:, -1].argmax(-1)
        ids = np.concatenate([ids, token[:, None]], axis=1)
        tags = {
            n: np.concatenate([t, t[:, -1:] if n == "document" else 0 * t[:, -1:]], axis=1)
            for n, t in tags.items()
        }
    return ids


@pytest.mark.parametrize("name", MASKS)
def test_a_prefix_model_generates_what_whole_forward_passes_do(name):
    model, tags = plain().with_mask(MASKS[name]), tags_for(name)
    expected = naive(model, IDS, tags)
    np.testing.assert_array_equal(tj.generate(model, IDS, tags=tags, **LIKELY), expected)
    assert not np.array_equal(tj.generate(plain(), IDS, **LIKELY), expected)  # the control
    beams = tj.generate(model, IDS, tags=tags, num_beams=1, do_sample=True, top_k=1,
                        key=jax.random.key(0), num_return_sequences=2, **LIKELY)  # fmt: skip
    np.testing.assert_array_equal(beams[::2], expected)  # copies of a row carry its tags
    np.testing.assert_array_equal(beams[1::2], expected)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padded_rows_with_tags_are_generated_as_without_padding(side):
    model = plain().with_mask(PREFIX)
    edge = ((0, 0), (2, 0) if side == "left" else (0, 2))
    ids, mask = np.pad(IDS, edge, constant_values=9), np.pad(np.ones_like(IDS), edge)
    tags = {"prefix": np.pad(TAGS["prefix"], edge, constant_values=1)}
    expected = naive(model, IDS, {"prefix": TAGS["prefix"]})[:, 7:]
    write = jax.jit(lambda ids, mask, tags: tj.generate(model, ids, attention_mask=mask,
                                                        tags=tags, **LIKELY))  # fmt: skip
    for output in (
        tj.generate(model, ids, attention_mask=mask, tags=tags, **LIKELY),
        write(ids, mask, tags),
    ):
        np.testing.assert_array_equal(output[:, 9:], expected)


def test_beams_of_a_prefix_model_are_scored_as_whole_rows_are():
    model = plain().with_mask(PREFIX)
    tags = {"prefix": TAGS["prefix"]}
    out = tj.generate(
        model, IDS, tags=tags, num_beams=3, return_dict_in_generate=True, length_penalty=0.0,
        **LIKELY,
    )  # fmt: skip
    whole = {"prefix": np.pad(TAGS["prefix"], ((0, 0), (0, NEW)))}
    logits = model(input_ids=out.sequences, tags=whole).logits
    each = jnp.take_along_axis(jax.nn.log_softmax(logits[:, :-1]), out.sequences[:, 1:, None], 2)
    np.testing.assert_allclose(out.sequences_scores, each[:, 6:, 0].sum(1), rtol=1e-4)


def test_tags_of_new_tokens_can_be_passed():
    model = plain().with_mask(CAUSAL & Before("time"))
    time = np.arange(7)[None].repeat(3, 0)
    with pytest.raises(ValueError, match=r"tags\['time'\].*Int\[B, T \+ max_new_tokens\]"):
        tj.generate(model, IDS, tags={"time": time}, **LIKELY)
    whole = np.arange(7 + NEW)[None].repeat(3, 0)
    output = tj.generate(model, IDS, tags={"time": whole}, **LIKELY)
    np.testing.assert_array_equal(output, tj.generate(plain(), IDS, **LIKELY))
    hidden = np.where(whole > 6, whole, -whole)  # no prompt token attends to an earlier one
    other = tj.generate(model, IDS, tags={"time": hidden}, **LIKELY)
    assert not np.array_equal(other, output)


@pytest.mark.parametrize(
    ("mask", "tags", "match"),
    [
        (PREFIX, None, r"compares the tag 'prefix': pass tags=\{'prefix': Int\[B T\]\}"),
        (CAUSAL, TAGS, r"tags \['document', 'prefix'\] are read by no mask"),
        (PREFIX, {"prefix": TAGS["prefix"][:1]}, r"tags\['prefix'\] has shape \(1, 7\).*\(3, 7\)"),
        (PREFIX, {"prefix": TAGS["prefix"][:, :4]}, r"has shape \(3, 4\)"),
        (PREFIX, {"prefix": TAGS["prefix"] * 1.0}, "must hold integers, but its dtype is float64"),
        (PREFIX, {"position": TAGS["prefix"]}, "counts positions from attention_mask"),
        (CAUSAL & Dense("links"), None, r"reads the pairs links.*with_mask"),
        (FULL, None, r"mask Full\(\) a token may attend to later"),
        (Near(2, 2), None, "may attend to later ones"),
        (Same("document"), TAGS, "may attend to later ones"),
        (CAUSAL | Where("prefix", of="query"), TAGS, "may attend to later ones"),
    ],
)
def test_masks_that_cannot_generate_are_refused_with_the_reason(mask, tags, match):
    with pytest.raises(ValueError, match=match):
        tj.generate(plain().with_mask(mask), IDS, tags=tags, **LIKELY)


def test_an_encoder_decoder_reads_tags_of_both_sides():
    heads = dict(encoder_attention_heads=2, decoder_attention_heads=2)
    config = tj.BartConfig(
        vocab_size=31, d_model=16, encoder_ffn_dim=16, decoder_ffn_dim=16, **heads,
        encoder_layers=1, decoder_layers=2, decoder_start_token_id=2, forced_eos_token_id=None,
        init_std=0.5,
    )  # fmt: skip
    masks = {"encoder": Same("part"), "decoder": PREFIX, "cross": Same("part")}
    model = tj.from_config(config, head="seq2seq_lm", key=jax.random.key(0), mask=masks)
    source, part = IDS, np.array([[0, 0, 1, 1, 1, 2, 2]] * 3)
    begun = np.concatenate([np.full((3, 1), 2), IDS[:, :3]], axis=1)
    own = {"prefix": np.array([[1, 1, 1, 1]] * 3), "part": np.array([[0, 0, 1, 1]] * 3)}
    output = tj.generate(
        model, source, tags={"part": part}, decoder_input_ids=begun, decoder_tags=own, **LIKELY
    )
    ids = begun
    for _ in range(NEW):
        out = model(input_ids=source, tags={"part": part}, decoder_input_ids=ids, decoder_tags=own)
        ids = np.concatenate([ids, np.asarray(out.logits)[:, -1:].argmax(-1)], axis=1)
        own = {"prefix": np.pad(own["prefix"], ((0, 0), (0, 1))),
               "part": np.pad(own["part"], ((0, 0), (0, 1)), mode="edge")}  # fmt: skip
    np.testing.assert_array_equal(output, ids)
    with pytest.raises(ValueError, match=r"compares the tag 'part': pass tags="):
        tj.generate(model, source, decoder_input_ids=begun, decoder_tags=own, **LIKELY)
    with pytest.raises(ValueError, match=r"pass decoder_tags=\{'part'"):
        tj.generate(model, source, tags={"part": part}, **LIKELY)


@pytest.mark.parametrize(
    "mask", [CAUSAL, PREFIX, CAUSAL & Same("a"), Near(3, 0), ~(FULL & ~CAUSAL), PREFIX & Near(2, 2),
             FULL, Near(1, 1), ~CAUSAL, Same("a"), CAUSAL | Same("a"), ~Where("prefix")], ids=str,
)  # fmt: skip
def test_a_mask_declared_causal_draws_no_edge_to_later_tokens(mask):
    rng = np.random.default_rng(0)
    tags = {name: rng.integers(0, 2, (4, 9)).astype(np.int32) for name in ("a", "prefix")}
    for prefix in (False, True):
        nodes = sequence(9, tags={**tags, "prefix": tags["prefix"] * prefix})
        later = np.triu(np.ones((9, 9), bool), 1) & np.asarray(mask.edges(nodes, nodes))
        assert attends_ahead(mask, prefix=prefix) or not later.any()
        assert later.any() or not attends_ahead(mask, prefix=prefix)
    assert OWN.over(mask) == mask


ABSOLUTE = {
    "blocks": CAUSAL & tj.graph.Block(4),
    "all but the first": CAUSAL & (Near(left=1) | ~Where("index")),
    "layers": [CAUSAL & (tj.graph.Block(4) | Near(left=1)), CAUSAL],
    "distances": CAUSAL & (Near(left=2) | tj.graph.Strided(3)),
}


@pytest.mark.parametrize("name", ABSOLUTE)
def test_masks_by_index_count_from_the_first_token_of_a_row(name):
    model, width = plain().with_mask(ABSOLUTE[name]), IDS.shape[1]
    expected = naive(model, IDS, {})  # neither padding nor buckets
    np.testing.assert_array_equal(tj.generate(model, IDS, **LIKELY), expected)
    ids, mask = np.pad(IDS, ((0, 0), (2, 0))), np.pad(np.ones_like(IDS), ((0, 0), (2, 0)))
    output = tj.generate(model, ids, attention_mask=mask, **LIKELY)
    np.testing.assert_array_equal(output[:, 2 + width :], expected[:, width:])
    if name == "blocks":
        beams = tj.generate(model, ids, attention_mask=mask, num_beams=2, **LIKELY)
        unpadded = tj.generate(model, IDS, num_beams=2, **LIKELY)
        np.testing.assert_array_equal(beams[:, 2:], unpadded)
    assert not np.array_equal(tj.generate(plain(), IDS, **LIKELY), expected)  # the control


@pytest.mark.parametrize("name", ["blocks", "layers"])
def test_padding_in_front_moves_no_edge_of_score_and_causal_lm(name):
    model = plain().with_mask(ABSOLUTE[name])
    perplexities = {"alone": tj.score(model, IDS).perplexity}
    losses = {"alone": tj.causal_lm(model, {"input_ids": IDS}, None)[0]}
    for side, edge in {"left": (3, 0), "right": (0, 3)}.items():
        ids, mask = (np.pad(x, ((0, 0), edge)) for x in (IDS, np.ones_like(IDS)))
        perplexities[side] = tj.score(model, ids, mask).perplexity
        losses[side] = tj.causal_lm(model, {"input_ids": ids, "attention_mask": mask}, None)[0]
    for side in ("left", "right"):
        np.testing.assert_allclose(perplexities[side], perplexities["alone"], rtol=1e-4)
        np.testing.assert_allclose(losses[side], losses["alone"], rtol=1e-4)


def test_masks_that_read_an_index_differ_from_masks_that_compare_them():
    for mask in (
        CAUSAL & Near(left=3),
        OWN & Same("document"),
        ~tj.graph.Strided(2),
        Dense("index"),
    ):
        assert from_first_token(mask) == mask
    rewritten = from_first_token((CAUSAL & ~tj.graph.Block(4)) | Same("index"))
    assert rewritten == (CAUSAL & ~tj.graph.Block(4, TEXT_POSITION)) | Same("index")
    assert parse(str(rewritten)) == rewritten


def test_a_mask_saved_in_a_directory_counts_from_the_first_token_too(tmp_path):
    tj.save_pretrained(plain().with_mask(OWN & tj.graph.Block(4)), tmp_path)
    model = tj.from_pretrained(tmp_path, head="causal_lm")
    np.testing.assert_array_equal(tj.generate(model, IDS, **LIKELY), naive(model, IDS, {}))
