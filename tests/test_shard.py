"""Meshes and rules: sizes are checked before anything is compiled."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh, AxisType, PartitionSpec

from transformers_jax.shard import (
    ACTIVATION_RULES,
    DEFAULT_RULES,
    batch_shards,
    constrain,
    make_mesh,
    named,
    shardings,
    spec_of,
    use,
    use_rules,
)


def machine(**sizes):
    """A mesh of many devices on a machine with one: rules only read its shape."""
    shape = {"data": 1, "fsdp": 1, "tensor": 1, **sizes}
    return AbstractMesh(tuple(shape.values()), tuple(shape), axis_types=(AxisType.Auto,) * 3)


def test_one_device_makes_a_mesh_in_which_nothing_is_cut():
    mesh = make_mesh({"data": 1})
    assert spec_of(("vocab", "embed"), DEFAULT_RULES, mesh) == PartitionSpec(None, None)


def test_parameters_are_cut_along_the_axes_that_the_rules_name():
    mesh = machine(fsdp=2, tensor=2)
    axes = ("layers", "embed", "heads", "kv")
    assert spec_of(axes, DEFAULT_RULES, mesh) == PartitionSpec(None, "fsdp", "tensor", None)
    axes = ("batch", "length", "embed")
    mesh = machine(data=2, fsdp=2)
    assert spec_of(axes, ACTIVATION_RULES, mesh) == PartitionSpec(("data", "fsdp"), None, None)


def test_a_mesh_axis_cuts_one_axis_of_an_array_at_most():
    spec = spec_of(("heads", "mlp"), DEFAULT_RULES, machine(tensor=2))
    assert spec == PartitionSpec("tensor", None)


def test_a_length_that_does_not_divide_is_refused_with_its_neighbours():
    with pytest.raises(ValueError, match=r"heads \(3\) .* tensor \(2\); the nearest are 2 and 4"):
        spec_of(("embed", "heads"), DEFAULT_RULES, machine(tensor=2), (8, 3))
    spec_of(("embed", "heads"), DEFAULT_RULES, machine(tensor=2), (8, 4))


def test_every_parameter_that_does_not_divide_is_listed():
    axes = {"a": {"w": ("vocab", "embed")}, "b": ("heads",), "c": ("mlp",)}
    shapes = {"a": {"w": jnp.zeros((101, 8))}, "b": jnp.zeros(3), "c": jnp.zeros(4)}
    with pytest.raises(ValueError, match="do not divide") as caught:
        shardings(axes, shapes, machine(tensor=2))
    assert "a.w: vocab (101)" in str(caught.value)
    assert "b: heads (3)" in str(caught.value)
    assert "c:" not in str(caught.value)


def test_a_mesh_that_the_devices_cannot_fill_is_refused():
    devices = jax.devices() * 8
    with pytest.raises(ValueError, match=r"needs 12 devices and there are 8.*product.*8"):
        make_mesh({"data": 4, "tensor": 3}, devices)
    with pytest.raises(ValueError, match=r"XLA_FLAGS=--xla_force_host_platform_device_count=12$"):
        make_mesh({"data": 4, "tensor": 3}, devices)
    with pytest.raises(ValueError, match="8 devices are not a multiple of 3; 2 or 4"):
        make_mesh({"data": -1, "tensor": 3}, devices)
    with pytest.raises(ValueError, match="'model' is unknown"):
        make_mesh({"model": 2})
    with pytest.raises(ValueError, match="at most one"):
        make_mesh({"data": -1, "fsdp": -1})


def test_without_a_mesh_a_constraint_is_the_identity():
    x = jnp.zeros((2, 3))
    assert constrain(x, "batch embed") is x


def test_a_constraint_must_name_every_axis():
    mesh = AbstractMesh((2,), ("data",), axis_types=(AxisType.Auto,))
    with jax.sharding.use_abstract_mesh(mesh), pytest.raises(ValueError, match="do not fit"):
        constrain(jnp.zeros((2, 3)), "batch")


def test_a_constraint_holds_inside_and_outside_of_tracing(on_eight_devices):
    program = """
        import jax, jax.numpy as jnp
        from transformers_jax.shard import constrain, make_mesh, replicated, use
        mesh = make_mesh({"data": 2, "tensor": 2, "fsdp": 2})
        x = jax.device_put(jnp.ones((4, 3, 6)), replicated(mesh))
        with use(mesh):
            outside = jax.jit(lambda x: constrain(x * 2, "batch length heads"))(x)
        def inside(x):
            with use(mesh):
                return constrain(x * 2, "batch length heads")
        inside = jax.jit(inside)(x)
        without = jax.jit(lambda x: constrain(x * 2, "batch length heads"))(x)
        odd = jax.jit(lambda x: constrain(x * 2, "batch length heads"))
        with use(mesh):
            odd = odd(x[:1])
        print(outside.sharding.shard_shape(x.shape), inside.sharding.shard_shape(x.shape),
              without.sharding.is_fully_replicated, odd.sharding.shard_shape((1, 3, 6)))
    """
    done = on_eight_devices(program)
    assert done.stdout.split("\n")[0] == "(1, 3, 3) (1, 3, 3) True (1, 3, 3)"


def mesh_of(**sizes):
    return AbstractMesh(
        tuple(sizes.values()), tuple(sizes), axis_types=(AxisType.Auto,) * len(sizes)
    )


WEIGHT = {"w": ("embed", "heads", "kv")}
SHAPES = {"w": jnp.zeros((8, 4, 2))}


def test_a_mesh_with_axes_that_no_rule_knows_is_refused_with_what_to_do():
    mesh = mesh_of(dp=2, mp=2)
    for call in (lambda: shardings(WEIGHT, SHAPES, mesh), lambda: use(mesh).__enter__()):
        with pytest.raises(ValueError, match="dp 2, mp 2, and no rule names dp, mp") as caught:
            call()
    message = str(caught.value)
    assert "embed -> fsdp, heads -> tensor" in message
    assert "batch over data and fsdp and experts" in message
    assert "use_rules(transformers_jax.shard.named({'dp': 'data'}))" in message
    with pytest.raises(ValueError, match="no rule names pipe"):  # one of several counts, too
        shardings(WEIGHT, SHAPES, mesh_of(data=2, pipe=2))
    shardings(WEIGHT, SHAPES, mesh_of(pipe=1, data=2))  # nothing to cut


def test_rules_by_other_names_place_arrays_as_the_usual_ones_do():
    ours = shardings(WEIGHT, SHAPES, mesh_of(fsdp=2, tensor=4))["w"].spec
    with use_rules(named({"rows": "fsdp", "mp": "tensor", "pipe": None})):
        mesh = mesh_of(rows=2, mp=4, pipe=3)
        theirs = shardings(WEIGHT, SHAPES, mesh)["w"].spec
        assert batch_shards(mesh) == 2
        with pytest.raises(ValueError, match="no rule names tensor"):
            shardings(WEIGHT, SHAPES, mesh_of(tensor=2))
    assert ours == PartitionSpec("fsdp", "tensor", None)
    assert theirs == PartitionSpec("rows", "mp", None)
    assert batch_shards(mesh_of(data=3, fsdp=2, tensor=4)) == 6
    for wrong in ({"dp": "rows"}, {"a": "data", "b": "data"}):
        with pytest.raises(ValueError, match="each of data, fsdp, experts, tensor once"):
            named(wrong)
    with pytest.raises(TypeError, match="use_rules takes MeshRules"), use_rules({"dp": "data"}):
        pass


def test_a_model_is_trained_on_a_mesh_with_other_names(on_eight_devices):
    program = """
        import jax, numpy as np, transformers_jax as tj
        from transformers_jax.nn.param import axes, flatten
        from transformers_jax.optim import AdamW, Constant
        from transformers_jax.shard import constrain, named, use_rules
        sizes = dict(vocab_size=32, n_positions=8, n_embd=8, n_layer=1, n_head=4)
        config = tj.GPT2Config(**sizes, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
        auto = (jax.sharding.AxisType.Auto,) * 2
        theirs = jax.make_mesh((2, 4), ("dp", "mp"), axis_types=auto)
        def losses(mesh):
            model = tj.from_config(config, head="causal_lm", key=jax.random.key(0), mesh=mesh)
            optimizer = AdamW(schedule=Constant(0)).build(axes(model), 9)
            step = tj.make_step(model, tj.causal_lm, optimizer, mesh=mesh)
            state = tj.init_state(model, optimizer, jax.random.key(1), mesh=mesh)
            values = []
            for _ in range(2):
                state, metrics = step(state, {"input_ids": np.arange(32).reshape(4, 8)})
                values.append(float(metrics["loss"]))
            query = state.params["stack"]["blocks"]["0"]["self"]["query"]
            return values, query.sharding.spec
        ours = losses(tj.make_mesh({"data": 2, "tensor": 4}))
        with use_rules(named({"dp": "data", "mp": "tensor"})):
            again = losses(theirs)
        np.testing.assert_allclose(ours[0], again[0], rtol=1e-6)
        print(ours[1], again[1])
        with jax.set_mesh(theirs):  # no rules: placement is up to the caller
            x = jax.device_put(np.ones((4, 8), "f"), jax.NamedSharding(theirs, jax.P("dp", "mp")))
            print(jax.jit(lambda x: constrain(x * 2, "batch embed"))(x).sharding.spec)
    """
    lines = on_eight_devices(program).stdout.split("\n")
    assert lines[0] == "P(None, None, 'tensor', None) P(None, None, 'mp', None)"
    assert lines[1] == "P('dp', 'mp')"
