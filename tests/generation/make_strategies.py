"""Writes the fixtures of test_strategies.py: what transformers 4 generates with the models of
test_parity.py, by searches that transformers 5 has no more.

    python tests/generation/make_strategies.py    (needs torch, transformers 4.46; not run by tests)
"""

import json
import pathlib

import numpy as np
import torch
import transformers

HERE = pathlib.Path(__file__).parent / "parity"
GROUPS = [
    {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.7, "max_new_tokens": 9},
    {
        "num_beams": 6,
        "num_beam_groups": 3,
        "diversity_penalty": 2.5,
        "max_new_tokens": 8,
        "num_return_sequences": 5,
        "length_penalty": 0.6,
        "no_repeat_ngram_size": 2,
    },
    {
        "num_beams": 3,
        "num_beam_groups": 3,
        "diversity_penalty": 1.0,
        "max_new_tokens": 9,
        "num_return_sequences": 3,
        "early_stopping": True,
        "min_new_tokens": 3,
    },
    {
        "num_beams": 4,
        "num_beam_groups": 2,
        "diversity_penalty": 1.5,
        "max_new_tokens": 9,
        "num_return_sequences": 4,
        "early_stopping": "never",
        "length_penalty": 1.4,
        "eos_token_id": [5, 17, 31],
    },
]
CONTRASTIVE = [
    {"penalty_alpha": 0.6, "top_k": 4, "max_new_tokens": 9},
    {"penalty_alpha": 0.3, "top_k": 7, "max_new_tokens": 12, "no_repeat_ngram_size": 2},
    {"penalty_alpha": 0.9, "top_k": 3, "max_new_tokens": 8, "eos_token_id": [5, 17, 31]},
]
CALLS = {"groups": GROUPS, "contrastive": CONTRASTIVE}


def make(name):
    folder = HERE / name
    auto = "AutoModelForCausalLM" if name == "gpt2" else "AutoModelForSeq2SeqLM"
    model = getattr(transformers, auto).from_pretrained(folder).eval()
    with np.load(folder / "expected.npz") as file:
        inputs = {key: torch.tensor(file[key]) for key in ("input_ids", "attention_mask")}
    arrays = {}
    for kind, calls in CALLS.items():
        for number, call in enumerate(calls):
            out = model.generate(
                **inputs, **call, do_sample=False, return_dict_in_generate=True, output_scores=True
            )
            arrays[f"{kind}_{number}"] = out.sequences.numpy()
            arrays[f"{kind}_{number}_first"] = torch.stack(out.scores[:2]).numpy()
            if out.get("sequences_scores") is not None:
                arrays[f"{kind}_{number}_scores"] = out.sequences_scores.numpy()
    np.savez_compressed(folder / "strategies.npz", **arrays)
    (folder / "strategies.json").write_text(json.dumps(CALLS, indent=1) + "\n")
    print(name, {key: array.shape for key, array in arrays.items()})


if __name__ == "__main__":
    for name in ("gpt2", "t5"):
        make(name)
