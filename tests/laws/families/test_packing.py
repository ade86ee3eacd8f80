"""A packed row equals its separate documents: outputs, loss and gradients, in every family."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from tests.laws.families.conftest import CONFIGS, HEADS, LATE, quick
from transformers_jax import CAUSAL, FULL, OWN, Same

CLOSE = dict(rtol=1e-5, atol=1e-6)  # float32, other orders of summation
# UMT5 rounds more: its states are as far from float64 in PyTorch, 2.5e-6 of the largest
ROUGHER = {"umt5": 2e-6}
GRADIENT = 1e-5  # of the norm of the whole
SAME = Same("document")
BOTH = {"encoder": SAME, "decoder": CAUSAL & SAME, "cross": SAME}
USUAL = {"causal_lm": CAUSAL & SAME, "seq2seq_lm": BOTH}
MASKS = {family: USUAL.get(HEADS[family], SAME) for family in CONFIGS}
OWN_MASKS = ("big_bird", "deberta", "deberta_v2", "longformer", "modernbert")
MASKS |= dict.fromkeys((*OWN_MASKS, *LATE), OWN & SAME)
MASKS |= {family: {**BOTH, "encoder": OWN & SAME} for family in ("led", "longt5")}
SOURCE, TARGET = (5, 8), (4, 6)
ALIKE = (6, 6), (4, 4)  # one program less, where no block is numbered from the ends of a row
AS_BART = ("blenderbot", "blenderbot_small", "m2m_100", "marian", "pegasus")  # slow tests
BLOCKS = ("big_bird", "led", "longformer", "longt5", "modernbert")


def documents(lengths, seed):
    """Int[1 n] ids of each document."""
    rng = np.random.default_rng(seed)
    return [rng.integers(3, 53, (1, n)).astype(np.int32) for n in lengths]


def tags(lengths, pad):
    """The tags of a packed row: document -1 and position 0 in its padding."""
    document = np.repeat([*range(len(lengths)), -1], [*lengths, pad])[None]
    position = np.concatenate([*(np.arange(n) for n in lengths), np.zeros(pad, int)])[None]
    return {"document": document.astype(np.int32), "position": position.astype(np.int32)}


def row(parts, pad, fill):
    return np.concatenate([*parts, np.full((1, pad), fill, np.int32)], 1)


def packed_and_apart(model, pad=2, lengths=(SOURCE, TARGET)):
    """Inputs of the packed row, of each document, and the slice of each document's outputs."""
    two, (source, target) = model.is_encoder_decoder, lengths
    sources, targets = documents(source, 1), documents(target if two else source, 2)
    targets = [np.where(np.arange(part.shape[1]) == 1, -100, part) for part in targets]
    if not two:  # a decoder's first word has no label, or the token before would have to predict it
        targets = [np.where(np.arange(part.shape[1]) == 0, -100, part) for part in targets]
    if model.plan.head == "replaced_token":
        targets = [np.where(part == -100, part, part % 2) for part in targets]
    empty = model.config.pad_token_id or 0
    whole = {"input_ids": row(sources, pad, empty), "tags": tags(source, pad)}
    whole["attention_mask"] = (whole["tags"]["document"] >= 0).astype(np.int32)
    whole["labels"] = row(targets, pad, -100)
    separate = [{"input_ids": ids, "labels": labels} for ids, labels in zip(sources, targets)]
    if two:
        decoder_ids = documents(target, 3)
        whole["decoder_input_ids"] = row(decoder_ids, pad, empty)
        whole["decoder_tags"] = tags(target, pad)
        mask = whole["decoder_tags"]["document"] >= 0
        whole["decoder_attention_mask"] = mask.astype(np.int32)
        separate = [
            {**inputs, "decoder_input_ids": ids} for inputs, ids in zip(separate, decoder_ids)
        ]
    edges = np.cumsum([0, *(target if two else source)])
    return whole, separate, [slice(a, b) for a, b in itertools.pairwise(edges)]


def mean_loss(apply, params, batches):
    """(loss over all labels of several batches, their logits)."""
    outs = [apply(params, **batch) for batch in batches]
    counts = [(batch["labels"] != -100).sum() for batch in batches]
    loss = sum(out.loss * n for out, n in zip(outs, counts)) / sum(counts)
    return loss, [out.logits for out in outs]


def run(model, batches):
    """((loss, logits), gradients), compiled."""
    apply, params = tj.functional(model)
    batches = jax.tree.map(jnp.asarray, batches)
    loss = lambda p: mean_loss(apply, p, batches)
    return jax.jit(jax.value_and_grad(loss, has_aux=True))(params)


@pytest.mark.parametrize("family", quick(MASKS, (*LATE, *AS_BART)))
def test_a_packed_row_equals_its_separate_documents(family, tiny):
    packed, plain = tiny(family, mask=MASKS[family]), tiny(family)
    alike = family not in BLOCKS
    whole, separate, slices = packed_and_apart(packed, lengths=ALIKE if alike else (SOURCE, TARGET))
    if alike:
        separate = [{name: np.concatenate([x[name] for x in separate]) for name in separate[0]}]
    (loss, (logits,)), gradient = run(packed, [whole])
    (expected, separate_logits), expected_gradient = run(plain, separate)
    separate_logits = [row for part in separate_logits for row in part]
    for place, part in zip(slices, separate_logits, strict=True):
        # sums round with their terms: logits of 4 are four times as far apart as those of 1
        atol = ROUGHER.get(family, CLOSE["atol"]) * max(1.0, np.abs(part).max())
        np.testing.assert_allclose(logits[0, place], part, rtol=CLOSE["rtol"], atol=atol)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    norm = lambda tree: np.sqrt(sum(np.square(x).sum() for x in jax.tree.leaves(tree)))
    errors = jax.tree.map(lambda a, b: np.asarray(a - b), gradient, expected_gradient)
    assert norm(expected_gradient) > 1e-3  # there is a gradient
    assert norm(errors) <= GRADIENT * norm(jax.tree.map(np.asarray, expected_gradient))

    # the control: with the tags of one document, the second attends to the first
    one = {n: {**x, "document": 0 * x["document"]} for n, x in whole.items() if n.endswith("tags")}
    leaking = packed(**{**whole, **one}).logits[:, slices[1]]
    assert np.abs(leaking[0] - separate_logits[1]).max() > 1e-2


@pytest.mark.parametrize("family", ["t5", "bart", "transformer"])
@pytest.mark.parametrize("stack", ["encoder", "decoder", "cross"])
def test_each_of_the_three_masks_is_needed(family, stack, tiny):
    packed = tiny(family, mask={**BOTH, stack: CAUSAL if stack == "decoder" else FULL})
    whole, separate, slices = packed_and_apart(packed)
    leaking = packed(**whole).logits[:, slices[1]]
    assert np.abs(leaking - tiny(family)(**separate[1]).logits).max() > 1e-2


@pytest.mark.parametrize("family", ["bert", "gpt2", "roberta", "electra", "bart", "llama"])
def test_positions_that_run_on_are_another_model(family, tiny):
    packed = tiny(family, mask=MASKS[family])
    whole, separate, slices = packed_and_apart(packed)
    for name in ("tags", "decoder_tags"):
        if name in whole:
            place = np.arange(whole[name]["position"].shape[1])[None].astype(np.int32)
            whole[name] = {**whole[name], "position": place}
    logits, expected = packed(**whole).logits[:, slices[1]], tiny(family)(**separate[1]).logits
    if family == "llama":  # rotary positions are relative: only their differences are read
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    else:
        assert np.abs(logits - expected).max() > 1e-2


def test_masks_and_tags_that_fit_nothing_are_refused(tiny, ids):
    with pytest.raises(ValueError, match=r"mask has encoder, cross, but bert .* one stack"):
        tiny("bert", mask=({"encoder": SAME, "cross": SAME}))
    with pytest.raises(ValueError, match=r"mask has decoder, but t5 \(encoder\) has masks encoder"):
        tiny("t5", "encoder", ({"decoder": SAME}))
    with pytest.raises(ValueError, match="expected a mask such as"):
        tiny("t5", mask={"middle": SAME})
    t5 = tiny("t5", mask={"encoder": SAME})
    tag = {"document": np.zeros((2, 13), np.int32)}
    with pytest.raises(ValueError, match=r"decoder_tags \['document'\] are read by no mask"):
        t5(input_ids=ids, decoder_input_ids=ids, tags=tag, decoder_tags=tag)
    bart, far = tiny("bart"), {"position": np.full((2, 13), 37, np.int32)}
    with pytest.raises(ValueError, match=r"position'\]\[0, 0\] is 37, outside the positions"):
        bart(input_ids=ids, decoder_input_ids=ids, decoder_tags=far)
    gpt2, zeros = tiny("gpt2"), np.zeros((2, 13), np.int32)
    with pytest.raises(ValueError, match=r"tags\['position'\] or position_ids, one of the two"):
        gpt2(input_ids=ids, position_ids=zeros, tags={"position": zeros})
