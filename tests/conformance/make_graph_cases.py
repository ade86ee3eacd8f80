"""Makes cases of layers and networks over graphs: what torch_geometric computes.

python tests/conformance/make_graph_cases.py [CASE ...]       (needs torch and torch_geometric)
"""

import inspect
import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch_geometric
from safetensors.torch import save_file

CASES = Path(__file__).parent / "cases"
ATOL, RTOL = 1e-5, 1e-5
NODES, EDGES, WIDTH, FEATURES = 11, 36, 7, 3
CONV = dict(in_channels=WIDTH, out_channels=5, heads=3)
CHOSEN = {
    "gat-edges": ("GATConv", dict(CONV, edge_dim=FEATURES, residual=True, negative_slope=0.3)),
    "gat-mean": ("GATConv", dict(CONV, concat=False, add_self_loops=False, bias=False)),
    "gatv2-edges": ("GATv2Conv", dict(CONV, edge_dim=FEATURES, concat=False, fill_value=0.5)),
    "gatv2-residual": ("GATv2Conv", dict(CONV, residual=True, bias=False)),
    "graph-transformer-edges": (
        "TransformerConv",
        dict(CONV, edge_dim=FEATURES, beta=True, concat=True),
    ),
    "graph-transformer-mean": ("TransformerConv", dict(CONV, concat=False, beta=True, bias=False)),
    "graph-transformer-rootless": ("TransformerConv", dict(CONV, root_weight=False)),
    "gat-network-v2": (
        "GAT",
        dict(
            in_channels=WIDTH,
            hidden_channels=6,
            num_layers=4,
            out_channels=4,
            heads=2,
            v2=True,
            edge_dim=FEATURES,
        ),
    ),
    "gat-network-open": (
        "GAT",
        dict(in_channels=WIDTH, hidden_channels=6, num_layers=2, heads=3, act="tanh"),
    ),
    "graph-transformer-network": (
        "GraphTransformer",
        dict(
            in_channels=WIDTH,
            hidden_channels=6,
            num_layers=3,
            out_channels=4,
            heads=2,
            edge_dim=FEATURES,
            beta=True,
        ),
    ),
}


class GraphTransformer(torch.nn.Module):
    """Layers of TransformerConv with an activation between; the heads of the last are averaged."""

    def __init__(self, in_channels, hidden_channels, num_layers, out_channels, heads, **options):
        super().__init__()
        conv, width = torch_geometric.nn.TransformerConv, hidden_channels // heads
        sizes = [in_channels] + [hidden_channels] * (num_layers - 1)
        convs = [conv(size, width, heads, **options) for size in sizes[:-1]]
        convs.append(conv(sizes[-1], out_channels, heads, concat=False, **options))
        self.convs = torch.nn.ModuleList(convs)

    def forward(self, x, edge_index, edge_attr=None):
        for conv in self.convs[:-1]:
            x = conv(x, edge_index, edge_attr).relu()
        return self.convs[-1](x, edge_index, edge_attr)


def make(name, kind, settings):
    """Writes a case: a graph with edges that are there twice, loops, and a node without edges."""
    torch.manual_seed(0)
    rng, folder = np.random.default_rng(len(name)), CASES / name
    folder.mkdir(exist_ok=True)
    own = kind == "GraphTransformer"
    model = (GraphTransformer if own else getattr(torch_geometric.nn, kind))(**settings).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    module = kind if own else f"torch_geometric.nn.{kind}"
    tensors = {key: x.contiguous() for key, x in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.dumps({"module": module, **settings}, indent=2)
    (folder / "config.json").write_text(config + "\n")
    edges = rng.integers(0, NODES - 1, (2, EDGES))
    edges[:, 4], edges[1, 9] = edges[:, 5], edges[0, 9]
    inputs = {"x": rng.normal(size=(NODES, WIDTH)).astype(np.float32), "edge_index": edges}
    if "edge_dim" in settings:
        inputs["edge_attr"] = rng.normal(size=(EDGES, FEATURES)).astype(np.float32)
    given = {key: torch.tensor(x) for key, x in inputs.items()}
    if "return_attention_weights" in inspect.signature(model.forward).parameters:
        out, (indices, weights) = model(**given, return_attention_weights=True)
        outputs = {"output": out, "attention_edges": indices, "attention": weights}
    else:
        outputs = {"output": model(**given)}
    outputs = {key: x.detach().numpy() for key, x in outputs.items()}
    np.savez(folder / "inputs.npz", **inputs)
    np.savez(folder / "outputs.npz", **outputs)
    case = {
        "name": name,
        "family": "graph",
        "architecture": module,
        "library": "torch_geometric",
        "forward": {"inputs": list(inputs), "kwargs": {}},
        "calls": [],
        "rtol": RTOL,
        "outputs": {k: {"atol": 0 if x.dtype.kind == "i" else ATOL} for k, x in outputs.items()},
        "pad_token_id": None,
    }
    (folder / "case.json").write_text(json.dumps(case, indent=2) + "\n")


if __name__ == "__main__":
    for case in sys.argv[1:] or CHOSEN:
        make(case, *CHOSEN[case])
