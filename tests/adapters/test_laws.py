"""Laws of adapters: what they compute, what they train, and that every layout agrees."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import transformers_jax as tj
from transformers_jax.models.plan import Plan
from transformers_jax.nn.param import ADAPTER, axes, combine, flatten, params, unflatten

SIZES = dict(vocab_size=64, n_positions=32, n_embd=24, n_layer=3, n_head=4)
QUIET = dict(embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0)
IDS = np.random.default_rng(0).integers(3, 60, (4, 9))
ADAPTERS = {
    "lora": tj.LoRA(rank=3, alpha=5),
    "ranks": tj.LoRA(
        rank=3, targets=("c_attn", "mlp.c_proj"), layers=(0, 2), rank_pattern={"h.2.attn.c_attn": 5}
    ),
    "rslora": tj.LoRA(rank=3, targets=("c_attn",), rslora=True),
    "dora": tj.LoRA(rank=3, targets=("c_attn", "c_fc"), dora=True, layers=(1,)),
    "table": tj.LoRA(rank=3, targets=("wpe", "c_fc")),
    "ia3": tj.IA3(targets=("c_attn", "mlp.c_proj"), feedforward=("mlp.c_proj",)),
    "biases": tj.LoRA(rank=2, targets=("c_fc",), bias="lora_only"),
    "bitfit": tj.BitFit(),
    "freeze": tj.Freeze(paths=("embed.*",)),
    "train": tj.Train(paths=("stack.layers.*.ffn.*",)),
}


def matrix(names, *first):
    """The names, those beyond the first as a slow matrix."""
    late = lambda name: pytest.mark.slow if name not in first else ()
    return [pytest.param(name, marks=late(name)) for name in names]


@pytest.fixture(scope="module")
def base():
    config = tj.GPT2Config(**SIZES, **QUIET)
    return tj.from_config(config, head="causal_lm", key=jax.random.key(0), unroll=False)


def moved(model, seed=3):
    """The model, all that is trained moved somewhere."""
    trained, draw = flatten(tj.partition(model)[0]), np.random.default_rng(seed)
    noise = {
        path: np.asarray(x) + np.float32(0.1 * (x.ndim > 0)) * draw.standard_normal(x.shape)
        for path, x in trained.items()
    }
    noise = {path: jnp.asarray(x, trained[path].dtype) for path, x in noise.items()}
    return within(tj.bind(model, unflatten(noise)))


def within(model):
    """The model, its factors zero beyond the ranks of the layers, as training keeps them."""
    from transformers_jax.models.adapters.install import within_ranks
    from transformers_jax.models.adapters.resolve import resolved

    if not isinstance(model.plan.adapter, tj.LoRA):
        return model
    known, values = resolved(model.plan, model.plan.adapter), flatten(params(model))
    parts = within_ranks(known, {p: np.asarray(x) for p, x in values.items() if ADAPTER in p})
    return tj.bind(model, unflatten(values | {p: jnp.asarray(x) for p, x in parts.items()}))


def logits(model, **more):
    return np.asarray(model(input_ids=IDS, **more).logits)


EACH = matrix(ADAPTERS, *({*ADAPTERS} - {"rslora", "biases"}))


@pytest.mark.parametrize("name", EACH)
def test_an_adapter_begins_as_the_base_and_merges_to_what_it_computes(base, name, tmp_path):
    model = tj.adapt(base, ADAPTERS[name], key=jax.random.key(1))
    np.testing.assert_allclose(logits(model), logits(base), atol=1e-6, rtol=0)
    other = moved(model)
    assert np.abs(logits(other) - logits(base)).max() > 1e-3
    merged = tj.merge_adapter(other)
    assert merged.plan == base.plan
    np.testing.assert_allclose(logits(merged), logits(other), atol=2e-6, rtol=0)
    tj.save_adapter(other, tmp_path)
    loaded = tj.load_adapter(base, tmp_path)
    for path, leaf in flatten(params(other)).items():
        if not path.endswith("magnitude"):  # of which those of other layers are of no use
            np.testing.assert_array_equal(flatten(params(loaded))[path], leaf, err_msg=path)
    assert loaded.plan.adapter.file["peft_type"]


@pytest.mark.parametrize("name", matrix(["ranks", "dora", "ia3"], "ranks"))
def test_every_layout_computes_the_same(base, name, tmp_path):
    other = moved(tj.adapt(base, ADAPTERS[name], key=jax.random.key(1)))
    as_list = other.with_layers("list")
    np.testing.assert_allclose(logits(as_list), logits(other), atol=2e-6, rtol=0)
    np.testing.assert_allclose(logits(tj.merge_adapter(as_list)), logits(other), atol=2e-6)
    unrolled = tj.bind(other.abstract(unroll=True), params(other))
    np.testing.assert_allclose(logits(unrolled), logits(other), atol=2e-6, rtol=0)
    tj.save_adapter(other, tmp_path)
    loaded = tj.load_adapter(base.with_layers("list"), tmp_path)
    np.testing.assert_allclose(logits(loaded), logits(other), atol=2e-6, rtol=0)


def test_factors_that_add_nothing_change_no_bit_of_what_operations_give(base):
    """Compiled, small products may be fused with what is added, and round in another way."""
    model = tj.adapt(base, ADAPTERS["lora"], key=jax.random.key(1))
    with jax.disable_jit():
        assert (logits(model) == logits(base)).all()


def test_an_adapted_model_has_the_arrays_of_the_base_at_the_paths_of_the_base(base):
    first = tj.adapt(base, ADAPTERS["lora"], key=jax.random.key(1))
    second = tj.adapt(base, ADAPTERS["dora"], key=jax.random.key(2))
    for path, leaf in flatten(params(base)).items():
        assert all(flatten(params(model))[path] is leaf for model in (first, second)), path
    assert flatten(params(tj.without_adapter(first))).keys() == flatten(params(base)).keys()
    assert (logits(tj.without_adapter(moved(first))) == logits(base)).all()


def test_the_parts_of_a_fused_weight_share_one_factor(base):
    model = tj.adapt(base, tj.LoRA(targets=("c_attn",)), key=jax.random.key(1))
    added = [path for path in flatten(params(model)) if path.endswith(f"{ADAPTER}.a")]
    assert added == [f"stack.blocks.0.self.key{ADAPTER}.a"]


# ---------------------------------------------------------------- training


@pytest.mark.parametrize("name", matrix(["ranks", "dora", "ia3", "bitfit"], "ranks", "bitfit"))
def test_a_step_trains_and_holds_the_adapter_only(base, name):
    model = tj.adapt(base, ADAPTERS[name], key=jax.random.key(1))
    model = model if name == "bitfit" else moved(model)
    trained, frozen = tj.partition(model)
    optimizer = tj.AdamW(peak=1e-2).build(axes(model), 10)
    step = tj.make_step(model, tj.causal_lm, optimizer)
    state = tj.init_state(model, optimizer, jax.random.key(2))
    assert flatten(state.params).keys() == flatten(trained).keys()
    largest = sum(x.size for x in jax.tree.leaves(trained))
    assert sum(x.size for x in jax.tree.leaves(state.opt)) <= 2 * largest + 8
    before = jax.tree.map(np.asarray, frozen)
    for _ in range(2):
        state, metrics = step(state, {"input_ids": IDS})
    assert metrics["finite"]
    after = tj.bind(model, state.params)
    jax.tree.map(np.testing.assert_array_equal, tj.partition(after)[1], before)
    moves = {
        path: np.abs(np.asarray(x) - np.asarray(flatten(trained)[path])).max()
        for path, x in flatten(tj.partition(after)[0]).items()
    }
    if name != "bitfit":  # a bias of keys has no gradient
        assert all(move > 0 for move in moves.values()), moves
    outside = jax.tree.map(np.array_equal, within(after), after) if name == "ranks" else True
    assert jax.tree.all(outside)


def test_micro_batches_give_the_step_of_the_whole_batch(base):
    model = moved(tj.adapt(base, ADAPTERS["rslora"], key=jax.random.key(1)))
    results = []
    for accumulate in (1, 2):
        step = tj.make_step(model, tj.causal_lm, optax.sgd(1e-1), accumulate=accumulate)
        state = tj.init_state(model, optax.sgd(1e-1), jax.random.key(2))
        results.append(step(state, {"input_ids": IDS})[0].params)
    close = lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6)
    jax.tree.map(close, *results)


def test_no_gradient_of_a_whole_weight_is_made(base):
    """The backward pass has no array as large as a weight that is frozen."""
    model = tj.adapt(base, tj.LoRA(rank=2, targets=("c_fc",)), key=jax.random.key(1))
    apply, _ = tj.functional(model)
    trained, frozen = tj.partition(model)
    loss = lambda trained: apply(combine(trained, frozen), input_ids=IDS, labels=IDS).loss
    jaxpr = jax.make_jaxpr(jax.grad(loss))(trained)
    made = {
        variable.aval.shape
        for equation in every_equation(jaxpr.jaxpr)
        if equation.primitive.name == "dot_general"
        for variable in equation.outvars
    }
    assert made.isdisjoint({(24, 96), (96, 24)})
    assert {(2, 96), (96, 2), (24, 2), (2, 24)} & made


def every_equation(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            yield from every_equation(inner)


SHARDED = """
    import jax, numpy as np, optax
    import transformers_jax as tj
    from transformers_jax.nn.param import flatten, params

    sizes = dict(vocab_size=64, n_positions=32, n_embd=24, n_layer=2, n_head=4)
    config = tj.GPT2Config(**sizes, embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0)
    adapter = tj.LoRA(rank=4, targets=("c_attn", "mlp.c_proj"))
    ids = np.random.default_rng(0).integers(3, 60, (4, 9))
    results = []
    for mesh in (None, tj.make_mesh({"data": 2, "fsdp": 2, "tensor": 2})):
        key = jax.random.key(0)
        model = tj.from_config(config, head="causal_lm", key=key, mesh=mesh, adapter=adapter)
        step = tj.make_step(model, tj.causal_lm, optax.sgd(1.0), mesh=mesh)
        state = tj.init_state(model, optax.sgd(1.0), key, mesh=mesh)
        for _ in range(2):
            state, metrics = step(state, {"input_ids": ids})
        results.append((metrics["loss"], state.params))
    (loss, one), (other, several) = results
    factor = flatten(several)["stack.blocks.0.ffn.down_adapter.a"]
    assert len(factor.sharding.device_set) == 8
    assert factor.sharding.shard_shape(factor.shape) == (2, 48, 4)
    np.testing.assert_allclose(loss, other, atol=1e-5)
    close = lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5)
    jax.tree.map(close, one, several)
"""


def test_a_sharded_adapter_takes_the_steps_of_one_device(on_eight_devices):
    on_eight_devices(SHARDED)


# ---------------------------------------------------------------- what models are used for


def test_generation_caching_packing_and_export_work_with_an_adapter(base):
    model = moved(tj.adapt(base, ADAPTERS["rslora"], key=jax.random.key(1)))
    merged = tj.merge_adapter(model)
    settings = dict(input_ids=IDS[:, :4], max_new_tokens=4, eos_token_id=None)
    assert (tj.generate(model, **settings) == tj.generate(merged, **settings)).all()
    whole = logits(model)
    cache, steps = tj.init_cache(model, len(IDS), 9), []
    for part in np.split(IDS, 3, axis=1):
        out = model(input_ids=part, cache=cache)
        cache, steps = out.cache, [*steps, np.asarray(out.logits)]
    np.testing.assert_allclose(np.concatenate(steps, 1), whole, atol=2e-6)
    packed = model.with_mask(tj.OWN & tj.Same("document"))
    tags = {
        "document": np.repeat([[0, 1]], 9, axis=1).repeat(4, 0),
        "position": np.r_[0:9, 0:9][None].repeat(4, 0),
    }
    rows = packed(input_ids=np.concatenate([IDS, IDS[::-1]], 1), tags=tags).logits
    np.testing.assert_allclose(rows, np.concatenate([whole, whole[::-1]], 1), atol=2e-6)
    apply, values = tj.functional(model)
    exported = jax.export.export(jax.jit(lambda p, ids: apply(p, input_ids=ids).logits))
    again = jax.export.deserialize(exported(values, jnp.asarray(IDS, jnp.int32)).serialize())
    np.testing.assert_allclose(again.call(values, IDS.astype(np.int32)), logits(model), atol=1e-6)


def test_other_masks_by_layer_keep_the_adapter(base):
    model = moved(tj.adapt(base, ADAPTERS["ranks"], key=jax.random.key(1)))
    near = tj.CAUSAL & tj.Near(2, 0)
    masked = model.with_mask([tj.CAUSAL, near, tj.CAUSAL])
    expected = tj.merge_adapter(model).with_mask([tj.CAUSAL, near, tj.CAUSAL])
    np.testing.assert_allclose(logits(masked), logits(expected), atol=2e-6)
    back = masked.with_mask(None)
    np.testing.assert_allclose(logits(back), logits(model), atol=1e-6)


def test_a_mixed_model_multiplies_the_factors_as_bfloat16(base):
    model = moved(tj.adapt(base, ADAPTERS["lora"], key=jax.random.key(1)))
    half = tj.bind(model.abstract(compute="mixed"), params(model))
    difference = np.abs(logits(half) - logits(model)).max()
    assert 1e-5 < difference < 0.05


def test_a_weighted_sum_of_adapters_adds_what_each_adds(base, tmp_path):
    names = ("ranks", "rslora")
    models = [
        moved(tj.adapt(base, ADAPTERS[n], key=jax.random.key(1)), seed)
        for seed, n in enumerate(names)
    ]
    both = tj.combine_adapters(models, (0.5, -0.3))
    merged = [flatten(params(tj.merge_adapter(model))) for model in (*models, both)]
    for path, weight in flatten(params(base)).items():
        one, other, summed = (np.asarray(each[path] - weight) for each in merged)
        np.testing.assert_allclose(summed, 0.5 * one - 0.3 * other, atol=1e-6, err_msg=path)
    tj.save_adapter(both, tmp_path)
    loaded = tj.load_adapter(base, tmp_path)
    np.testing.assert_allclose(logits(loaded), logits(both), atol=1e-6)
    with pytest.raises(ValueError, match="LoRA alone"):
        tj.combine_adapters([tj.adapt(base, tj.IA3())], (1.0,))
    with pytest.raises(ValueError, match="2 models and 1 weights"):
        tj.combine_adapters(models, (1.0,))


def test_a_model_in_bfloat16_keeps_its_dtype_and_its_factors_float32(base):
    values = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params(base))
    model = moved(tj.adapt(tj.bind(base, values), ADAPTERS["dora"], key=jax.random.key(1)))
    assert model(input_ids=IDS).logits.dtype == jnp.bfloat16
    assert flatten(params(model))[f"stack.blocks.0.ffn.up{ADAPTER}.a"].dtype == jnp.float32
    merged = tj.merge_adapter(model)
    assert {x.dtype for x in jax.tree.leaves(params(merged))} == {jnp.dtype("bfloat16")}
    np.testing.assert_allclose(logits(merged), logits(model), atol=0.05)


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("adapter", "words"),
    [
        (tj.LoRA(targets=("q_proj", "c_attn")), "'q_proj' fits nothing in gpt2.*c_proj"),
        (tj.LoRA(targets="c_attn"), "fits nothing"),
        (tj.LoRA(targets=("ln_1",)), "no inputs and outputs"),
        (tj.LoRA(targets=("stack.layers.*.self.query",)), "c_attn.*adapted as a whole"),
        (tj.LoRA(parameters=("nothing.weight",)), "parameters='nothing.weight' fits nothing"),
        (tj.LoRA(modules_to_save=("classifier",)), "modules_to_save='classifier' fits nothing"),
        (tj.LoRA(targets=("c_fc",), layers=(1,), bias="lora_only"), "layers of one array"),
        (tj.LoRA(modules_to_save=("h.0.mlp",)), "layers of one array"),
        (tj.Train(paths=("stack.layers.1.*",)), "1 of the 3"),
        (tj.Freeze(paths=("sack.*",)), "the nearest are"),
    ],
)
def test_targets_that_fit_nothing_are_refused_with_the_nearest_names(base, adapter, words):
    with pytest.raises(ValueError, match=words):
        tj.adapt(base, adapter, key=jax.random.key(0))


def test_bad_settings_are_refused(base, tmp_path):
    with pytest.raises(ValueError, match="dropout"):
        tj.LoRA(dropout=0.1)
    with pytest.raises(ValueError, match=r"rank \(0\) must be at least 1"):
        tj.LoRA(rank=0)
    with pytest.raises(ValueError, match="give key="):
        tj.adapt(base, tj.LoRA())
    with pytest.raises(TypeError, match=r"tj\.LoRA"):
        tj.adapt(base, "lora")
    model = tj.adapt(base, tj.IA3())
    for call in (lambda: tj.adapt(model, tj.IA3()), lambda: tj.load_adapter(model, tmp_path)):
        with pytest.raises(ValueError, match="has an adapter, IA3"):
            call()
    with pytest.raises(ValueError, match="save_adapter"):
        tj.save_pretrained(model, tmp_path)
    for call in (tj.merge_adapter, tj.without_adapter, lambda m: tj.save_adapter(m, tmp_path)):
        with pytest.raises(ValueError, match="no adapter"):
            call(base)


def test_files_that_do_not_fit_are_refused_with_all_that_is_wrong(base, tmp_path):
    tj.save_adapter(tj.adapt(base, tj.LoRA(rank=2), key=jax.random.key(0)), tmp_path)
    narrow = Plan(tj.GPT2Config(**{**SIZES, "n_embd": 16}), "causal_lm").build()
    with pytest.raises(ValueError, match=r"has shape \[2, 24\], expected \[2, 16\]"):
        tj.load_adapter(narrow, tmp_path)
    config = tmp_path / "adapter_config.json"
    text = config.read_text()
    for old, new, words in (
        ('"LORA"', '"PREFIX_TUNING"', "settings that are not computed here"),
        ('"r": 2', '"r": 2, "use_qalora": true', "use_qalora=True"),
        ('"r": 2', '"r": 2, "init_lora_weights": "pissa"', "may change the weights"),
        ('"r": 2', '"r": 3', r"has shape \[2, 24\], expected \[3, 24\]"),
    ):
        config.write_text(text.replace(old, new))
        with pytest.raises(ValueError, match=words):
            tj.load_adapter(base, tmp_path)


def test_the_record_of_a_plan_is_a_value(base):
    model = tj.adapt(base, ADAPTERS["lora"], key=jax.random.key(1))
    assert "adapter: LoRA" in repr(model)
    assert hash(model.plan) == hash(dataclasses.replace(model.plan))
    assert tj.LoRA(targets={"b", "a"}) == tj.LoRA(targets=("a", "b"))
    assert tj.LoRA(rank_pattern={"a": 3}).rank_pattern == (("a", 3),)
