"""Greedy search: what a step may depend on, and which calls share a compiled program."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from tests.generation.markov import Markov, MarkovConfig, log_probabilities
from transformers_jax import generation
from transformers_jax.generation import generate
from transformers_jax.generation.padding import bucket

V, EOS, PAD = 7, 3, 0


def language(seed=0, position_weight=0.0, **config):
    table = np.random.default_rng(seed).normal(size=(5, V, V)).astype(np.float32) * 2
    config = MarkovConfig(vocab_size=V, pad_token_id=PAD, **config)
    return table, Markov(config, table, position_weight)


def greedy(table, prompt, count, eos=None):
    """Greedy search by hand: the most probable token after the history, until the end token."""
    history = list(prompt)
    while len(history) < len(prompt) + count and eos not in history[len(prompt) :]:
        history.append(int(log_probabilities(table, history).argmax()))
    return history


def test_greedy_search_takes_the_most_probable_token():
    table, model = language()
    ids = generate(model, input_ids=np.array([[1, 4]]), max_new_tokens=9)
    assert ids.dtype == jnp.int32
    assert ids[0].tolist() == greedy(table, [1, 4], 9)


@pytest.mark.parametrize("position_weight", [0.0, 0.7])
def test_a_row_of_a_ragged_batch_is_generated_as_by_itself(position_weight):
    _, model = language(1, position_weight)
    prompts = [[1, 4, 6, 2, 5], [2], [5, 1, 6]]
    ids = np.full((3, 5), 6)  # ids under the padding do not matter
    mask = np.zeros((3, 5), int)
    for row, prompt in enumerate(prompts):
        ids[row, 5 - len(prompt) :], mask[row, 5 - len(prompt) :] = prompt, 1
    options = dict(max_new_tokens=9, no_repeat_ngram_size=2, repetition_penalty=1.2)
    together = generate(model, input_ids=ids, attention_mask=mask, **options)
    for row, prompt in enumerate(prompts):
        single = generate(model, input_ids=np.array([prompt]), **options)
        assert together[row, 5:].tolist() == single[0, len(prompt) :].tolist()


def test_positions_count_the_text_and_not_the_padding():
    """The negative control of the last test: with padding taken for text, rows differ."""
    _, model = language(1, 0.7)
    single = generate(model, input_ids=np.array([[2]]), max_new_tokens=9)
    padded = generate(model, input_ids=np.array([[6, 6, 2]]), max_new_tokens=9)
    assert padded[0, 3:].tolist() != single[0, 1:].tolist()


def test_ended_rows_are_filled_with_padding_and_the_width_is_that_of_the_longest():
    table, model = language(4)
    prompts = [[token] for token in range(1, V)]
    expected = [greedy(table, p, 12, EOS) for p in prompts]
    assert len({len(row) for row in expected}) > 1  # or this shows nothing
    ids = generate(model, input_ids=np.array(prompts), max_new_tokens=12, eos_token_id=EOS)
    assert ids.shape[1] == max(map(len, expected))
    for row, text in zip(ids.tolist(), expected):
        assert row == text + [PAD] * (len(row) - len(text))
    fixed = generate(
        model, input_ids=np.array(prompts), max_new_tokens=12, eos_token_id=EOS, fixed_width=True
    )
    assert fixed.shape == (6, 13)
    np.testing.assert_array_equal(fixed[:, : ids.shape[1]], ids)
    assert (fixed[:, ids.shape[1] :] == PAD).all()


def test_any_of_several_end_tokens_ends():
    _table, model = language(4)
    free = generate(model, input_ids=np.array([[1]]), max_new_tokens=12)[0].tolist()
    ends = [free[6], free[4]]
    stop = min(free[1:].index(end) for end in ends) + 1
    ids = generate(model, input_ids=np.array([[1]]), max_new_tokens=12, eos_token_id=ends)
    assert ids[0].tolist() == free[: stop + 1]


def compiled(model, **options):
    """`generate` of a model inside `jax.jit`, where values of arrays are unknown."""
    return jax.jit(lambda **arrays: generate(model, fixed_width=True, **arrays, **options))


def test_pad_tokens_at_the_ends_are_padding_without_a_mask():
    _, model = language(2)
    ids = np.array([[PAD, PAD, 5, 1], [2, PAD, 4, 1], [5, 1, PAD, PAD]])
    mask = np.array([[0, 0, 1, 1], [1, 1, 1, 1], [1, 1, 0, 0]])
    masked = generate(model, input_ids=ids, attention_mask=mask, max_new_tokens=6)
    assert masked[0].tolist() == masked[2].tolist() != masked[1].tolist()
    np.testing.assert_array_equal(generate(model, input_ids=ids, max_new_tokens=6), masked)
    np.testing.assert_array_equal(compiled(model, max_new_tokens=6)(input_ids=ids), masked)
    nothing = generate(model, input_ids=ids, max_new_tokens=6, pad_token_id=None)
    assert nothing[2, :4].tolist() == [5, 1, PAD, PAD]  # the control: no token means padding


KINDS = {
    "greedy": {"no_repeat_ngram_size": 3, "repetition_penalty": 1.2},
    "sampling": {"do_sample": True, "key": jax.random.key(3), "top_k": 4},
    "beams": {"num_beams": 3},
}
SIDES = {"left": [0, 0, 1, 1, 1], "right": [1, 1, 1, 0, 0], "both": [0, 1, 1, 1, 0]}


@pytest.mark.parametrize("way", ["concrete", "traced"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_is_continued_as_without_padding_wherever_its_padding_is(kind, way):
    _, model = language(1, 0.7)
    options = {"max_new_tokens": 7, **KINDS[kind]}
    write = (
        compiled(model, **options)
        if way == "traced"
        else functools.partial(generate, model, fixed_width=True, **options)
    )
    prompt, whole = [2, 4, 6], [5, 1, 6, 2, 4]
    single = write(input_ids=np.array([prompt, [6, 1, 2]]))[0, 3:]
    texts = []
    for mask in SIDES.values():
        ids = np.full(5, 5)  # ids under the padding do not matter
        ids[np.array(mask) > 0] = prompt
        both = {"input_ids": np.array([ids, whole]), "attention_mask": np.array([mask, [1] * 5])}
        texts.append(write(**both))
        assert texts[-1][0, 2:5].tolist() == prompt  # text comes before its continuation
        assert texts[-1][1, :5].tolist() == whole
        assert texts[-1][0, 5:].tolist() == single.tolist()
    assert all(np.array_equal(text[1], texts[0][1]) for text in texts)
    read = write(input_ids=np.array([[*prompt, 5, 5], whole]), attention_mask=np.ones((2, 5), int))
    assert read[0, 5:].tolist() != single.tolist()  # the control: padding taken for text


@pytest.mark.parametrize("way", ["concrete", "traced"])
@pytest.mark.parametrize("beams", [1, 3])
def test_a_source_is_decoded_as_without_padding_wherever_its_padding_is(beams, way):
    model = tj.from_config(
        tj.BartConfig(
            vocab_size=31,
            d_model=16,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=16,
            decoder_ffn_dim=16,
            max_position_embeddings=24,
            decoder_start_token_id=2,
            init_std=0.6,
        ),
        head="seq2seq_lm",
        key=jax.random.key(0),
    )
    options = dict(max_new_tokens=6, num_beams=beams, forced_eos_token_id=None, eos_token_id=None)
    options |= dict(return_dict_in_generate=True, output_scores=True)
    write = (
        compiled(model, **options)
        if way == "traced"
        else functools.partial(generate, model, fixed_width=True, **options)
    )
    source = [7, 11, 4]
    scores = lambda **arrays: np.stack(write(**arrays).scores).reshape(6, -1, beams, 31)
    single = scores(input_ids=np.array([source]))
    rows = np.full((3, 5), 9)
    mask = np.array(list(SIDES.values()))
    rows[mask > 0] = source * 3
    np.testing.assert_allclose(
        scores(input_ids=rows, attention_mask=mask), single.repeat(3, 1), rtol=1e-5, atol=1e-5
    )
    rows[mask == 0] = model.config.pad_token_id
    np.testing.assert_allclose(scores(input_ids=rows), single.repeat(3, 1), rtol=1e-5, atol=1e-5)
    read = scores(input_ids=rows, attention_mask=np.ones_like(mask))
    assert np.abs(read - single)[:1].max() > 1e-2  # the control: padding taken for text


@pytest.mark.parametrize("beams", [1, 2])
def test_under_jit_a_row_without_text_stays_empty(beams):
    _, model = language(1)
    ids, mask = np.array([[1, 4, 2], [1, 4, 2]]), np.array([[0, 1, 1], [0, 0, 0]])
    write = compiled(model, max_new_tokens=4, num_beams=beams)
    output = write(input_ids=ids, attention_mask=mask)
    assert output[1, 3:].tolist() == [PAD] * 4
    single = generate(model, input_ids=ids[:1, 1:], max_new_tokens=4, num_beams=beams)
    assert output[0, 3:].tolist() == single[0, 2:].tolist()


@pytest.mark.parametrize(
    "how", [{}, {"do_sample": True, "key": jax.random.key(0)}, {"num_beams": 2}]
)
def test_under_jit_a_row_with_an_id_out_of_range_generates_padding(how):
    config = tj.GPT2Config(vocab_size=31, n_positions=32, n_embd=16, n_layer=1, n_head=2,
                           eos_token_id=1, pad_token_id=7)  # fmt: skip
    model = tj.from_config(config, head="causal_lm", key=jax.random.key(3))
    write = compiled(model, max_new_tokens=4, **how)
    output = write(input_ids=np.array([[5, 31, 9], [5, 6, 9]]))
    assert output[0, 3:].tolist() == [7] * 4
    whole = write(input_ids=np.array([[5, 6, 9], [5, 6, 9]]))
    assert output[1].tolist() == whole[1].tolist()
    assert whole[0, 3:].tolist() != [7] * 4  # the control


def test_a_traced_mask_that_may_be_additive_is_refused():
    _, model = language(1)
    with pytest.raises(ValueError, match=r"attention_mask must hold integers.*float32"):
        compiled(model)(input_ids=np.array([[1, 2]]), attention_mask=np.zeros((1, 2), np.float32))


def test_generate_runs_inside_jit():
    _, model = language(3)
    ids = np.array([[1, 4, 2], [5, 5, 1]])
    expected = generate(model, input_ids=ids, max_new_tokens=5, fixed_width=True)
    inside = jax.jit(lambda ids: generate(model, input_ids=ids, max_new_tokens=5, fixed_width=True))
    np.testing.assert_array_equal(inside(ids), expected)
    with pytest.raises(ValueError, match="fixed_width=True"):
        jax.jit(lambda ids: generate(model, input_ids=ids, max_new_tokens=5))(ids)


def test_calls_of_one_bucket_share_a_program():
    _, model = language(3)
    count = generation._run._cache_size

    def call(length, **options):
        generate(model, input_ids=np.full((11, length), 1), **options)
        return count()

    first = call(3, max_new_tokens=5, repetition_penalty=1.3)
    assert call(16, max_new_tokens=5, repetition_penalty=1.3) == first  # another prompt length
    assert call(7, max_new_tokens=100, repetition_penalty=1.3) == first  # another number of tokens
    assert call(7, max_length=20, repetition_penalty=1.9) == first  # another penalty
    _, other = language(8)
    generate(other, input_ids=np.full((11, 4), 1), max_new_tokens=5, repetition_penalty=1.3)
    assert count() == first  # other parameters: they are arguments
    assert call(17, max_new_tokens=5, repetition_penalty=1.3) == first + 1  # another bucket
    assert call(3, max_new_tokens=5) == first + 2  # other processors


def test_buckets():
    widths = [1, 16, 17, 128, 129, 256, 257, 513]
    assert [bucket(w, 16, 256) for w in widths] == [16, 16, 32, 128, 256, 256, 512, 768]


def test_the_output_holds_the_scores_that_were_compared():
    table, model = language(5)
    out = generate(
        model,
        input_ids=np.array([[1, 4]]),
        max_new_tokens=4,
        suppress_tokens=[2],
        return_dict_in_generate=True,
        output_scores=True,
    )
    assert len(out.scores) == 4
    assert out.scores[0].shape == (1, V)
    history = [1, 4]
    for step, token in zip(out.scores, out["sequences"][0, 2:].tolist()):
        expected = table[sum(history) % 5, history[-1]].copy()
        expected[2] = -np.inf
        np.testing.assert_allclose(step[0], expected, rtol=1e-6)
        history.append(token)
    assert "sequences_scores" not in dict(out.items())


def test_an_encoder_decoder_starts_with_its_start_token():
    table, model = language(6, is_encoder_decoder=True, decoder_start_token_id=2)
    source = np.array([[1, 4, 6], [5, PAD, PAD]])
    mask = np.array([[1, 1, 1], [1, 0, 0]])
    ids = generate(model, input_ids=source, attention_mask=mask, max_new_tokens=5)
    for row, total in enumerate([11, 5]):
        history = [2]
        for _ in range(5):
            history.append(int(log_probabilities(table, history, total).argmax()))
        assert ids[row].tolist() == history
    # without a mask, trailing pad tokens of the source are padding
    np.testing.assert_array_equal(generate(model, input_ids=source, max_new_tokens=5), ids)
    encoded = model.encode(input_ids=source, attention_mask=mask)
    again = generate(model, encoder_outputs=encoded, attention_mask=mask, max_new_tokens=5)
    np.testing.assert_array_equal(again, ids)


def test_a_decoder_prompt_gets_the_start_token_in_front():
    _, model = language(6, is_encoder_decoder=True, decoder_start_token_id=2)
    source = np.array([[1, 4, 6]])
    free = generate(model, input_ids=source, max_new_tokens=5)
    for given in (free[:, :3], free[:, 1:3]):
        ids = generate(model, input_ids=source, decoder_input_ids=given, max_new_tokens=3)
        np.testing.assert_array_equal(ids, free)


def small_decoder():
    config = tj.GPT2Config(vocab_size=31, n_positions=16, n_embd=8, n_layer=1, n_head=2,
                           bos_token_id=None, eos_token_id=None)  # fmt: skip
    return tj.from_config(config, head="causal_lm", key=jax.random.key(0))


def test_what_a_model_has_positions_for_is_said(caplog):
    model = small_decoder()
    for count in (16, 17):
        with pytest.raises(ValueError, match="shorten the prompt to 15 tokens or fewer"):
            tj.generate(model, [[5] * count])
    assert tj.generate(model, [[5] * 16], max_new_tokens=0).shape == (1, 16)
    assert tj.generate(model, [[5] * 15], pad_token_id=0).shape == (1, 16)
    assert "the model has 16 positions: 1 new tokens, not 20" in caplog.text
    tj.generate(model, [[5]], max_new_tokens=1, early_stopping=True, pad_token_id=0)
    assert "early_stopping: without effect unless num_beams > 1" in caplog.text


def test_texts_and_single_rows_are_refused_with_what_to_pass():
    model = small_decoder()
    with pytest.raises(ValueError, match="give texts as texts= with tokenizer="):
        tj.generate(model, "Return the")
    with pytest.raises(ValueError, match=r"a row is a batch of one: \[row\]"):
        tj.generate(model, [5, 6])
