"""The recurrent translator: padding, the bottleneck, beams, and additive scores as any others."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.models.base import Plan
from transformers_jax.models.recurrent import RecurrentConfig
from transformers_jax.nn.attend import Score
from transformers_jax.nn.param import bind, draw, params
from transformers_jax.nn.position import AdditiveRule
from transformers_jax.nn.recurrent import BothWays, Gru
from transformers_jax.spec import Initial

SIZES = dict(vocab_size=23, embedding_size=7, hidden_size=5, layers=1, init="torch")


def filled(module, seed=0):
    """The module with random numbers, biases too; NumPy's compile nothing."""
    rng = np.random.default_rng(seed)
    some = lambda leaf: jnp.asarray(0.5 * rng.normal(size=leaf.shape), jnp.float32)
    return bind(module, jax.tree.map(some, params(module)))


@pytest.fixture(scope="module")
def model():
    return filled(Plan(RecurrentConfig(**SIZES), "seq2seq_lm").build())


def rows(seed, *shape):
    return np.random.default_rng(seed).integers(2, 23, shape).astype(np.int32)


def test_a_gru_is_the_loop_over_its_equations():
    gru = filled(Gru(3, 4, Initial()))
    x = np.random.default_rng(1).normal(size=(2, 5, 3)).astype(np.float32)
    states, last = jax.jit(gru)(x)
    weights, memory = np.asarray(gru.input[...]), np.asarray(gru.memory[...])
    bias, hidden_bias = np.asarray(gru.input_bias[...]), np.asarray(gru.memory_bias[...])
    sigmoid = lambda a: 1 / (1 + np.exp(-a))
    h = np.zeros((2, 4))
    for t in range(5):
        r, z, n = (x[:, t] @ w + b for w, b in zip(weights, bias))
        u_r, u_z, u_n = (h @ u + c for u, c in zip(memory, hidden_bias))
        r, z = sigmoid(r + u_r), sigmoid(z + u_z)
        inside = n + (r * h) @ memory[2] + hidden_bias[2]
        h = (1 - z) * np.tanh(n + r * u_n) + z * h
        np.testing.assert_allclose(states[:, t], h, atol=1e-6)
    np.testing.assert_array_equal(last, states[:, -1])
    assert np.abs(inside - n - r * u_n).max() > 1e-2  # the control: r inside is another unit


def test_padding_is_not_read_from_either_end():
    both = filled(BothWays(3, 4, 2, Initial()))
    x = np.random.default_rng(1).normal(size=(2, 6, 3)).astype(np.float32)
    valid = np.arange(6) < 4
    valid = np.stack([valid, valid[::-1]])  # padded on the right, and on the left
    read = jax.jit(both)
    states, ends = read(x, valid)
    unpadded, expected = read(x[valid].reshape(2, 4, 3))
    np.testing.assert_allclose(states[valid], unpadded.reshape(8, 8), atol=1e-6)
    np.testing.assert_allclose(ends, expected, atol=1e-6)
    assert not states[~valid].any()
    all_valid = read(x, np.ones_like(valid))[1]
    assert np.abs(all_valid[1] - expected[1]).max() > 1e-3  # the control: read, it counts


def test_garbage_in_the_padding_changes_nothing(model):
    source, target = rows(0, 2, 9), rows(1, 2, 6)
    mask = np.ones((2, 9), np.int32)
    mask[1, 5:] = 0
    dirty = np.where(mask > 0, source, (source * 7) % 23)
    inputs = dict(source_mask=mask, target_ids=target)
    clean, same = (model(source_ids=ids, **inputs) for ids in (source, dirty))
    assert np.array_equal(clean.logits, same.logits)
    assert not np.asarray(clean.attention)[1, :, 5:].any()
    np.testing.assert_allclose(clean.attention.sum(-1), 1, atol=1e-6)
    assert not np.array_equal(model(source_ids=dirty, target_ids=target).logits, clean.logits)


def test_steps_with_a_memory_are_the_whole_row(model):
    source, target = rows(0, 2, 9), rows(1, 2, 6)
    encoded = model.encode(source)
    cache, logits = tj.init_cache(model, 2, 6, encoder_outputs=encoded), []
    for part in (target[:, :3], target[:, 3:4], target[:, 4:]):
        out = model(decoder_input_ids=part, cache=cache)
        cache, logits = out.cache, [*logits, out.logits]
    whole = model(source_ids=source, target_ids=target).logits
    np.testing.assert_allclose(np.concatenate(logits, 1), whole, atol=1e-6)
    reordered = cache.gather(jnp.array([1, 0]))
    after, before = (
        model(decoder_input_ids=rows(2, 1, 1).repeat(2, 0), cache=c) for c in (reordered, cache)
    )
    np.testing.assert_allclose(after.logits, before.logits[::-1], atol=1e-6)


def test_the_score_of_a_beam_is_the_log_probability_of_its_text(model):
    source = rows(0, 2, 9)
    beams = model.generate(
        input_ids=source,
        num_beams=3,
        max_new_tokens=5,
        eos_token_id=None,
        return_dict_in_generate=True,
    )
    target, written = beams.sequences[:, :-1], beams.sequences[:, 1:]
    chance = jax.nn.log_softmax(model(source_ids=source, target_ids=target).logits)
    each = np.take_along_axis(np.asarray(chance), np.asarray(written)[..., None], -1)[..., 0]
    np.testing.assert_allclose(beams.sequences_scores, each.mean(1), atol=1e-5)


def test_a_bottleneck_attends_to_one_node():
    config = RecurrentConfig(**{**SIZES, "context": "last"})
    model = filled(Plan(config, "seq2seq_lm").build())
    source = rows(0, 2, 9)
    out = model(source_ids=source, target_ids=rows(1, 2, 6))
    assert out.attention.shape == (2, 6, 1)
    assert (out.attention == 1).all()
    encoded = model.encode(source)
    middle = encoded.last_hidden_state.at[:, 1:-1].set(0)
    blind = {**encoded, "last_hidden_state": middle}
    again = model(encoder_outputs=blind, target_ids=rows(1, 2, 6))
    assert np.array_equal(again.logits, out.logits)


def test_additive_scores_agree_on_every_backend():
    B, T, S, H, G, K = 2, 5, 7, 4, 2, 3
    rng = np.random.default_rng(0)
    shapes = ((B, T, H, K), (B, S, G, K), (B, S, G, K), (H, K))
    q, k, v, vector = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    edges = tj.connect(tj.Near(2, 3), tj.sequence(T), tj.sequence(S))

    @functools.partial(jax.jit, static_argnums=0)
    def run(how, vector):
        """(messages, the gradient of their squares by the vector)."""

        def decode(vector):
            score = Score(AdditiveRule(), {"vector": vector})
            y = tj.attend(q, k, v, edges, scale=1.0, score=score, how=how)
            return jnp.square(y).sum(), y

        gradient, y = jax.grad(decode, has_aux=True)(vector)
        return y, gradient

    inner = np.tanh(q[:, :, None] + np.repeat(k, H // G, 2)[:, None])
    scores = np.einsum("hk,btshk->bhts", vector, inner)
    weights = np.where(np.asarray(edges.allowed())[:, None], np.exp(scores), 0)
    weights /= weights.sum(-1, keepdims=True)
    expected = np.einsum("bhts,bshu->bthu", weights, np.repeat(v, H // G, 2))
    (plain, gradient), (tiled, by_tiles) = (run(how, vector) for how in ("reference", "tiled"))
    np.testing.assert_allclose(plain, expected, atol=1e-5)
    np.testing.assert_allclose(tiled, expected, atol=1e-5)
    np.testing.assert_allclose(by_tiles, gradient, rtol=1e-4, atol=1e-5)
    assert np.abs(run("reference", 2 * vector)[0] - expected).max() > 1e-2  # the control


def test_initial_weights_are_those_of_the_paper():
    config = RecurrentConfig(**{**SIZES, "hidden_size": 40, "init": "bahdanau"})
    model = Plan(config, "seq2seq_lm").build()
    initial = lambda path: np.asarray(draw(model, path, jax.random.key(0)))
    for matrix in initial("encoder.backward.0.memory"):
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(40), atol=1e-5)
    assert not initial("attention.score.vector").any()
    assert abs(initial("attention.key").std() - 1e-3) < 1e-4
    assert abs(initial("embed.table").std() - 1e-2) < 1e-3


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (dict(target_ids=[[1]]), "give source_ids"),
        (dict(source_ids=[[23]], target_ids=[[1]]), r"source_ids\[0, 0\] is 23, outside"),
        (dict(source_ids=[[2]], target_ids=[[-1]]), r"target_ids\[0, 0\] is -1, outside"),
        (dict(source_ids=[[2]], target_ids=[[1], [2]]), "source_ids have 1 rows, target_ids 2"),
        (dict(source_ids=[[2]], source_mask=[[1, 1]], target_ids=[[1]]), "source_mask has shape"),
        (dict(source_ids=[[2]], target_ids=[[1]], labels=[[1, 2]]), "labels has shape"),
        (dict(source_ids=[[2]]), "give decoder_input_ids"),
    ],
)
def test_an_error_about_inputs_names_the_wrong_element(model, inputs, words):
    with pytest.raises(ValueError, match=words):
        model(**inputs)


def test_wrong_settings_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="context should be 'attention' or 'last'"):
        RecurrentConfig(**{**SIZES, "context": "first"})
    with pytest.raises(ValueError, match="mask has encoder"):
        tj.from_config(RecurrentConfig(**SIZES), mask={"encoder": tj.CAUSAL}, key=jax.random.key(0))


def test_own_means_the_whole_source_in_its_mask_too():
    sizes = dict(vocab_size=23, embedding_size=6, hidden_size=8)
    build = lambda mask: tj.from_config(
        tj.RecurrentConfig(**sizes), key=jax.random.key(0), mask=mask
    )
    ids = dict(input_ids=[[3, 4, 5, 6]], decoder_input_ids=[[1, 7, 8]])
    plain, own = build(None)(**ids).logits, build({"cross": tj.OWN})(**ids).logits
    assert np.array_equal(plain, own)
    behind = build({"cross": tj.CAUSAL})(**ids).logits  # the control: another mask counts
    assert np.abs(behind - plain).max() > 1e-7


def test_source_ids_next_to_encoder_outputs_must_match_them(model):
    ids, target = rows(0, 2, 5), rows(1, 2, 3)
    states = model.encode(input_ids=ids)
    np.testing.assert_array_equal(
        model(input_ids=ids, encoder_outputs=states, target_ids=target).logits,
        model(encoder_outputs=states, target_ids=target).logits,
    )
    for other in (ids[:, :4], ids[:1]):
        with pytest.raises(ValueError, match=r"source_ids have .* encoder_outputs are of \(2, 5\)"):
            model(input_ids=other, encoder_outputs=states, target_ids=target)
