"""Slots write what `generate` writes for each prompt alone, whenever prompts come and go."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.generation import slot_steps as steps
from transformers_jax.generation.processors import apply, cutoffs, penalties
from transformers_jax.generation.slot_steps import Draw
from transformers_jax.generation.slots import Slots
from transformers_jax.generation.text import whole_rows

V = 40
CONFIG = tj.LlamaConfig(
    vocab_size=V, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.5, eos_token_id=None,
)  # fmt: skip
MASKS = {"full": None, "window": tj.CAUSAL & tj.Near(left=5)}
RNG = np.random.default_rng(0)
PROMPTS = [RNG.integers(1, V, size=n).tolist() for n in (7, 1, 21, 3, 12)]


@pytest.fixture(scope="module")
def models():
    made = {}

    def make(mask):
        if mask not in made:
            key = jax.random.key(0)
            made[mask] = tj.from_config(CONFIG, head="causal_lm", key=key, mask=MASKS[mask])
        return made[mask]

    return make


def alone(model, prompt, new):
    return np.array(model.generate(np.array([prompt]), max_new_tokens=new))[0].tolist()


def write(slots, slot, new):
    """A slot until it has `new` tokens; others go on beside it."""
    while slots.reading(slot):
        slots.read()
    begin = len(slots.text(slot))
    while len(slots.text(slot)) < begin + new:
        slots.step()
    return slots.text(slot)


@pytest.mark.parametrize("mask", MASKS)
def test_texts_that_come_and_go_are_those_of_generate(mask, models):
    model, new = models(mask), 9
    slots, waiting, where, done = Slots(model, 2, 40), list(enumerate(PROMPTS)), {}, {}
    while waiting or where:
        while waiting and slots.available:
            number, prompt = waiting.pop(0)
            where[slots.admit(prompt)[0]] = number
        slots.read()  # one piece between the steps of others
        slots.step()
        for slot, number in list(where.items()):
            if len(slots.text(slot)) == len(PROMPTS[number]) + new:
                done[number] = slots.text(slot)
                slots.free(slot)
                del where[slot]
    for number, prompt in enumerate(PROMPTS):
        assert done[number] == alone(model, prompt, new)
    assert len({tuple(text[-new:]) for text in done.values()}) == len(PROMPTS)  # the control


@pytest.mark.parametrize("mask", MASKS)
def test_what_a_slot_holds_is_not_read_again(mask, models):
    model = models(mask)
    slots = Slots(model, 2, 60)
    slot, known = slots.admit(PROMPTS[0])
    assert known == 0
    text = write(slots, slot, 6)
    slots.free(slot)
    again, known = slots.admit([*text, 8, 9])  # the next turn of a conversation
    assert (again, known) == (slot, len(text) - 1)
    assert write(slots, again, 5) == alone(model, [*text, 8, 9], 5)
    other, known = slots.admit([*text[:9], 5])  # begins alike, and the slot goes on beside it
    assert other != again
    assert known == (9 if mask == "full" else 0)  # a window has overwritten what it needs
    assert write(slots, other, 5) == alone(model, [*text[:9], 5], 5)
    assert slots.text(again) == alone(model, [*text, 8, 9], len(slots.text(again)) - len(text) - 2)


def test_a_window_takes_back_what_it_has_room_for(models):
    model = models("window")
    slots = Slots(model, 1, 60, spare=4)
    slot, _ = slots.admit(PROMPTS[0])
    text = write(slots, slot, 6)
    slots.free(slot)
    slot, known = slots.admit([*text[:-3], 30, 31])
    assert known == len(text) - 3
    assert write(slots, slot, 5) == alone(model, [*text[:-3], 30, 31], 5)


def test_a_seed_draws_the_same_text_beside_others(models):
    model, draw = models("full"), Draw(temperature=1.0, top_k=20, top_p=0.9, seed=3)
    texts = []
    for others in (0, 2):
        slots = Slots(model, 3, 40)
        for number in range(others):
            slots.admit(PROMPTS[number + 1], Draw(temperature=2.0, seed=number))
            slots.read()
            slots.step()
        slot, _ = slots.admit(PROMPTS[0], draw)
        texts.append(write(slots, slot, 12))
    assert texts[0] == texts[1]
    slots = Slots(model, 3, 40)
    slot, _ = slots.admit(PROMPTS[0], Draw(temperature=1.0, top_k=20, top_p=0.9, seed=4))
    assert write(slots, slot, 12) != texts[0]  # the control


def numbers_of(*draws):
    return {n: jnp.array([float(getattr(d, n)) for d in draws]) for n in steps.NUMBERS}


@pytest.mark.parametrize("width", [1, 20, 2000 / V])
@pytest.mark.parametrize("peak", [2, 8])
def test_cut_offs_are_those_of_the_processors(width, peak):
    """Also of vocabularies of which the best tokens are looked at first, whether these are enough
    or not."""
    vocabulary = int(width * V)
    draws = [
        Draw(top_k=5), Draw(top_p=0.7), Draw(min_p=0.2), Draw(),
        Draw(top_k=9, top_p=0.8, min_p=0.05),
    ]  # fmt: skip
    scores = jnp.array(peak * RNG.normal(size=(len(draws), vocabulary)), jnp.float32)
    cut = steps.cut(scores, numbers_of(*draws))
    text = whole_rows(np.ones((1, 2), int))
    for row, draw in enumerate(draws):
        every = [cutoffs.TopKLogitsWarper(draw.top_k)] if draw.top_k else []
        every += [cutoffs.TopPLogitsWarper(draw.top_p)] if draw.top_p < 1 else []
        every += [cutoffs.MinPLogitsWarper(draw.min_p)] if draw.min_p else []
        expected = apply(tuple(every), text, scores[row][None])[0]
        np.testing.assert_array_equal(cut[row] > -1e20, expected > -1e20)
        kept = np.array(cut[row] > -1e20)
        np.testing.assert_array_equal(cut[row][kept], scores[row][kept])


def test_penalties_and_bias():
    draws = [
        Draw(repetition_penalty=1.5), Draw(presence_penalty=0.5), Draw(frequency_penalty=0.25),
        Draw(),
    ]  # fmt: skip
    scores = jnp.array(RNG.normal(size=(4, V)), jnp.float32)
    ids = jnp.array([[5, 6, 7, 7, 0, 0]] * 4)
    begin, end = jnp.full(4, 2), jnp.full(4, 4)
    bias = jnp.zeros((4, V)).at[3, 9].set(2.5)
    state = steps.SlotState(None, ids, begin, end, numbers_of(*draws), bias, begin)
    made = steps.penalised(scores, state, True)
    text = whole_rows(np.array([[5, 6, 7, 7]]))
    repetition = penalties.RepetitionPenaltyLogitsProcessor(1.5)
    np.testing.assert_allclose(made[0], repetition.process(text, scores[:1])[0], rtol=1e-6)
    off = np.array(scores[1:] - made[1:])
    assert {n: round(float(x), 5) for n, x in enumerate(off[0]) if abs(x) > 1e-6} == {7: 0.5}
    assert {n: round(float(x), 5) for n, x in enumerate(off[1]) if abs(x) > 1e-6} == {7: 0.5}
    assert {n: round(float(x), 5) for n, x in enumerate(off[2]) if abs(x) > 1e-6} == {9: -2.5}


def test_masks_and_alternatives(models):
    slots = Slots(models("full"), 2, 40)
    slot, _ = slots.admit([3])
    free, _ = slots.admit([3])
    mask = np.zeros(2, np.uint32)
    mask[37 // 32] = 1 << (37 % 32)
    first, second = slots.step(top=True)[slot], slots.step({slot: mask}, top=True)
    assert first.top[0] == (first.token, pytest.approx(first.log_prob))
    assert len(first.top) == 20
    assert second[slot].token == 37 != second[free].token
    assert second[slot].log_prob < second[slot].top[0][1]  # of the model's own scores


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda s, m: s.admit([]), "prompt"),
        (lambda s, m: s.admit([V]), "40"),
        (lambda s, m: s.admit([1] * 8), "8 tokens, and a slot holds 8"),
        (lambda s, m: s.admit([1], Draw(bias={V: 1.0})), "bias of the token 40, outside"),
        (lambda s, m: Draw(top_p=0), r"top_p must be in \(0, 1\], got 0"),
        (lambda s, m: Draw(temperature=True), "temperature must be"),
        (lambda s, m: s.free(0), "slot 0 is free already"),
        (lambda s, m: Slots(m, 1, 65), "longer than the model's 64 positions; pass length=64"),
        (lambda s, m: Slots(m, 0, 8), "count must be a whole number, at least 1, got 0"),
    ],
)
def test_what_does_not_fit_is_refused(call, said, models):
    slots = Slots(models("full"), 1, 8)
    with pytest.raises(ValueError, match=said):
        call(slots, models("full"))


def test_more_texts_than_slots_and_more_tokens_than_a_slot_has(models):
    slots = Slots(models("full"), 1, 4)
    slot, _ = slots.admit([5, 6])
    with pytest.raises(RuntimeError, match="no slot is free"):
        slots.admit([5])
    write(slots, slot, 2)
    with pytest.raises(ValueError, match=r"the slots \[0\] are full: free them"):
        slots.step()


def test_other_models_are_refused():
    t5 = tj.T5Config(vocab_size=V, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    for config, head, said in (
        (t5, "seq2seq_lm", "is an encoder-decoder"),
        (CONFIG, "none", "needs a model that scores the next token"),
    ):
        with pytest.raises(ValueError, match=said):
            Slots(tj.from_config(config, head=head, key=jax.random.key(0)), 1, 8)
