"""Indices out of range give NaN in a compiled program, in every family, never another row's values.

JAX counts a negative index from the end, clamps one that is too large, and moves a slice back to
where it fits. Concrete inputs are refused by a check; these laws are of what is traced.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import transformers_jax as tj
from tests.laws.families.conftest import CONFIGS, quick
from transformers_jax import CAUSAL, Near
from transformers_jax.nn.embed import rows
from transformers_jax.nn.head.classify import labels_of
from transformers_jax.nn.loss import cross_entropy, token_log_probs, vocabulary_loss
from transformers_jax.nn.sinusoidal import Sinusoids, sinusoids
from transformers_jax.nn.unembedding import Unembedding


def lookups(model, ids):
    """(inputs of a call, {argument: how many ids it has}) of everything that is looked up."""
    inputs, sizes = {"input_ids": ids}, {"input_ids": 53}
    embed = model.embed.spec
    if model.is_encoder_decoder:
        inputs["decoder_input_ids"], sizes["decoder_input_ids"] = ids[:, ::-1], 53
        return inputs, sizes
    if embed.types:
        inputs["token_type_ids"] = jnp.zeros_like(ids)
        sizes["token_type_ids"] = 53 if embed.types == "words" else embed.types
    if isinstance(embed.positions, int):
        inputs["position_ids"] = jnp.broadcast_to(jnp.arange(ids.shape[1]), ids.shape)
        sizes["position_ids"] = embed.positions
    return inputs, sizes


@pytest.mark.parametrize("family", quick(CONFIGS))
def test_an_id_out_of_range_gives_nan_in_its_own_row_only(family, tiny, ids):
    model = tiny(family)
    inputs, sizes = lookups(model, ids[:, :7])
    run = jax.jit(lambda inputs: model(**inputs).logits)
    whole = run(inputs)
    assert np.isfinite(whole).all()
    for name, size in sizes.items():
        padding = name == "position_ids" and model.embed.spec.unpadded  # at -1
        for wrong in (-2 if padding else -1, -size, size):
            logits = run({**inputs, name: inputs[name].at[0, 3].set(wrong)})
            assert np.isnan(logits[0]).any(), f"{name}={wrong} is read as another"
            if family != "switch_transformers":  # rows share the room of the experts
                np.testing.assert_array_equal(logits[1], whole[1])


@pytest.mark.parametrize("family", ["bart", "m2m_100", "roberta"])
def test_a_position_before_the_first_is_not_the_row_before_the_table_s_first(family, tiny, ids):
    model, ids = tiny(family), ids[:, :7]
    two = model.is_encoder_decoder
    positions = jnp.broadcast_to(jnp.arange(7), ids.shape)
    token_inputs = {"input_ids": ids, **({"decoder_input_ids": ids} if two else {})}
    run = jax.jit(lambda tag: model(**token_inputs, tags={"position": tag}).logits)
    assert np.isfinite(run(positions)).all()
    for wrong in (-2, -3) if family == "m2m_100" else (-2, 37):  # sinusoids have no end
        assert np.isnan(run(positions.at[0, 3].set(wrong))[0]).any()


def test_a_decoder_whose_padding_has_a_position_takes_it_and_no_other_before_the_first(tiny, ids):
    model, ids = tiny("opt"), ids[:, :7]
    mask = np.ones_like(ids)
    mask[0, :3] = 0
    positions = np.cumsum(mask, 1) * mask - 1
    counted = model(input_ids=ids, attention_mask=mask).logits
    given = model(input_ids=ids, attention_mask=mask, position_ids=positions).logits
    np.testing.assert_array_equal(given, counted)
    positions[0, 0] = -2
    with pytest.raises(ValueError, match=r"position_ids\[0, 0\] is -2, outside the .*\[-1, "):
        model(input_ids=ids, attention_mask=mask, position_ids=positions)


def test_in_range_a_lookup_and_its_gradient_are_plain_indexing():
    rng = np.random.default_rng(0)
    table = jnp.asarray(rng.normal(size=(300, 5)), jnp.float32)
    for kind in (np.int8, np.uint8, np.int16, np.int32, np.uint32):
        ids = rng.integers(0, 100, (3, 7)).astype(kind)
        np.testing.assert_array_equal(jax.jit(rows)(table, ids), table[ids.astype(int)])
    expected = jax.grad(lambda t: jnp.sin(t[ids.astype(np.int32)]).sum())(table)
    np.testing.assert_array_equal(jax.grad(lambda t: jnp.sin(rows(t, ids)).sum())(table), expected)
    for kind in (np.int8, np.int16, np.int32):
        assert np.isnan(jax.jit(rows)(table, np.array([[-1, -100]], kind))).all()
    kind = Sinusoids(rows=9)
    assert np.isnan(sinusoids(kind, 6, jnp.array([[-1, 9]]))).all()
    assert np.isfinite(sinusoids(kind, 6, jnp.array([[0, 8]]))).all()


# ---------------------------------------------------------------- labels

PER_TOKEN, PER_ROW = (2, 6), (2,)
LABELS = {  # head: (argument, its shape, how many classes)
    "masked_lm": ("labels", PER_TOKEN, 53),
    "token_classification": ("labels", PER_TOKEN, 3),
    "sequence_classification": ("labels", PER_ROW, 3),
    "next_sentence": ("labels", PER_ROW, 2),
}


@pytest.mark.parametrize("head", LABELS)
def test_a_label_out_of_range_makes_the_loss_nan(head, tiny, ids):
    model = tiny("bert", head, num_labels=3)
    name, shape, count = LABELS[head]
    run = jax.jit(lambda labels: model(input_ids=ids[:, :6], **{name: labels}).loss)
    right = np.ones(shape, np.int32)
    for label, fits in ((count - 1, True), (-100, True), (count, False), (-1, False), (-5, False)):
        wrong = right.copy()
        wrong.flat[1] = label
        assert np.isfinite(run(wrong)) == fits, label


def test_a_token_is_replaced_or_not(tiny, ids):
    model = tiny("electra", "replaced_token")
    run = jax.jit(lambda labels: model(input_ids=ids[:, :6], labels=labels).loss)
    for label, fits in ((0, True), (1, True), (-100, True), (2, False), (-1, False)):
        assert np.isfinite(run(np.full(PER_TOKEN, 1, np.int32) * label)) == fits, label


def test_an_end_beyond_the_row_is_ignored_as_in_the_reference(tiny, ids):
    model = tiny("bert", "question_answering")
    run = jax.jit(
        lambda start: model(input_ids=ids, start_positions=start, end_positions=start).loss
    )
    both = run(np.array([2, 13]))
    np.testing.assert_allclose(both, run(np.array([2, 99])))
    assert np.isfinite(both)


QUESTIONS = {"bert": (2, 9), "big_bird": (9, 2)}


@pytest.mark.parametrize("family", QUESTIONS)
def test_an_answer_position_outside_the_row_is_ignored(family, tiny, ids):
    model = tiny(family, "question_answering")
    more = {"question_lengths": np.array([1, 1])} if family == "big_bird" else {}
    positions = lambda start, end: {"start_positions": start, "end_positions": end, **more}
    run = jax.jit(lambda *both: model(input_ids=ids[:, :12], **positions(*both)).loss)
    end = np.array([3, 4])
    one = [float(run(np.array([2, beyond]), end)) for beyond in (12, 99, -100)]
    np.testing.assert_allclose(one, one[0], rtol=1e-6)
    assert abs(one[0] - run(np.array([2, 0]), end)) > 1e-5  # the control: in the row
    assert run(np.array([-100, -100]), np.array([-100, -100])) == 0
    assert model(input_ids=ids[:, :12], **positions([2, -100], [3, -100])).loss > 0
    for wrong in (-1, -99, -101, -(2**31)):
        assert np.isnan(run(np.array([2, wrong], np.int32), end)), wrong
        with pytest.raises(ValueError, match=rf"start_positions\[1\] is {wrong}; .* or -100"):
            model(input_ids=ids[:, :12], **positions([2, wrong], end))


def test_answers_that_are_ignored_weigh_nothing_in_micro_batches(tiny, ids):
    still = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model, optimizer = tiny("bert", "question_answering", **still), optax.sgd(0.1)
    batch = {
        "input_ids": ids[:, :12],
        "start_positions": np.array([2, -100], np.int32),
        "end_positions": np.array([3, 5], np.int32),
    }
    results = []
    for count in (1, 2):
        step = tj.make_step(model, tj.supervised, optimizer, accumulate=count, clip=None)
        state, metrics = step(tj.init_state(model, optimizer, jax.random.key(1)), batch)
        results.append((metrics["loss"], state.params))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), *results)
    beyond = model(**{**batch, "start_positions": np.array([2, 99], np.int32)})
    np.testing.assert_allclose(results[0][0], beyond.loss, rtol=1e-4)
    counts = {name: float(count) for name, (_, count) in beyond.loss_terms.items()}
    assert counts == {"start_loss": 1, "end_loss": 2}


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.uint32])
def test_labels_of_a_narrow_dtype_do_not_wrap_into_the_classes(dtype):
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(2, 300)), jnp.float32)
    expected_loss = float(cross_entropy(logits, jnp.array([3, 100]))[0])
    labels = jnp.array([3, 100], dtype)
    np.testing.assert_allclose(cross_entropy(logits, labels)[0], expected_loss, rtol=1e-6)
    positions = np.array([3, 2**32 - 7 if dtype == np.uint32 else 100], dtype)
    # numbers beyond the row are ignored, none of them comes back into it
    expected = [3, -100] if dtype == np.uint32 else [3, 100]
    np.testing.assert_array_equal(labels_of(jnp.asarray(positions), 300), expected)
    if dtype == np.int8:
        assert np.isnan(cross_entropy(logits, jnp.array([3, -1], dtype))[0])


def test_a_class_that_is_minus_100_in_eight_bits_is_a_class():
    config = tj.GPT2Config(vocab_size=160, n_embd=8, n_layer=1, n_head=2, n_positions=8)
    model = tj.from_config(config, head="causal_lm", key=jax.random.key(0))
    ids = np.array([[3, 156, 156, 7]])
    loss = jax.jit(lambda labels: model(input_ids=ids, labels=labels).loss)
    np.testing.assert_allclose(loss(ids.astype(np.uint8)), loss(ids), rtol=1e-6)
    ignored = np.where(ids == 156, -100, ids)  # the control: they do count
    assert abs(loss(ignored) - loss(ids)) > 1e-3


@pytest.mark.parametrize("chunk", [0, 8])
def test_a_chunked_loss_and_a_score_are_nan_for_labels_outside_the_vocabulary(chunk):
    rng = np.random.default_rng(0)
    words = Unembedding(
        jnp.asarray(rng.normal(size=(1, 3, 4)), jnp.float32),
        jnp.asarray(rng.normal(size=(21, 4)), jnp.float32),
    )
    loss = jax.jit(lambda labels: vocabulary_loss(words, labels, chunk=chunk).total)
    score = jax.jit(lambda labels: token_log_probs(words, labels, chunk=chunk))
    for label, fits in ((20, True), (-100, True), (21, False), (-1, False), (-5, False)):
        labels = np.array([[3, label, 5]])
        assert np.isfinite(loss(labels)) == fits
        assert np.isfinite(score(labels)).tolist() == [[True, fits, True]]


# ---------------------------------------------------------------- caches


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_a_cache_written_beyond_its_size_gives_nan(family, tiny, ids):
    model = tiny(family)
    two = model.is_encoder_decoder
    source = {"encoder_outputs": model.encode(input_ids=ids)} if two else {}
    name = "decoder_input_ids" if two else "input_ids"
    run = jax.jit(lambda token, cache: model(**{name: token, "cache": cache}))
    cache, finite = tj.init_cache(model, 2, 4, **source), []
    for position in range(6):
        out = run(ids[:, position : position + 1], cache)
        cache = out.cache
        finite.append(np.isfinite(out.logits).all())
    assert finite == [True] * 4 + [False] * 2
    cache = run(ids[:, :1], tj.init_cache(model, 2, 4, **source)).cache
    out = run(ids[:, :4], cache)  # a chunk that does not fit is not written in part
    assert not np.isfinite(out.logits[:, -1]).any()


def test_a_ring_cache_drops_what_no_edge_reaches_however_long_it_runs(tiny, ids):
    mask = CAUSAL & Near(left=3)
    model = tiny("llama", mask=mask)
    run = jax.jit(lambda token, cache: model(input_ids=token, cache=cache))
    cache, logits = tj.init_cache(model, 2, 6), []
    for position in range(13):
        out = run(ids[:, position : position + 1], cache)
        cache = out.cache
        logits.append(out.logits[:, 0])
    whole = model(input_ids=ids).logits
    np.testing.assert_allclose(np.stack(logits, 1), whole, rtol=2e-5, atol=2e-5)
