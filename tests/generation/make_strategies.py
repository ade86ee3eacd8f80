"""Writes the fixtures of test_strategies.py: what transformers 4 generates with the models of
test_parity.py, by searches that transformers 5 has no more.

Constrained beams of transformers 4 are mended in three places, or random words would differ:
copies of a disjunctive constraint share the list of what has been written, so that of several
tokens that continue a word only the first counts as progress; when the tokens are over, beams
without the words compete with texts that contain them (the scores of those are NaN here); and where
such a beam is returned, its number is missing, which is an error if scores are asked for. It also
loses the last beam that can still write all words; the calls are such that it does not.

    python tests/generation/make_strategies.py    (needs torch, transformers 4.46; not run by tests)
"""

import json
import pathlib

import numpy as np
import torch
import transformers
from transformers.generation.beam_constraints import DisjunctiveConstraint
from transformers.generation.beam_search import ConstrainedBeamSearchScorer

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
CONSTRAINED = [
    {"force_words_ids": [[7], [33, 12]], "num_beams": 4, "max_new_tokens": 9},
    {
        "force_words_ids": [[41], [[8, 20], [8, 31, 9], [55]], [23, 24, 25]],
        "num_beams": 5,
        "max_new_tokens": 14,
        "num_return_sequences": 3,
        "length_penalty": 0.6,
        "early_stopping": True,
    },
    {
        "force_words_ids": [[7, 8], [7, 9], [7]],  # which the same token begins
        "num_beams": 6,
        "max_new_tokens": 12,
        "num_return_sequences": 6,
        "length_penalty": 1.5,
        "early_stopping": "never",
    },
    {
        "force_words_ids": [[[44], [45, 46]], [12, 12, 13]],
        "num_beams": 2,
        "max_new_tokens": 5,
        "num_return_sequences": 2,
        "length_penalty": -0.5,
    },
    {
        "force_words_ids": [[52], [4, 50]],
        "num_beams": 3,
        "max_new_tokens": 15,
        "num_return_sequences": 2,
        "eos_token_id": [5, 17, 31],
        "no_repeat_ngram_size": 2,
        "min_new_tokens": 4,
    },
]
CALLS = {"groups": GROUPS, "contrastive": CONTRASTIVE, "constrained": CONSTRAINED}
copied = DisjunctiveConstraint.copy
processed = ConstrainedBeamSearchScorer.process
finalized = ConstrainedBeamSearchScorer.finalize
FAR = 2.0**15  # below all sums of log-probabilities


def copy(self, stateful=False):
    new = copied(self, stateful)
    new.current_seq = list(new.current_seq)
    return new


def finalize(self, input_ids, final_beam_scores, *args, **options):
    scores = final_beam_scores.clone()
    for row, ids in enumerate(input_ids.tolist()):
        if not self.check_completes_constraints(ids):
            scores[row] -= FAR
    return finalized(self, input_ids, scores, *args, **{**options, "beam_indices": None})


def process(self, *args, **options):
    return processed(self, *args, **{**options, "beam_indices": None})


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
            if kind != "constrained":  # whose scores are sums
                arrays[f"{kind}_{number}_first"] = torch.stack(out.scores[:2]).numpy()
            if out.get("sequences_scores") is not None:
                scores = out.sequences_scores.numpy()
                arrays[f"{kind}_{number}_scores"] = np.where(scores < -FAR / 100, np.nan, scores)
    np.savez_compressed(folder / "strategies.npz", **arrays)
    (folder / "strategies.json").write_text(json.dumps(CALLS, indent=1) + "\n")
    print(name, {key: array.shape for key, array in arrays.items()})


if __name__ == "__main__":
    DisjunctiveConstraint.copy = copy
    ConstrainedBeamSearchScorer.process = process
    ConstrainedBeamSearchScorer.finalize = finalize
    for name in ("gpt2", "t5"):
        make(name)
