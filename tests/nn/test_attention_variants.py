"""Attentions of other scores: each is a value in one slot, under the masks and the cache of all."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax import spec
from transformers_jax.graph import CAUSAL, FULL, Near, connect, sequence
from transformers_jax.nn.attend import reference
from transformers_jax.nn.attend.score import Weighting
from transformers_jax.nn.attention import Attention, AttentionSpec
from transformers_jax.nn.operation import Source
from transformers_jax.nn.param import bind, initialise, params
from transformers_jax.nn.stack import Stack
from transformers_jax.spec import Branch, Execution, StackSpec

B, T, D, H, K = 2, 7, 12, 3, 4
PLAIN = AttentionSpec(H, K, mask=CAUSAL)
VARIANTS = {
    "gram": {"projection": "none", "bias": ("value", "out")},
    "shared": {"projection": "shared", "bias": ("query", "value", "out")},
    "additive": {"score": spec.Additive()},
    "linear": {"score": spec.Kernel()},
    "both": {"score": spec.Kernel(), "projection": "shared", "bias": ("query",)},
}


def attention(width=D, **changes):
    """The module of an attention, with parameters that are large enough to matter."""
    return initialise(
        Attention(replace(PLAIN, **changes), width, spec.Initial(0.4)), jax.random.key(0)
    )


def tokens(seed=0, length=T):
    return np.random.default_rng(seed).normal(size=(B, length, D)).astype(np.float32)


def weights(module, x, mask=FULL, how="reference"):
    edges = connect(mask, sequence(x.shape[1]))
    return module(x, edges, how=how, with_weights=True).weights


def softmax(x):
    exps = np.exp(x - x.max(-1, keepdims=True))
    return exps / exps.sum(-1, keepdims=True)


# ---------------------------------------------------------------- projections


def test_without_a_projection_scores_are_the_gram_matrix_of_the_tokens():
    module, x = attention(projection="none"), tokens()
    assert set(params(module)) == {"value", "out"}
    heads = x.reshape(B, T, H, K)
    gram = np.einsum("bthk,bshk->bhts", heads, heads)
    np.testing.assert_allclose(gram, gram.swapaxes(2, 3))
    np.testing.assert_allclose(weights(module, x), softmax(gram / K**0.5), atol=2e-6)
    separate = weights(attention(), x)  # the control
    assert np.abs(separate - softmax(gram / K**0.5)).max() > 0.1


def test_a_shared_projection_is_a_key_that_has_the_weights_of_the_query():
    module, two, x = attention(projection="shared"), attention(), tokens()
    assert set(params(module)) == {"query", "value", "out"}
    one = params(module)
    same = bind(two, {**one, "key": one["query"]})
    np.testing.assert_array_equal(weights(module, x), weights(same, x))
    assert np.abs(weights(module, x) - weights(two, x)).max() > 0.1  # the control: two matrices


@pytest.mark.parametrize("projection", ["none", "shared"])
def test_where_keys_are_queries_a_token_attends_most_to_itself(projection):
    """By Cauchy and Schwarz, if the vectors are equally long; two matrices are free of it."""
    x, norm = tokens(), spec.RMSNorm(1e-6)
    highest = lambda module: np.asarray(weights(module, x)).argmax(-1)
    own = np.broadcast_to(np.arange(T), (B, H, T))
    assert (highest(attention(projection=projection, norm=norm)) == own).all()
    assert (highest(attention(norm=norm)) != own).mean() > 0.5  # the control


@pytest.mark.parametrize("name", VARIANTS)
def test_masks_and_engines_are_those_of_all(name):
    """The same along any mask by the plain matrix and by tiles, values and gradients."""
    module, x = attention(**VARIANTS[name]), tokens(1, 70)
    own = params(module)
    for mask in (CAUSAL, CAUSAL & Near(left=9), ~CAUSAL & Near(5, 5)):
        edges = connect(mask, sequence(70))

        def loss(own, x, how, edges=edges):
            return jnp.sin(bind(module, own)(x, edges, how=how).x).sum()

        one, other = (jax.grad(loss, (0, 1))(own, x, how) for how in ("reference", "tiled"))
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=3e-5), one, other
        )


MISFITS = {
    r"projection of an attention is 'one'; not 'separate', 'shared', 'none'": {"projection": "one"},
    r"projection='shared': keys have no projection .* bias=\('key',\) needs; leave it out": {
        "projection": "shared",
        "bias": ("key",),
    },
    r"bias=\('query', 'out'\) needs": {"projection": "none", "bias": ("query", "out")},
    r"kv_heads=1 of 3 heads needs": {"projection": "none", "kv_heads": 1},
    r"source=5 needs": {"projection": "shared", "source": 5},
    r"Disentangled\(shared=True\) needs": {
        "projection": "shared",
        "score": spec.Disentangled(4, shared=True),
    },
}


@pytest.mark.parametrize("message", MISFITS)
def test_what_needs_a_projection_of_keys_is_refused_without(message):
    with pytest.raises(ValueError, match=message):
        replace(PLAIN, **MISFITS[message])


def test_tokens_that_are_queries_fill_their_heads():
    expected = r"3 heads of 4 of a stream of 13: heads times kv must be that width"
    with pytest.raises(ValueError, match=expected):
        attention(13, projection="none")
    attention(13, projection="shared")  # the advice


def test_descriptions_and_flops_say_what_is_not_multiplied():
    described = {name: replace(PLAIN, projection=name).describe() for name in ("shared", "none")}
    assert described["shared"] == "3 heads of 4, queries and keys by one projection"
    of = lambda score: replace(PLAIN, score=score).describe()
    assert of(spec.Additive()) == "3 heads of 4, additive scores"
    assert of(spec.Kernel()) == "3 heads of 4, linear"
    assert described["none"] == "3 heads of 4, tokens as queries and keys"
    counts = [
        replace(PLAIN, projection=name).flops(D, T, T, lambda mask: T * T).projections
        for name in ("separate", "shared", "none")
    ]
    matrix = 2.0 * T * D * H * K
    assert counts == [4 * matrix, 3 * matrix, 2 * matrix]


# ---------------------------------------------------------------- scores


def elu(x):
    return np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1)


@pytest.mark.parametrize("groups", [H, 1])
def test_additive_and_linear_weights_are_those_of_their_papers(groups):
    """v . tanh(q + k) in the softmax (Bahdanau et al. 2014, A.1.2), and the share of
    phi(q) . phi(k) (Katharopoulos et al. 2020, equation 4)."""
    x = tokens()

    def parts(score):
        module = attention(kv_heads=groups, score=score)
        q, k = np.asarray(module.queries(x)), np.asarray(module.project(x)[0])
        return module, q[:, :, None], np.repeat(k, H // groups, 2)[:, None]

    module, q, k = parts(spec.Additive())
    scores = np.einsum("btshk,hk->bhts", np.tanh(q + k), params(module)["score"]["vector"])
    np.testing.assert_allclose(weights(module, x), softmax(scores), atol=2e-6)
    module, q, k = parts(spec.Kernel())
    products = np.einsum("btshk,btshk->bhts", *np.broadcast_arrays(elu(q) + 1, elu(k) + 1))
    shares = products / products.sum(-1, keepdims=True)
    np.testing.assert_allclose(weights(module, x), shares, atol=2e-6)
    scaled = np.einsum("btshk,btshk->bhts", *np.broadcast_arrays(q, k)) / K**0.5
    assert np.abs(shares - softmax(scaled)).max() > 0.1  # the control


@pytest.mark.parametrize("score", [spec.Additive(), spec.Kernel()], ids=str)
def test_they_are_scores_of_cross_attention_too(score):
    """Where additive scores began: a decoder that attends to what an encoder read."""
    branch = Branch("cross", AttentionSpec(H, K, score=score), source="encoder")
    stack = initialise(Stack(StackSpec(D, ((branch,),), initial=spec.Initial(0.4)), Execution()),
                       jax.random.key(0))  # fmt: skip
    x, source = tokens(), tokens(1, 9)
    got = stack(x, sequence(T), sources={"encoder": Source(source, sequence(9))}).x - x
    own = attention(mask=FULL, score=score)
    own = bind(own, jax.tree.map(lambda leaf: leaf[0], params(stack)["blocks"]["0"]["cross"]))
    edges = connect(FULL, sequence(T), sequence(9))
    np.testing.assert_allclose(got, own(x, edges, source=source).x, atol=1e-5)
    with pytest.raises(ValueError, match="its score would not be computed there"):
        Branch("cross", AttentionSpec(H, K, score=spec.Buckets()), source="encoder")


def test_additive_scores_read_features_of_edges():
    op = replace(PLAIN, score=spec.Additive(features=("link", 3)))
    stack = initialise(
        Stack(StackSpec(D, ((Branch("self", op),),), initial=spec.Initial(0.4)), Execution()),
        jax.random.key(0),
    )
    links = np.random.default_rng(3).normal(size=(B, T, T, 3)).astype(np.float32)
    run = lambda links: stack(tokens(), sequence(T), pairs={"link": links}).x
    changed = links.copy()
    changed[:, 4, 2] += 1.0
    differs = np.abs(run(links) - run(changed)).max((0, 2)) > 1e-5
    np.testing.assert_array_equal(differs, np.arange(T) == 4)
    with pytest.raises(ValueError, match=r"scores read the features \['link'\] of edges"):
        stack(tokens(), sequence(T))


# ---------------------------------------------------------------- decoding


def decoder(name, **options):
    """A decoder of GPT-2's blocks with another attention."""

    class Changed(tj.GPT2Config):
        def spec(self, mask=None, cross=None):
            change = lambda op: (
                replace(op, **VARIANTS[name]) if isinstance(op, AttentionSpec) else op
            )
            return super().spec(mask, cross).with_ops(change)

    config = Changed(
        vocab_size=31, n_positions=32, n_embd=12, n_layer=2, n_head=3, initializer_range=0.3,
        eos_token_id=None,
    )  # fmt: skip
    return tj.from_config(config, head="causal_lm", key=jax.random.key(0), **options)


@pytest.mark.parametrize("name", VARIANTS)
def test_decoding_with_a_cache_is_the_forward_pass(name):
    model, ids = decoder(name), np.random.default_rng(0).integers(0, 31, (2, 11))
    whole, step = (
        model(input_ids=ids).logits,
        model(input_ids=ids[:, :6], cache=tj.init_cache(model, 2, 12)),
    )
    np.testing.assert_allclose(step.logits, whole[:, :6], rtol=1e-4, atol=2e-5)
    wrong = model(
        input_ids=ids[:, 7:8], cache=step.cache
    ).logits  # the control: a token is left out
    assert np.abs(wrong - whole[:, 7:8]).max() > 1e-2
    for t in range(6, 11):
        step = model(input_ids=ids[:, t : t + 1], cache=step.cache)
        np.testing.assert_allclose(step.logits, whole[:, t : t + 1], rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", VARIANTS)
def test_padding_changes_nothing_and_texts_are_continued(name):
    model, ids = decoder(name), np.random.default_rng(1).integers(1, 31, (2, 6))
    padded = np.concatenate([np.zeros((2, 3), int), ids], 1)
    there = np.concatenate([np.zeros((2, 3), int), np.ones((2, 6), int)], 1)
    short, wide = (
        tj.generate(model, input_ids=rows, max_new_tokens=5, **more)
        for rows, more in ((ids, {}), (padded, {"attention_mask": there}))
    )
    np.testing.assert_array_equal(short[:, 6:], wide[:, 9:])
    greedy = ids
    for _ in range(5):
        logits = model(input_ids=greedy).logits
        greedy = np.concatenate([greedy, np.asarray(logits[:, -1:].argmax(-1))], 1)
    np.testing.assert_array_equal(short, greedy)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_decoder_learns(name):
    """To say a word again that came four words before."""
    words = np.random.default_rng(2).integers(1, 31, (16, 4))
    ids = np.concatenate([words, words, words], 1)
    apply, weights = tj.functional(decoder(name))
    loss = lambda weights: apply(weights, input_ids=ids, labels=ids).loss
    step = jax.jit(lambda w: jax.tree.map(lambda a, g: a - 0.5 * g, w, jax.grad(loss)(w)))
    before = loss(weights)
    for _ in range(30):
        weights = step(weights)
    assert loss(weights) < 0.8 * before


# ---------------------------------------------------------------- the scale


def measured(width, scale, length=64, rows=8):
    """(variance of scores, mean entropy of weights, mean of p (1 - p)) of heads of `width` numbers:
    tokens of unit variance, and matrices drawn with variance 1 / D."""
    wide = 256
    spread = spec.Initial(wide**-0.5)
    op = AttentionSpec(2, width, scale=scale)
    module = initialise(Attention(op, wide, spread), jax.random.key(width))
    x = jax.random.normal(jax.random.key(1), (rows, length, wide))
    q, (k, _) = module.queries(x), module.project(x)
    edges = connect(FULL, sequence(length))
    weighting = Weighting(width**-0.5 if scale is None else scale)
    scores = reference.scores_of(q, k, edges, weighting)
    p = reference.weights_of(q, k, edges, weighting)
    entropy = -(p * jnp.log(jnp.maximum(p, 1e-30))).sum(-1).mean()
    return float(scores.var()), float(entropy), float((p * (1 - p)).sum(-1).mean())


@pytest.mark.parametrize("width", [16, 64, 256])
def test_scores_have_unit_variance_with_the_scale_and_that_of_the_width_without(width):
    plain, scaled = measured(width, 1.0), measured(width, None)
    assert plain[0] == pytest.approx(width, rel=0.15)
    assert scaled[0] == pytest.approx(1.0, rel=0.15)
    assert scaled[1] > np.log(64) - 0.6  # of a normal score: half its variance is lost
    assert plain[1] < {16: 1.6, 64: 0.8, 256: 0.4}[width]
    assert plain[2] < scaled[2] / 1.5  # what the softmax lets through of a gradient
