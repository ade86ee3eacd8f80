"""Models work under JAX transformations and under settings of the caller's code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import transformers_jax as tj

WRITERS = ["gpt2", "t5"]
FAMILIES = "bert deberta_v2 gpt2 llama longformer roformer switch_transformers t5".split()
START = dict(eos_token_id=1, pad_token_id=0)


def gradient(model, ids, **more):
    """The gradient of the loss of a padded batch, as a function of parameters."""
    apply, _ = tj.functional(model)
    mask = jnp.ones(ids.shape, jnp.int32).at[0, 9:].set(0)
    labels = ids % 2 if model.plan.head == "replaced_token" else ids
    labels = jnp.where(mask == 1, labels, -100)
    inputs = dict(input_ids=ids, attention_mask=mask, labels=labels, **more)
    return jax.value_and_grad(lambda params: apply(params, **inputs).loss)


def written(model, ids, **options):
    start = {} if model.plan.head == "causal_lm" else dict(decoder_start_token_id=2)
    return model.generate(ids, max_new_tokens=3, **START, **start, **options)


@pytest.mark.parametrize("family", FAMILIES)
def test_models_run_under_strict_jax_settings_of_the_caller(family, tiny, ids):
    model = tiny(family)
    key, params = jax.random.key(0), tj.functional(model)[1]
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        with pytest.raises((ValueError, TypeError)):  # the control: the rules are in force
            jnp.ones((2, 3)) + jnp.ones(3)
        jax.eval_shape(gradient(model, ids, key=key), params)
        if family in WRITERS:
            tile = model.abstract(attention="tiled", unroll=False)
            jax.eval_shape(gradient(tile, ids), params)
            write = lambda params: written(
                tj.bind(model, params), ids, num_beams=2, fixed_width=True
            )
            jax.eval_shape(write, params)


@pytest.mark.parametrize("family", ["encoder_decoder", "switch_transformers", "t5"])
def test_with_64_bits_no_loop_changes_its_types_and_no_number_its_width(family, tiny, ids):
    model, ids = tiny(family), np.asarray(ids)
    params = tj.functional(model)[1]
    with jax.enable_x64(True):
        token_ids = jnp.asarray(ids)
        write = lambda params: written(
            tj.bind(model, params), token_ids, num_beams=2, fixed_width=True, min_new_tokens=1
        )
        assert jax.eval_shape(write, params).dtype == np.int32
        tile = model.abstract(attention="tiled", unroll=False)
        gradients = jax.eval_shape(gradient(tile, token_ids, key=jax.random.key(3)), params)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradients)} == {np.dtype("float32")}


@pytest.mark.parametrize("family", ["gpt2"])
def test_with_64_bits_a_model_computes_what_it_computes_without(family, tiny, ids):
    model = tiny(family)
    ids, params = np.asarray(ids), tj.functional(model)[1]

    def everything():
        other = model.abstract(attention="tiled", unroll=False)
        yield jax.jit(gradient(other, jnp.asarray(ids), key=jax.random.key(3)))(params)
        yield written(model, ids, do_sample=True, key=jax.random.key(0), top_k=5, top_p=0.9)
        yield written(model, ids, num_beams=2)

    expected = list(everything())
    with jax.enable_x64(True):
        actual = list(everything())
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("family", ["deberta_v2", "llama"])
def test_a_model_of_64_bits_computes_all_of_it_in_64_bits(family, tiny, ids):
    with jax.enable_x64(True):
        ids = jnp.asarray(np.asarray(ids))
        params = jax.tree.map(lambda x: jnp.asarray(x, "float64"), tj.functional(tiny(family))[1])
        tile, whole = (
            jax.jit(gradient(tiny(family).abstract(attention=how, unroll=False), ids))(params)
            for how in ("tiled", "reference")
        )
    for a, b in zip(jax.tree.leaves(tile), jax.tree.leaves(whole), strict=True):
        assert a.dtype == np.float64
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("family", WRITERS)
def test_a_program_of_any_batch_and_length_is_exported(family, tiny, ids):
    model = tiny(family)
    apply, params = tj.functional(model)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params)
    size = jax.export.symbolic_shape("b, t", constraints=["t >= 2"])
    any_ids = jax.ShapeDtypeStruct(size, jnp.int32)

    def forward(params, ids):
        out = apply(params, input_ids=ids, attention_mask=ids > 0, labels=ids)
        return out.logits, out.loss

    write = lambda params, ids: written(tj.bind(model, params), ids, fixed_width=True)
    for function in (forward, write):
        program = jax.export.export(jax.jit(function))(shapes, any_ids)
        for arguments in (ids[:1, :6],):
            actual, expected = program.call(params, arguments), function(params, arguments)
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
                         actual, expected)  # fmt: skip


def test_disentangled_scores_are_exported_at_any_length(tiny, ids):
    model = tiny("deberta_v2")
    apply, params = tj.functional(model)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params)
    any_ids = jax.ShapeDtypeStruct(jax.export.symbolic_shape("b, t"), jnp.int32)
    forward = lambda p, x: apply(p, input_ids=x, attention_mask=x > 0, labels=x).loss
    program = jax.export.export(jax.jit(forward))(shapes, any_ids)
    for length in (4, 13):  # fewer distances than rows of the table, and more
        arguments = ids[:, :length]
        np.testing.assert_allclose(
            program.call(params, arguments), forward(params, arguments), rtol=1e-5
        )


def test_models_that_need_a_static_length_refuse_a_symbolic_one(tiny):
    size = jax.export.symbolic_shape("b, t")
    for model in (tiny("longformer"), tiny("gpt2").abstract(attention="tiled")):
        apply, params = tj.functional(model)[0], tj.functional(tiny(model.config.model_type))[1]
        program = jax.export.export(jax.jit(lambda p, x, apply=apply: apply(p, input_ids=x).logits))
        with pytest.raises(ValueError, match="length"):
            program(params, jax.ShapeDtypeStruct(size, jnp.int32))


def test_flax_idioms_work_on_a_model_and_tabulate_names_its_replacement(tiny, ids):
    model = tiny("gpt2")
    expected = model(input_ids=ids).logits
    others = nnx.merge(*nnx.split(model)), nnx.clone(model), jax.tree.map(lambda x: x, model)
    for other in others:
        np.testing.assert_array_equal(other(input_ids=ids).logits, expected)
    actual = nnx.jit(lambda model, ids: model(input_ids=ids).logits)(model, ids)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(TypeError, match="summary"):
        nnx.tabulate(model, input_ids=ids)
    np.testing.assert_array_equal(model(input_ids=ids).logits, expected)


SHARDED = """
    import jax, numpy as np
    import transformers_jax as tj
    from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

    config = tj.GPT2Config(vocab_size=40, n_positions=150, n_embd=16, n_layer=1, n_head=2)
    model = tj.from_config(config, head="causal_lm", key=jax.random.key(0), unroll=False)
    apply, params = tj.functional(model)
    ids = jax.random.randint(jax.random.key(1), (8, 136), 2, 40)
    mesh = jax.make_mesh((8,), ("rows",), axis_types=(AxisType.Auto,))

    def loss(params, ids):
        return apply(params, input_ids=ids, labels=ids).loss

    def both(params, ids):
        mean = lambda p: jax.lax.pmean(loss(p, ids), "rows")
        return jax.grad(mean)(params), jax.jvp(mean, (params,), (params,))

    spread = lambda f, out: jax.jit(jax.shard_map(f, mesh=mesh, in_specs=(P(), P("rows")),
                                                  out_specs=out))
    actual = spread(both, P())(params, ids)
    expected = jax.grad(loss)(params, ids), jax.jvp(lambda p: loss(p, ids), (params,), (params,))
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    jax.tree.map(close, actual, expected)
    for options in ({}, {"num_beams": 2}):
        write = lambda p, x: tj.generate(tj.bind(model, p), x, max_new_tokens=3, pad_token_id=0,
                                         eos_token_id=1, fixed_width=True, **options)
        np.testing.assert_array_equal(spread(write, P("rows"))(params, ids), write(params, ids))

    explicit = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,))
    rows = jax.device_put(ids, NamedSharding(explicit, P("data")))
    put = lambda x, *cut: jax.device_put(x, NamedSharding(explicit, P(*cut[:x.shape[0] % 8 == 0])))
    on_it = lambda *cut: tj.bind(model, jax.tree.map(lambda x: put(x, *cut), params))
    write = lambda m: tj.generate(m, ids, max_new_tokens=3, pad_token_id=0, eos_token_id=1)
    with jax.set_mesh(explicit):  # the control: intermediate arrays are on the mesh
        np.testing.assert_array_equal(write(on_it()), write(model))
    calls = (lambda: model(input_ids=rows), lambda: jax.jit(apply)(params, input_ids=rows),
             lambda: tj.features(model, rows, layer=1), lambda: on_it("data")(input_ids=ids),
             lambda: tj.features(on_it("data"), ids), lambda: write(on_it()),
             lambda: on_it()(input_ids=ids, cache=tj.init_cache(model, 8, 140)),
             lambda: tj.from_config(config, key=jax.random.key(0), mesh=explicit))
    for call in calls:
        try:
            call()
        except ValueError as error:
            assert "tj.make_mesh" in str(error) and "AxisType.Auto" in str(error), error
        else:
            raise AssertionError("explicit axes were neither served nor refused")
    print("agrees")
"""


def test_models_run_inside_a_shard_map_and_refuse_explicit_axes(on_eight_devices):
    assert on_eight_devices(SHARDED).stdout == "agrees\n"
