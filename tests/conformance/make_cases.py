"""Makes cases of families for which the public set has none: what PyTorch computes.

python tests/conformance/make_cases.py [CASE ...]       (needs the extra `parity`)
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers

CASES = Path(__file__).parent / "cases"
BERT = dict(
    vocab_size=96,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=40,
)
DEBERTA = dict(
    **BERT, relative_attention=True, pos_att_type=["c2p", "p2c"], position_biased_input=False
)
CONVOLVED = dict(position_buckets=6, norm_rel_ebd="layer_norm", conv_kernel_size=3, conv_groups=2)
CHOSEN = {
    "camembert-tokens": ("CamembertForTokenClassification", {**BERT, "num_labels": 5}),
    "xlm-roberta-xl-tokens": ("XLMRobertaXLForTokenClassification", {**BERT, "num_labels": 5}),
    "albert-groups": (
        "AlbertForTokenClassification",
        {
            **BERT,
            "num_hidden_layers": 3,
            "num_hidden_groups": 2,
            "inner_group_num": 2,
            "embedding_size": 16,
            "num_labels": 3,
        },
    ),
    "roformer-values": (
        "RoFormerForTokenClassification",
        {**BERT, "embedding_size": 16, "rotary_value": True, "num_labels": 3},
    ),
    "deberta-mlm": ("DebertaForMaskedLM", {**DEBERTA, "max_relative_positions": 9}),
    "deberta-v2-question": ("DebertaV2ForQuestionAnswering", {**DEBERTA, **CONVOLVED}),
}
ATOL, RTOL = 5e-5, 1e-5  # float32, other orders of summation


def make(name, architecture, settings):
    """Config, weights, inputs and outputs of a tiny model, every parameter of which is random."""
    torch.manual_seed(0)
    rng, folder = np.random.default_rng(0), CASES / name
    cls = getattr(transformers, architecture)
    config = cls.config_class(**settings)
    model = cls(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn(parameter.shape))
    model.save_pretrained(folder)
    mask = np.arange(14) < np.array([[14], [9], [11]])
    inputs = {
        "input_ids": np.where(
            mask, rng.integers(5, config.vocab_size, mask.shape), config.pad_token_id
        ),
        "attention_mask": mask.astype(np.int64),
    }
    if architecture.endswith("QuestionAnswering"):
        inputs |= {"start_positions": np.array([2, 20, 5]), "end_positions": np.array([4, 8, 7])}
    else:
        count = config.vocab_size if "MaskedLM" in architecture else config.num_labels
        inputs["labels"] = np.where(mask, rng.integers(0, count, mask.shape), -100)
    kwargs = {"output_hidden_states": True}
    found = model(**{key: torch.tensor(x) for key, x in inputs.items()}, **kwargs)
    states = {f"hidden_states_{n}": state for n, state in enumerate(found.hidden_states)}
    outputs = {**{key: found[key] for key in found if key != "hidden_states"}, **states}
    valid = {f"{key}__valid": mask for key in outputs if key != "loss"}
    np.savez(folder / "inputs.npz", **inputs)
    np.savez(folder / "outputs.npz", **valid, **{k: x.detach().numpy() for k, x in outputs.items()})
    case = {
        "name": name,
        "family": config.model_type,
        "architecture": architecture,
        "library": "transformers",
        "forward": {"inputs": list(inputs), "kwargs": kwargs},
        "calls": [],
        "rtol": RTOL,
        "outputs": {key: {"atol": ATOL} for key in outputs},
        "pad_token_id": config.pad_token_id,
    }
    (folder / "case.json").write_text(json.dumps(case, indent=2) + "\n")


if __name__ == "__main__":
    for case in sys.argv[1:] or CHOSEN:
        make(case, *CHOSEN[case])
