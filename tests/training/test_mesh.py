"""Eight devices compute what one computes; sharded arrays take an eighth on each."""

import json

import pytest

PROGRAM = """
    import json, jax, numpy as np
    import transformers_jax as tj
    from transformers_jax.nn.param import axes
    from transformers_jax.objectives.losses import Loss, causal_lm, objective
    from transformers_jax.optim import Adafactor, AdamW, Constant, Cosine, Muon, ScheduleFreeAdamW
    from transformers_jax.processes import to_devices
    from transformers_jax.shard import make_mesh
    from transformers_jax.training.state import init_state
    from transformers_jax.training.step import make_step

    config = tj.GPT2Config(n_layer=1, n_head=8, n_embd=32, n_positions=16, vocab_size=64,
                           resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    ids = np.random.default_rng(0).integers(0, 64, (16, 17)).astype(np.int32)
    shapes = {"one": None, "data": {"data": 8}, "fsdp": {"fsdp": 8},
              "tensor": {"data": 2, "tensor": 4}, "all": {"data": 2, "fsdp": 2, "tensor": 2}}
    models = {None: tj.from_config(config, head="causal_lm", key=jax.random.key(0))}
    mesh = make_mesh(shapes["all"])
    models["all"] = tj.from_config(config, head="causal_lm", key=jax.random.key(0), mesh=mesh)

    def local_bytes(tree):
        leaves = [x for x in jax.tree.leaves(tree) if hasattr(x, "addressable_shards")]
        return sum(x.addressable_shards[0].data.nbytes for x in leaves)

    optimizers = {
        "adamw": AdamW(peak=1e-2, schedule=Cosine(warmup=1)),
        "adafactor": Adafactor(peak=1e-2, smallest=4, schedule=Constant(0)),
        "muon": Muon(peak=1e-2, schedule=Constant(0), average=0.9),
        "free": ScheduleFreeAdamW(peak=1e-2, schedule=Constant(0), freeze=("embed.position",)),
    }

    def run(name, shape, accumulate=1, optimizer="adamw", loss=causal_lm):
        mesh = None if shape is None else make_mesh(shape)
        model = models.get(name, models[None])
        tx = optimizers[optimizer].build(axes(model), 10)
        state = init_state(model, tx, jax.random.key(1), mesh=mesh)
        traces = []
        def counted(*arguments):
            traces.append(1)
            return loss(*arguments)
        step = make_step(model, counted, tx, mesh=mesh, accumulate=accumulate)
        losses, batch = [], to_devices({"input_ids": ids}, mesh)
        for _ in range(3):
            state, metrics = step(state, batch)
            losses.append(float(metrics["loss"]))
        average = jax.jit(tx.averaged)(state.opt, state.params)
        return {"losses": losses, "params": local_bytes(state.params),
                "opt": local_bytes(state.opt), "average": local_bytes(average),
                "traces": len(traces)}

    results = {name: run(name, shape) for name, shape in shapes.items()}
    results["micro"] = run("micro", {"data": 2, "fsdp": 2}, accumulate=2)
    for optimizer in ("adafactor", "muon"):
        for name, shape in (("one", None), ("all", shapes["all"])):
            results[f"{optimizer}-{name}"] = run(name, shape, optimizer=optimizer)
    # the words of a device (32) in chunks of 5, the last of which overlaps
    results["chunks"] = run("all", shapes["all"], loss=objective("causal_lm", Loss(chunk=5)))
    free = optimizers["free"].build(axes(models[None]), 10)  # needs no program to be placed
    for name, shape in (("free-one", None), ("free-all", mesh)):
        state = init_state(models[None], free, jax.random.key(1), mesh=shape)
        results[name] = {"opt": local_bytes(state.opt)}
    print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def measured(on_eight_devices):
    done = on_eight_devices(PROGRAM)
    return {**json.loads(done.stdout.splitlines()[-1]), "stderr": done.stderr}


@pytest.mark.parametrize("mesh", ["data", "fsdp", "tensor", "all", "micro", "chunks"])
def test_every_mesh_gives_the_loss_of_one_device(measured, mesh):
    differences = [abs(a - b) for a, b in zip(measured[mesh]["losses"], measured["one"]["losses"])]
    assert max(differences) < 1e-5  # float32 sums in another order
    assert measured["one"]["losses"][0] - measured["one"]["losses"][-1] > 0.01  # it did learn


def test_parameters_and_moments_stay_cut_over_the_mesh(measured):
    whole = measured["one"]
    for part in ("params", "opt"):
        assert measured["data"][part] == whole[part]  # the control: copies are whole
        assert measured["fsdp"][part] < 0.15 * whole[part]
        assert measured["all"][part] < 0.40 * whole[part]


@pytest.mark.parametrize("optimizer", ["adafactor", "muon"])
def test_every_optimizer_is_the_same_on_a_mesh_and_stays_cut(measured, optimizer):
    one, cut = measured[f"{optimizer}-one"], measured[f"{optimizer}-all"]
    differences = [abs(a - b) for a, b in zip(one["losses"], cut["losses"])]
    assert max(differences) < 5e-5  # Newton and Schulz's steps amplify sums in another order
    assert one["losses"][0] - one["losses"][-1] > 0.01
    assert cut["params"] < 0.40 * one["params"]
    assert cut["average"] < 0.40 * one["average"]
    # the means of Adafactor's rows and columns have lost one of the two axes that are cut
    assert cut["opt"] < (0.55 if optimizer == "adafactor" else 0.40) * one["opt"]


def test_the_state_of_a_schedule_free_optimizer_is_sharded_too(measured):
    assert measured["free-all"]["opt"] < 0.40 * measured["free-one"]["opt"]


def test_a_mesh_traces_its_step_once(measured):
    meshes = ("data", "fsdp", "tensor", "all")
    assert {mesh: measured[mesh]["traces"] for mesh in meshes} == dict.fromkeys(meshes, 1)


def test_no_array_is_gathered_by_accident(measured):
    assert "Involuntary full rematerialization" not in measured["stderr"]
