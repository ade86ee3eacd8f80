"""Graph attention over random graphs: layers of GAT, forward and with gradients; float32.

One layer of 4 heads of 16 over 100,000 nodes with a million edges, and a step's worth of work (the
loss of a network of two layers, and its gradients) over 10,000 nodes with 100,000 edges.
torch_geometric's modules have the same weights. Sides compare outputs, or losses.
"""

from __future__ import annotations

from typing import Any

from benchmarks.cases import Side

UNIT = "edges/s"
WIDTH, HEADS, CHANNELS, CLASSES = 64, 4, 16, 8
CASES: dict[str, dict[str, Any]] = {
    "graphs gat 1e6 edges forward": dict(nodes=100_000, edges=1_000_000, step=False),
    "graphs gat 1e5 edges gradient": dict(nodes=10_000, edges=100_000, step=True),
}


def arrays(setting: dict[str, Any]) -> dict[str, Any]:
    """The graph, the same on all sides."""
    import numpy as np

    rng, nodes = np.random.default_rng(0), setting["nodes"]
    read = {"x": rng.normal(size=(nodes, WIDTH)).astype(np.float32)}
    read["edge_index"] = rng.integers(0, nodes, (2, setting["edges"]))
    return read | ({"labels": rng.integers(0, CLASSES, nodes)} if setting["step"] else {})


def prepare(setting: dict[str, Any], folder: str) -> None:
    """Writes the model with random weights."""
    import jax

    import transformers_jax as tj

    if setting["step"]:
        config: Any = tj.GatConfig(
            in_channels=WIDTH,
            hidden_channels=HEADS * CHANNELS,
            num_layers=2,
            out_channels=CLASSES,
            heads=HEADS,
        )
    else:
        config = tj.GatConvConfig(in_channels=WIDTH, out_channels=CHANNELS, heads=HEADS)
    tj.from_config(config, key=jax.random.key(0)).save_pretrained(folder)


def ours(setting: dict[str, Any], folder: str) -> Side:
    """A compiled call, or a loss and its gradients."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    import transformers_jax as tj

    read = {name: jnp.asarray(array) for name, array in arrays(setting).items()}
    apply, params = tj.functional(tj.from_pretrained(folder))
    if setting["step"]:
        loss = jax.jit(jax.value_and_grad(lambda p, read: apply(p, **read).loss))
        run = lambda: jax.block_until_ready(loss(params, read))
        return Side(run, setting["edges"], [float(run()[0])])
    call = jax.jit(lambda p, read: apply(p, **read).output)
    run = lambda: call(params, read).block_until_ready()
    return Side(run, setting["edges"], np.asarray(run())[0, :9].tolist())


def eager(setting: dict[str, Any], folder: str) -> Side:
    """torch_geometric's module."""
    import torch
    import torch_geometric
    from safetensors.torch import load_file

    graph = {name: torch.tensor(array) for name, array in arrays(setting).items()}
    labels = graph.pop("labels", None)
    if setting["step"]:
        sizes = (WIDTH, HEADS * CHANNELS, 2, CLASSES)
        model: Any = torch_geometric.nn.GAT(*sizes, heads=HEADS)
    else:
        model = torch_geometric.nn.GATConv(WIDTH, CHANNELS, HEADS)
    model.load_state_dict(load_file(f"{folder}/model.safetensors"))

    def step():
        model.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(model(**graph), labels)
        loss.backward()
        return loss

    def call():
        with torch.inference_mode():
            return model(**graph)

    if setting["step"]:
        return Side(step, setting["edges"], [float(step())])
    return Side(call, setting["edges"], call()[0, :9].tolist())


SIDES = {"ours": ours, "eager": eager}
