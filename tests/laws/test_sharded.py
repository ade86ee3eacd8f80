"""Tiled attention on a mesh of eight devices is tiled attention on one, and exchanges nothing in
its loops. In a process of its own, because the number of devices is fixed at the start of one."""

PROGRAM = """
import functools, re
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P
from transformers_jax import nn
from transformers_jax.graph import CAUSAL, Same, connect, sequence
from transformers_jax.nn import attend as package
from transformers_jax.nn.attend import Score, attend, tiled
from transformers_jax.nn.attend.sharded import sharded
from transformers_jax.shard import make_mesh, use
from tests.laws.mask_cases import Offsets

small = functools.partial(tiled.attend, size=(8, 16))
package.BACKENDS["tiled"] = functools.partial(sharded, small)
rng = np.random.default_rng(0)
B, T, H, K = 4, 23, 4, 5
draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)

def check(axes, G):
    document = jnp.asarray(np.sort(rng.integers(0, 3, (B, T)), 1), jnp.int32)
    table = {"table": draw(11, H), "width": 0.2 * draw(H, K)}
    arrays = draw(B, T, H, K), draw(B, T, G, K), draw(B, T, G, K), draw(H), table
    flow = draw(B, T, H, K)

    def loss(how, q, k, v, sinks, table, document):
        edges = connect(CAUSAL & Same("document"), sequence(T, tags={"document": document}))
        score = Score(Offsets(), table)
        options = dict(sinks=sinks, score=score, softcap=2.0, dropout=0.3, key=jax.random.key(1))
        out = attend(q, k, v, edges, scale=0.4, how=how, **options)
        return (out * flow).sum()

    graded = lambda how: jax.jit(jax.value_and_grad(functools.partial(loss, how), (0, 1, 2, 3, 4)))
    expected = graded("reference")(*arrays, document)
    mesh = make_mesh(axes)
    with use(mesh):
        parts = P(("data", "fsdp"), None, "tensor")
        by_row = P(("data", "fsdp"))
        place = lambda a: NamedSharding(mesh, parts if a.shape[2] > 1 else by_row)
        split = [jax.device_put(a, place(a)) for a in arrays[:3]]
        compiled = graded("tiled").lower(*split, *arrays[3:], document).compile()
        outputs = compiled(*split, *arrays[3:], document)
    for a, b in zip(jax.tree.leaves(outputs), jax.tree.leaves(expected)):
        np.testing.assert_allclose(a, b, atol=3e-5 * float(jnp.abs(b).max()))
    assert outputs[1][0].sharding.spec == parts, outputs[1][0].sharding
    collective = "all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter"
    text = compiled.as_text()
    bodies = set(re.findall(r"body=%?([\\w.-]+)", text))
    assert bodies, "the loop over tiles has gone"
    computations = re.split(r"\\n(?=%|ENTRY)", text)
    inside = [c for c in computations if c.lstrip("%").split(" ")[0] in bodies]
    assert inside and not any(re.search(collective, c) for c in inside)
    assert re.search(collective, text), "the control: outside the loop gradients are summed"

check({"data": 2, "tensor": 4}, 4)
check({"data": 2, "fsdp": 2, "tensor": 2}, 1)
print("agrees")
"""


def test_a_mesh_changes_nothing_and_exchanges_nothing_in_the_loop(on_eight_devices):
    assert on_eight_devices(PROGRAM).stdout == "agrees\n"
