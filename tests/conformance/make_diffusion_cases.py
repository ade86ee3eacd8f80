"""Makes cases of Transformers that take noise out of images: what diffusers computes.

python tests/conformance/make_diffusion_cases.py [CASE ...]       (needs torch and diffusers)
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import DiTTransformer2DModel

CASES = Path(__file__).parent / "cases"
ATOL, RTOL = 5e-5, 1e-5  # float32, other orders of summation
SMALL = dict(num_attention_heads=3, attention_head_dim=8, in_channels=2, num_layers=2)
SMALL |= dict(sample_size=8, patch_size=2, num_embeds_ada_norm=5)
CHOSEN = {
    "dit": SMALL,
    "dit-sigma": SMALL | dict(out_channels=4, num_layers=3, patch_size=4, attention_bias=False),
    "dit-affine": SMALL
    | dict(norm_elementwise_affine=True, norm_eps=1e-3, in_channels=1, activation_fn="gelu"),
}


def make(name, settings):
    """Writes a case: images at different steps of noise, one of them of no class."""
    torch.manual_seed(len(name))
    rng, folder = np.random.default_rng(len(name)), CASES / name
    model = DiTTransformer2DModel(**settings).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    model.save_pretrained(folder)
    shape = (4, settings["in_channels"], settings["sample_size"], settings["sample_size"])
    inputs = {
        "hidden_states": rng.normal(size=shape).astype(np.float32),
        "timestep": np.array([0, 1, 507, 999]),
        "class_labels": np.array([3, settings["num_embeds_ada_norm"], 0, 4]),
        "labels": rng.normal(size=shape).astype(np.float32),
    }
    given = {key: torch.tensor(x) for key, x in inputs.items()}
    noise = given.pop("labels")
    sample = model(**given).sample
    loss = torch.nn.functional.mse_loss(sample[:, : noise.shape[1]], noise)
    outputs = {"sample": sample.detach().numpy(), "loss": loss.detach().numpy()}
    np.savez(folder / "inputs.npz", **inputs)
    np.savez(folder / "outputs.npz", **outputs)
    case = {
        "name": name,
        "family": "dit",
        "architecture": "DiTTransformer2DModel",
        "library": "diffusers",
        "forward": {"inputs": list(inputs), "kwargs": {}},
        "calls": [],
        "rtol": RTOL,
        "outputs": {key: {"atol": ATOL} for key in outputs},
        "pad_token_id": None,
    }
    (folder / "case.json").write_text(json.dumps(case, indent=2) + "\n")


if __name__ == "__main__":
    for case in sys.argv[1:] or CHOSEN:
        make(case, CHOSEN[case])
