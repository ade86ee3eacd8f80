"""Memory of earlier segments: one more source of keys, through whose states no gradient goes."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import transformers_jax as tj
from transformers_jax import spec
from transformers_jax.graph import CAUSAL, OWN, Block, Dense, Near, connect, sequence
from transformers_jax.nn.attention import Attention, AttentionSpec
from transformers_jax.nn.extend import drawn
from transformers_jax.nn.param import bind, initialise, params

B, T, D, H, K, SEGMENT = 2, 8, 12, 3, 4, 4
PLAIN = AttentionSpec(H, K, mask=CAUSAL)
SIZES = {"vocab_size": 16, "eos_token_id": None}
GPT2 = {**SIZES, "n_positions": 32, "n_embd": 24, "n_layer": 2, "n_head": 4}
LLAMA = {
    **SIZES,
    "hidden_size": 24,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "bos_token_id": None,
}
IDS = np.random.default_rng(1).integers(0, 16, (B, 14))


def family(base, extend=spec.Recurrence(SEGMENT)):
    """A family whose layers remember."""

    class Remembering(base):
        def spec(self, mask=None, **others):
            change = lambda op: replace(op, extend=extend) if isinstance(op, AttentionSpec) else op
            return super().spec(mask, **others).with_ops(change)

    return Remembering


def built(base, sizes, **options):
    return tj.from_config(base(**sizes), head="causal_lm", key=jax.random.key(0), **options)


@pytest.mark.parametrize("engine", ["reference", "tiled", "auto"])
@pytest.mark.parametrize("mask", [OWN, OWN & Near(5)], ids=str)
@pytest.mark.parametrize(("base", "sizes"), [(tj.GPT2Config, GPT2), (tj.LlamaConfig, LLAMA)])
def test_what_is_remembered_is_what_would_be_heard(base, sizes, mask, engine):
    options = {"mask": mask, "attention": engine}
    plain = built(base, sizes, **options)(input_ids=IDS).logits
    memory = built(family(base), sizes, **options)(input_ids=IDS).logits
    np.testing.assert_allclose(memory, plain, atol=2e-5)
    alone = built(base, sizes, **{**options, "mask": mask & Block(SEGMENT)})(input_ids=IDS).logits
    np.testing.assert_allclose(alone[:, :SEGMENT], plain[:, :SEGMENT], atol=2e-5)
    assert np.abs(alone[:, SEGMENT:] - plain[:, SEGMENT:]).max() > 1e-3  # the control: no memory


@pytest.mark.parametrize("mask", [OWN, OWN & Near(5)], ids=str)
@pytest.mark.parametrize(("base", "sizes"), [(tj.GPT2Config, GPT2), (tj.LlamaConfig, LLAMA)])
def test_a_step_with_the_cache_is_the_forward_pass(base, sizes, mask):
    model = built(family(base), sizes, mask=mask)
    whole = model(input_ids=IDS).logits
    cache, steps = tj.init_cache(model, B, 16), []
    for first, last in ((0, 7), (7, 8), (8, 14)):
        output = model(input_ids=IDS[:, first:last], cache=cache)
        cache, steps = output.cache, [*steps, output.logits]
    np.testing.assert_allclose(np.concatenate(steps, 1), whole, atol=2e-5)
    assert tj.generate(model, input_ids=IDS, max_new_tokens=3).shape == (B, 17)


# ------------------------------------------------------------ gradients


def layers(extend):
    """Two layers and their parameters."""
    draw = lambda n: initialise(
        Attention(replace(PLAIN, extend=extend), D, spec.Initial(0.5)), jax.random.key(n)
    )
    modules = [draw(number) for number in range(2)]
    return modules, [params(module) for module in modules]


def at_once(weights, x, extend=spec.Recurrence(SEGMENT)):
    """The loss of the last segment, of two layers that read the whole row."""
    modules, _ = layers(extend)
    mask, keys = drawn(extend, CAUSAL, sequence(T))
    for module, own in zip(modules, weights):
        x = x + bind(module, own)(x, connect(mask, sequence(T), keys), how="reference").x
    return (x[:, -SEGMENT:] ** 2).mean()


def by_segments(weights, x, keep=jax.lax.stop_gradient):
    """The same, one segment after the other: the states of those before are kept by each layer."""
    modules, _ = layers(None)
    states = [x[:, :0] for _ in modules]
    for first in range(0, T, SEGMENT):
        here = slice(first, first + SEGMENT)
        edges = connect(CAUSAL, sequence(T)[here], sequence(T)[: first + SEGMENT])
        y = x[:, here]
        for number, (module, own) in enumerate(zip(modules, weights)):
            source = jnp.concatenate([states[number], y], 1)
            states[number] = keep(source)
            y = y + bind(module, own)(y, edges, source=source, how="reference").x
    return (y**2).mean()


def test_gradients_are_those_of_segments_that_are_read_one_by_one():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(B, T, D)), jnp.float32)
    _, weights = layers(None)
    both = [jax.value_and_grad(f, (0, 1))(weights, x) for f in (at_once, by_segments)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), *both)
    (_, (_, of_tokens)), _ = both
    assert not np.asarray(of_tokens[:, :SEGMENT]).any()  # those before the last are memory alone
    assert np.asarray(of_tokens[:, SEGMENT:]).any()
    through = lambda weights, x: by_segments(weights, x, keep=lambda states: states)
    controls = jax.grad(through, (0, 1))(weights, x)
    plain = jax.grad(lambda w, x: at_once(w, x, None), (0, 1))(weights, x)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), controls, plain
    )
    assert np.asarray(controls[1][:, :SEGMENT]).any()
    stopped = jax.tree.leaves(both[0][1][0])
    assert any(np.abs(a - b).max() > 1e-2 for a, b in zip(stopped, jax.tree.leaves(controls[0])))


# ------------------------------------------------------------ what it is good for

DISTANCE, LENGTH = 12, 32
SHALLOW = {"n_layer": 1, "n_embd": 32, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}


def test_a_copy_from_beyond_the_segment_is_learned_from_memory():
    """Each token is the one of twelve before, and segments have eight: a model that reads segments
    alone can but guess among eight words."""

    def losses(extend, mask):
        config = family(tj.GPT2Config, extend)(**{**GPT2, **SHALLOW})
        model = tj.from_config(config, head="causal_lm", key=jax.random.key(0), mask=mask)
        apply, weights = tj.functional(model)
        optimizer = optax.adam(1e-2)

        @jax.jit
        def step(weights, state, key):
            first = jax.random.randint(key, (32, DISTANCE), 0, 8)
            ids = jnp.tile(first, (1, 3))[:, :LENGTH]
            labels = jnp.where(jnp.arange(LENGTH) < DISTANCE, -100, ids)
            loss = lambda weights: apply(weights, input_ids=ids, labels=labels).loss
            value, gradient = jax.value_and_grad(loss)(weights)
            change, state = optimizer.update(gradient, state)
            return optax.apply_updates(weights, change), state, value

        state = optimizer.init(weights)
        for number in range(200):
            weights, state, value = step(weights, state, jax.random.key(number))
        return float(value)

    assert losses(spec.Recurrence(8), OWN) < 0.5
    assert losses(None, OWN & Block(8)) > 0.9 * np.log(8)  # the control


# ------------------------------------------------------------ errors


@pytest.mark.parametrize("size", [0, -1, 2.5])
def test_a_segment_of_no_tokens_is_refused(size):
    with pytest.raises(ValueError, match=r"Recurrence\.size"):
        spec.Recurrence(size)


def test_arrays_of_pairs_hold_no_memory():
    advice = "the array of pairs 'tree' has none for them; leave out what reads it, or the recur"
    with pytest.raises(ValueError, match=advice):
        built(family(tj.GPT2Config), GPT2, mask=OWN & Dense("tree"))
    built(tj.GPT2Config, GPT2, mask=OWN & Dense("tree"))
    built(family(tj.GPT2Config), GPT2)
