"""Writes precision.json, the error of PyTorch's bfloat16 for a case of each decoder. It needs torch
and transformers:  python -m tests.conformance.make_precision"""

from __future__ import annotations

import json

import torch
from transformers import AutoModelForCausalLM

from tests.conformance.precision import HERE, PYTORCH, decoder_cases, error, ids_of


def measured(case: str, config: dict) -> float:
    """PyTorch's error, with the attention that it takes by itself."""
    ids, folder = torch.tensor(ids_of(config)), HERE / "cases" / case
    logits = []
    for dtype in (torch.bfloat16, torch.float32):
        # its grouped products of experts refuse the sizes of these cases
        options = dict(dtype=dtype, experts_implementation="eager")
        model = AutoModelForCausalLM.from_pretrained(folder, **options).eval()
        with torch.no_grad():
            logits.append(model(input_ids=ids).logits.float().numpy())
    return error(*logits)


if __name__ == "__main__":
    errors = {case: float(f"{measured(case, c):.3e}") for case, c in decoder_cases().items()}
    PYTORCH.write_text(json.dumps(errors, indent=1) + "\n")
