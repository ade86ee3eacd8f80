"""Makes the fixtures of this folder: what PyTorch says of folding.

python tests/proteins/make_fixtures.py       (needs the extra `parity`)

The PDB files of a conformance case, and the gradients of a sum of its atoms and of its confidence.
"""

import json
from pathlib import Path

import numpy as np
import torch
from transformers import EsmForProteinFolding

HERE = Path(__file__).parent
CASE = HERE.parent / "conformance" / "cases" / "esmfold"


if __name__ == "__main__":
    model = EsmForProteinFolding.from_pretrained(CASE).eval()
    inputs = {name: torch.tensor(array) for name, array in np.load(CASE / "inputs.npz").items()}
    output = model(**inputs, num_recycles=1)
    fields = {name: value.detach() for name, value in output.items()}
    (HERE / "pdb.json").write_text(json.dumps(model.output_to_pdb(fields), indent=1) + "\n")
    loss = output.positions.square().mean() + output.plddt.mean()
    loss.backward()
    gradients = {
        name: parameter.grad.numpy()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    np.savez_compressed(HERE / "gradients.npz", loss=loss.detach().numpy(), **gradients)
