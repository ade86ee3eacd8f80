"""Losses against hand-written ones, over micro-batches, and over a chunked vocabulary."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import transformers_jax as tj
from transformers_jax.nn.loss import IGNORED, cross_entropy, vocabulary_loss
from transformers_jax.nn.param import axes
from transformers_jax.nn.unembedding import Unembedding
from transformers_jax.objectives.losses import LOSSES, Loss, causal_lm, objective
from transformers_jax.objectives.metrics import means
from transformers_jax.optim import AdamW, Constant
from transformers_jax.training.state import init_state
from transformers_jax.training.step import make_step

B, T, D, V = 2, 7, 5, 23


def words(seed=0, dtype=jnp.float32, **options):
    rng = np.random.default_rng(seed)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), dtype)
    return Unembedding(draw(B, T, D), draw(V, D), draw(V), **options)


def labels(seed=1, top=V):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.integers(0, top, (B, T))).at[0, 2].set(IGNORED).at[1, :3].set(IGNORED)


OPTIONS = [
    {},
    {"smoothing": 0.1},
    {"z": 0.01},
    {"smoothing": 0.2, "z": 0.02, "vocab": 20},
]


def by_hand(words, labels, smoothing=0.0, z=0.0, vocab=V):
    """The textbook loss, in float64."""
    x, table, bias = (np.asarray(a, np.float64) for a in (words.features, words.table, words.bias))
    logits = x @ table.T + bias
    if words.softcap:
        logits = words.softcap * np.tanh(logits / words.softcap)
    logits = logits[..., :vocab]
    log_z = np.log(np.exp(logits).sum(-1))
    total = 0.0
    for position in np.argwhere(np.asarray(labels) != IGNORED):
        b, t = position
        logs = logits[b, t] - log_z[b, t]
        total += -(1 - smoothing) * logs[labels[b, t]] - smoothing * logs.mean()
        total += z * log_z[b, t] ** 2
    return total


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("chunk", [0, 4, 23, 100])
def test_the_loss_is_that_of_the_textbook(options, softcap, chunk):
    one, targets = words(softcap=softcap), labels(top=20)
    loss = vocabulary_loss(one, targets, chunk=chunk, **options)
    np.testing.assert_allclose(loss.total, by_hand(one, targets, **options), rtol=2e-6)
    assert float(loss.count) == (targets != IGNORED).sum()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_chunks_change_neither_loss_nor_gradients(options):
    one, targets = words(softcap=3.0), labels(top=20)

    def total(chunk):
        return jax.jit(
            jax.value_and_grad(lambda w: vocabulary_loss(w, targets, chunk=chunk, **options).total)
        )(one)

    (a, grads), (b, chunked) = total(0), total(5)
    np.testing.assert_allclose(a, b, rtol=1e-6)
    for x, y in zip(jax.tree.leaves(grads), jax.tree.leaves(chunked), strict=True):
        np.testing.assert_allclose(x, y, atol=2e-6)
        assert np.abs(x).max() > 0.1


def test_every_part_of_the_gradient_is_needed():
    """The control: another softcap, smoothing or vocabulary is another gradient."""
    targets = labels(top=20)

    def grad(softcap, **options):
        one = words(softcap=softcap)
        gradient = jax.grad(lambda w: vocabulary_loss(w, targets, chunk=5, **options).total)(one)
        return np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(gradient)])

    plain = grad(3.0)
    for other in (grad(None), grad(3.0, smoothing=0.1), grad(3.0, z=0.01), grad(3.0, vocab=20)):
        assert np.abs(plain - other).max() > 1e-2


def test_table_rows_beyond_the_vocabulary_do_not_count():
    one, targets = words(), labels(top=20)
    loud = Unembedding(one.features, one.table.at[20:].mul(50.0), one.bias)
    for chunk in (0, 4):
        find = lambda w, c=chunk: vocabulary_loss(w, targets, chunk=c, vocab=20).total
        assert float(find(one)) == float(find(loud))
        assert np.abs(jax.grad(find)(loud).table[20:]).max() == 0
        free = vocabulary_loss(loud, targets, chunk=chunk).total
        assert abs(float(free - find(loud))) > 1


@pytest.mark.parametrize("chunk", [0, 4])
def test_a_label_outside_the_vocabulary_is_not_a_number(chunk):
    for wrong, vocab in ((V, None), (-5, None), (20, 20)):
        targets = labels(top=20).at[0, 0].set(wrong)
        assert np.isnan(vocabulary_loss(words(), targets, chunk=chunk, vocab=vocab).total)
    empty = vocabulary_loss(words(), jnp.full((B, T), IGNORED), chunk=chunk)
    assert (float(empty.total), float(empty.count)) == (0, 0)


@pytest.mark.parametrize("chunk", [0, 4])
def test_labels_with_the_largest_logit_are_correct(chunk):
    one = words()
    best = one.logits().argmax(-1)
    assert float(vocabulary_loss(one, best, chunk=chunk).correct) == B * T
    assert float(vocabulary_loss(one, (best + 1) % V, chunk=chunk).correct) == 0


def test_wrong_settings_are_refused():
    for options, message in (
        ({"vocab": 24}, "between 1 and the 23 rows"),
        ({"chunk": -1}, "at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            vocabulary_loss(words(), labels(), **options)
    with pytest.raises(ValueError, match="shape of the tokens"):
        vocabulary_loss(words(), labels()[:, 1:])
    with pytest.raises(ValueError, match="smoothing"):
        Loss(smoothing=1.0)
    with pytest.raises(ValueError, match="the objectives are causal_lm, masked_lm"):
        objective("causal")
    with pytest.raises(ValueError, match="head computes the loss"):
        objective("supervised", Loss(z=1e-4))


def test_memory_does_not_depend_on_the_vocabulary():
    """Temporary bytes beyond the gradients of the table, as compiled."""

    def temporary(vocab, chunk):
        shapes = Unembedding(
            jax.ShapeDtypeStruct((4, 64, 32), jnp.float32),
            jax.ShapeDtypeStruct((vocab, 32), jnp.float32),
        )
        targets = jax.ShapeDtypeStruct((4, 64), jnp.int32)
        grad = jax.grad(lambda w, y: vocabulary_loss(w, y, chunk=chunk).total)
        return jax.jit(grad).lower(shapes, targets).compile().memory_analysis().temp_size_in_bytes

    small, large, row = temporary(4096, 512), temporary(32768, 512), 4 * 32
    assert large - small <= 2 * row * (32768 - 4096)  # a copy of the table's gradient at most
    logits = 4 * 4 * 64 * (32768 - 4096)
    assert temporary(32768, 0) - temporary(4096, 0) >= logits  # the control: all at once does


# ---------------------------------------------------------------- objectives

IDS = np.arange(4 * 12).reshape(4, 12) * 7 % 37


@pytest.fixture(scope="module")
def gpt():
    rates = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    sizes = dict(n_layer=1, n_head=2, n_embd=16, n_positions=32, vocab_size=37)
    config = tj.GPT2Config(**sizes, **rates)
    return tj.from_config(config, head="causal_lm", key=jax.random.key(0))


@pytest.fixture(scope="module")
def bert():
    config = tj.BertConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        vocab_size=37,
        max_position_embeddings=16,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return lambda head: tj.from_config(config, head=head, key=jax.random.key(0))


def masked(rows=4):
    rng = np.random.default_rng(3)
    targets = np.where(rng.random((rows, 12)) < 0.3, IDS[:rows], IGNORED)
    targets[0], targets[1, :6] = IGNORED, IDS[1, :6]  # rows of different weight, one without any
    return {"input_ids": IDS[:rows], "labels": targets}


def test_the_masked_lm_loss_is_that_of_the_head(bert):
    model, batch = bert("masked_lm"), masked()
    loss, metrics = objective("masked_lm")(model, batch, None)
    np.testing.assert_allclose(loss, model(**batch).loss, rtol=1e-5)
    assert float(metrics["loss"][1]) == (batch["labels"] != IGNORED).sum()
    logits = np.asarray(model(input_ids=batch["input_ids"]).logits)
    right = (logits.argmax(-1) == batch["labels"]).sum()
    assert float(metrics["accuracy"][0]) == right


def test_pretraining_is_the_sum_of_two_means(bert):
    model = bert("pretraining")
    batch = {**masked(), "next_sentence_label": np.array([0, 1, 1, 0])}
    loss, metrics = objective("pretraining")(model, batch, None)
    np.testing.assert_allclose(loss, model(**batch).loss, rtol=1e-5)
    np.testing.assert_allclose(means(metrics)["loss"], loss, rtol=1e-6)
    parts = sum(total / count for total, count in metrics["loss"].values())
    np.testing.assert_allclose(parts, loss, rtol=1e-6)


@pytest.mark.parametrize("family", ["bert", "albert"])
def test_pairs_of_sentences_have_one_label_per_row(bert, family):
    """Any shape is refused with the error of the head, eager, traced and by a step."""
    model, loss_function = bert("pretraining"), objective("pretraining")
    if family == "albert":
        sizes = dict(vocab_size=37, embedding_size=8, hidden_size=16, num_hidden_layers=1)
        sizes |= dict(num_attention_heads=2, intermediate_size=32, max_position_embeddings=16)
        config = tj.AlbertConfig(**sizes)
        model = tj.from_config(config, head="pretraining", key=jax.random.key(0))
    optimizer = optax.sgd(0.1)
    state = jax.eval_shape(lambda: tj.init_state(model, optimizer, jax.random.key(0)))
    steps = [tj.make_step(model, loss_function, optimizer, accumulate=n) for n in (1, 2, 4)]
    for wrong in (np.int32([1]), np.int32([0, 1]), np.zeros((4, 2), int), np.zeros((1, 4), int)):
        batch = {**masked(), "next_sentence_label": wrong}
        own = {**masked(), model.head.label: wrong}
        with pytest.raises(ValueError, match=r"expected \(4,\) for 4 rows of input") as error:
            model(**own)
        message = str(error.value).replace(model.head.label, "next_sentence_label")
        calls = [
            lambda b: loss_function(model, b, None),
            jax.jit(lambda b: loss_function(model, b, None)),
        ]
        calls += [functools.partial(step, state) for step in steps]
        calls += [lambda b, s=step: s(state, jax.tree.map(jnp.asarray, b)) for step in steps]
        for call in calls:
            with pytest.raises(ValueError) as error:  # noqa: PT011, the whole sentence is compared
                call(batch)
            assert str(error.value) == message
    with pytest.raises(ValueError, match="next_sentence_label must hold integers"):
        loss_function(model, {**masked(), "next_sentence_label": np.ones(4)}, None)
    for right in (np.array([0, 1, 1, 0]), np.array([[0], [1], [1], [0]]), [0, 1, 1, 0]):
        assert np.isfinite(
            loss_function(model, {**masked(), "next_sentence_label": right}, None)[0]
        )


def test_labels_are_never_stretched_over_rows():
    logits = jnp.zeros((4, 2))
    assert cross_entropy(logits, jnp.array([0, 1, 1, 0]))[1] == 4
    for wrong in (jnp.array([1]), jnp.array([[0, 1, 1, 0]])):
        with pytest.raises(ValueError, match=r"must have the shape \(4,\), of logits"):
            cross_entropy(logits, wrong)


def test_a_target_is_predicted_from_its_source():
    config = tj.T5Config(
        d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, vocab_size=37, dropout_rate=0.0
    )
    model = tj.from_config(config, head="seq2seq_lm", key=jax.random.key(0))
    batch = {"input_ids": IDS[:2], "labels": np.where(IDS[:2] % 5, IDS[:2], IGNORED)}
    loss, _ = objective("seq2seq_lm")(model, batch, None)
    np.testing.assert_allclose(loss, model(**batch).loss, rtol=1e-5)
    inputs = {**batch, "decoder_input_ids": np.roll(IDS[:2], 1, 1)}
    other, _ = objective("seq2seq_lm")(model, inputs, None)
    np.testing.assert_allclose(other, model(**inputs).loss, rtol=1e-5)
    assert abs(float(loss - other)) > 1e-4


def test_tags_are_cut_like_the_ids(gpt):
    tags = {"position": np.tile(np.arange(12), (4, 1))}
    plain, _ = causal_lm(gpt, {"input_ids": IDS}, None)
    tagged, _ = causal_lm(gpt, {"input_ids": IDS, "tags": tags}, None)
    assert float(plain) == float(tagged)
    moved, _ = causal_lm(gpt, {"input_ids": IDS, "tags": {"position": tags["position"] + 3}}, None)
    assert abs(float(moved - plain)) > 1e-5


def test_how_a_loss_is_computed_reaches_it(gpt):
    plain, _ = objective("causal_lm")(gpt, {"input_ids": IDS}, None)
    chunked, _ = objective("causal_lm", Loss(chunk=8))(gpt, {"input_ids": IDS}, None)
    np.testing.assert_allclose(plain, chunked, rtol=1e-6)
    smooth, metrics = objective("causal_lm", Loss(smoothing=0.1, z=1e-2))(
        gpt, {"input_ids": IDS}, None
    )
    assert abs(float(smooth - plain)) > 1e-3
    entropy, count = metrics["cross_entropy"]
    np.testing.assert_allclose(entropy / count, plain, rtol=1e-6)
    assert float(metrics["z_loss"][0]) > 0


@pytest.mark.parametrize("name", ["causal_lm", "pretraining"])
def test_micro_batches_make_the_gradient_of_the_whole_batch(gpt, bert, name):
    """To 1e-6, whatever the labels of each: a sum of means is weighed part by part."""
    model = gpt if name == "causal_lm" else bert("pretraining")
    batch = masked()
    if name == "pretraining":
        batch["next_sentence_label"] = np.array([0, 1, 1, 0])
    optimizer = AdamW(peak=1e-3, schedule=Constant(0)).build(axes(model), 10)

    def run(accumulate, loss_function):
        step = make_step(model, loss_function, optimizer, accumulate=accumulate, clip=None)
        state, metrics = step(init_state(model, optimizer, jax.random.key(1)), batch)
        return [x for x in jax.tree.leaves(state.opt) if x.ndim], metrics

    (whole, one), (parts, two) = run(1, objective(name)), run(2, objective(name))
    np.testing.assert_allclose(one["loss"], two["loss"], rtol=1e-6)
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7)
    if name == "pretraining":  # the control: weighed by one of its parts, it is another gradient

        def by_words(model, batch, key):
            loss, metrics = LOSSES[name](model, batch, key)
            count = metrics["loss"]["masked_lm"][1]
            return loss, {"loss": (loss * count, count)}

        wrong, _ = run(2, by_words)
        assert max(np.abs(a - b).max() for a, b in zip(whole, wrong, strict=True)) > 1e-5


def test_the_pair_of_electra_reports_its_parts():
    class Output:
        generator_loss, discriminator_loss = jnp.float32(2.0), jnp.float32(0.5)
        loss, masked_count, token_count = jnp.float32(27.0), jnp.int32(3), jnp.int32(20)
        loss_terms = {
            "generator_loss": (jnp.float32(6), jnp.float32(3)),
            "discriminator_part": (jnp.float32(500), jnp.float32(20)),
        }

    loss_function = objective("replaced_token")
    loss, metrics = loss_function(lambda **inputs: Output, {"input_ids": IDS}, None)
    assert float(loss) == 27
    averages = means(metrics)
    assert {name: float(value) for name, value in averages.items()} == {
        "loss": 27, "generator_loss": 2, "discriminator_part": 25, "discriminator_loss": 0.5
    }  # fmt: skip
    with pytest.raises(ValueError, match="computes its own losses"):
        functools.partial(LOSSES["replaced_token"], loss=Loss(z=1.0))(None, {}, None)
