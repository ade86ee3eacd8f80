"""`tj.revise`: what is given stays, what is hidden is written, as often as the model says."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.objectives.diffusion import blockwise, read_twice

V, MASK, PAD = 7, 6, 0
KEY = jax.random.key(1)
PROMPT = np.array([[3, MASK, 1, MASK, MASK, 5, MASK, 2]])
UNEVEN = np.array([[3, MASK, 1, MASK, 5], [PAD, PAD, 4, MASK, MASK], [2, MASK, PAD, PAD, PAD]])
ONES = np.ones_like(PROMPT)


@functools.cache
def model(mask=None, head="masked_lm"):
    config = tj.BertConfig(
        vocab_size=V, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=12, max_position_embeddings=32, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, initializer_range=0.9,
    )  # fmt: skip
    return tj.from_config(config, head=head, key=jax.random.key(3), mask=mask)


def revised(ids=PROMPT, of=None, **options):
    options = {"mask_token_id": MASK, "return_dict_in_generate": True, **options}
    output = tj.revise(of or model(), ids, **options)
    return np.asarray(output.sequences), np.asarray(output.steps)


# ---------------------------------------------------------------- what stays and what comes


@pytest.mark.parametrize("options", [{}, {"order": "random", "key": KEY}, {"steps": 2}])
def test_given_tokens_stay_and_every_mask_is_written(options):
    ids, steps = revised(max_new_tokens=3, **options)
    assert ids.shape == (1, 11)
    given = np.append(PROMPT[0] != MASK, [False] * 3)
    np.testing.assert_array_equal(ids[0, :8][given[:8]], PROMPT[0][given[:8]])
    np.testing.assert_array_equal(steps[0] == 0, given)
    assert MASK not in ids


@pytest.mark.parametrize(
    ("steps", "each"), [(None, [1] * 4), (3, [2, 1, 1]), (1, [4]), (9, [1] * 4)]
)
def test_tokens_are_written_in_as_many_passes_as_asked_for(steps, each):
    _, when = revised(steps=steps)
    assert [int((when == n).sum()) for n in range(1, when.max() + 1)] == each


def by_hand(ids, block=None, twice=None):
    """The likeliest token of the surest mask, again and again, block by block."""
    ids = ids.copy()
    while (hidden := ids == MASK).any():
        active = hidden
        inputs = {"input_ids": ids, "labels": np.full_like(ids, -100)}
        if block:
            number = np.arange(ids.shape[1]) // block
            active = hidden & (number == number[hidden[0]].min())
        if twice:
            inputs = read_twice({**inputs, "noised_ids": ids})
            inputs.pop("labels")
            logits = model(blockwise(block))(**inputs).logits[:, ids.shape[1] :]
        else:
            logits = model()(input_ids=ids).logits
        likely = np.array(jax.nn.log_softmax(logits.at[..., MASK].set(-1e9), axis=-1))
        place = np.where(active[0], likely[0].max(-1), -np.inf).argmax()
        ids[0, place] = likely[0, place].argmax()
    return ids


def test_the_surest_tokens_come_first():
    np.testing.assert_array_equal(revised()[0], by_hand(PROMPT))
    nothing = np.full((1, 6), MASK)
    np.testing.assert_array_equal(revised(nothing)[0], by_hand(nothing))


def test_blocks_are_written_from_left_to_right():
    ids, steps = revised(block_length=3)
    np.testing.assert_array_equal(ids, by_hand(PROMPT, block=3))
    of_blocks = [steps[0, n : n + 3] for n in (0, 3, 6)]
    assert max(of_blocks[0]) < min(of_blocks[1][of_blocks[1] > 0]) < max(of_blocks[2])
    assert (np.sort(steps[steps > 0]) == [1, 2, 3, 4]).all()


def test_a_model_of_blocks_reads_what_it_read_in_training():
    """In training its text is read twice in one row; here once, the block in hand marked."""
    ids, _ = revised(of=model(blockwise(3)))
    np.testing.assert_array_equal(ids, by_hand(PROMPT, block=3, twice=True))
    later = PROMPT.copy()
    later[0, 7] = 4  # of a block behind all others but the last
    assert (revised(later, of=model(blockwise(3)))[0][:, :6] == ids[:, :6]).all()


# ---------------------------------------------------------------- rows


@pytest.mark.parametrize(
    "options", [{}, {"do_sample": True, "key": KEY}, {"order": "random", "key": KEY}]
)
def test_a_row_does_not_depend_on_the_others(options):
    whole, steps = revised(UNEVEN, max_new_tokens=2, **options)
    text = [row[row != PAD] for row in UNEVEN]
    for number, row in enumerate(text):
        if "key" in options and number:
            continue  # what is drawn depends on the number of the row
        alone, when = revised(row[None], max_new_tokens=2, **options)
        length = len(row) + 2
        np.testing.assert_array_equal(whole[number, :length], alone[0])
        np.testing.assert_array_equal(steps[number, :length], when[0])
        assert (whole[number, length:] == PAD).all()
    wider = np.pad(UNEVEN, ((0, 0), (0, 12)))
    np.testing.assert_array_equal(revised(wider, max_new_tokens=2, **options)[0], whole)


def test_the_same_key_gives_the_same_text_also_inside_jit():
    options = dict(do_sample=True, mask_token_id=MASK, max_new_tokens=2)
    rows = np.full((2, 6), MASK)
    draw = lambda key: tj.revise(model(), rows, key=key, **options)
    one, same, other = draw(KEY), draw(KEY), draw(jax.random.key(2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    inside = jax.jit(lambda ids, key: tj.revise(model(), ids, key=key, **options))
    np.testing.assert_array_equal(inside(jnp.asarray(rows), KEY), one)


# ---------------------------------------------------------------- how often


def joint(steps=None):
    """p(a, b) of two masks behind a token: a mean over orders; in one pass, a product."""
    table, row = np.zeros((V, V)), np.array([[3, MASK, MASK]])
    of = lambda row: np.asarray(jax.nn.softmax(model()(input_ids=row).logits[0, :, :MASK], -1))
    both = of(row)
    for a, b in itertools.product(range(MASK), repeat=2):
        behind_a, behind_b = (
            of(np.array([pair]))[n] for pair, n in (((3, a, MASK), 2), ((3, MASK, b), 1))
        )
        one = both[1, a] * (both[2, b] if steps else behind_a[b])
        other = both[2, b] * (both[1, a] if steps else behind_b[a])
        table[a, b] = (one + other) / 2
    return table


def test_texts_are_drawn_as_often_as_enumeration_says():
    count = 6000
    rows = np.tile([[3, MASK, MASK]], (count, 1))
    options = dict(do_sample=True, order="random", key=KEY)

    def apart(table, **more):
        ids, _ = revised(rows, **options, **more)
        found = np.zeros((V, V))
        np.add.at(found, (ids[:, 1], ids[:, 2]), 1 / count)
        return np.abs(found - table).sum() / 2

    exact, product = joint(), joint(steps=1)
    assert exact.sum() == pytest.approx(1)
    assert np.abs(exact - product).sum() / 2 > 0.1
    noise = 0.5 * np.sqrt(2 * exact * (1 - exact) / (math.pi * count)).sum()
    assert apart(exact) < 1.5 * noise
    assert apart(product, steps=1) < 1.5 * noise
    assert apart(exact, steps=1) > 0.1
    assert apart(exact, temperature=2.0) > 2 * noise


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps=0 must be a whole number, at least 1"),
        ({"block_length": 0}, "block_length=0 must be a whole number"),
        ({"max_new_tokens": -1}, "max_new_tokens=-1 must be a whole number, at least 0"),
        ({"order": "confident"}, "order='confident': expected 'confidence' or 'random'"),
        ({"do_sample": True}, "do_sample=True draws at random: pass key="),
        ({"order": "random"}, "order='random' draws at random: pass key="),
        ({"temperature": 0.5}, "without effect unless do_sample=True"),
        ({"temperature": 0}, "temperature=0 must be a finite number above 0"),
        ({"mask_token_id": None}, "names it: pass mask_token_id="),
        ({"mask_token_id": 7}, "mask_token_id"),
        ({"mask_token_id": 4}, r"no token is the mask token \(4\); pass max_new_tokens"),
        (
            {"max_new_tokens": 30},
            "8 tokens and 30 new ones make 38, but the model has 32 positions",
        ),
        ({"texts": "abc"}, "texts are prompts, and so are input_ids"),
        ({"input_ids": None}, "nothing to revise: pass input_ids"),
        ({"input_ids": None, "texts": "abc"}, "texts need the model's tokenizer"),
        ({"key": 3}, "give key=jax.random.key"),
    ],
)
def test_values_out_of_range_are_refused(options, message):
    ids = options.pop("input_ids", PROMPT)
    with pytest.raises(ValueError, match=message):
        revised(ids, **options)


def test_other_models_are_refused():
    with pytest.raises(ValueError, match="load it with head='masked_lm'"):
        revised(of=model(head="none"))
    with pytest.raises(
        ValueError, match="has blocks of 3 tokens; leave block_length out, or pass 3"
    ):
        revised(of=model(blockwise(3)), block_length=4)
    packed = tj.OWN & tj.Same("document")
    with pytest.raises(ValueError, match="compares the tag 'document'") as caught:
        revised(of=model(packed))
    assert "model.with_mask(None)" in str(caught.value)
    revised(of=model(packed).with_mask(None))  # the advice
    decoder = tj.from_config(
        tj.GPT2Config(vocab_size=V, n_embd=8, n_layer=1, n_head=2, n_positions=8),
        head="causal_lm", key=KEY,
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"tj\.generate continues texts"):
        revised(of=decoder)
    with pytest.raises(TypeError, match="revise takes a model"):
        tj.revise({}, PROMPT)
