"""Writes the fixtures of test_parity.py: tiny random models and what transformers generates.

    python tests/generation/make_parity.py    (needs torch, transformers 5.23; not run by tests)

The end-of-sequence token of each model is one that its greedy text reaches after a few tokens, so
that rows end at different lengths. Padding is not 0: there, transformers' beams would write EOS.
"""

import json
import pathlib

import numpy as np
import torch
import transformers

HERE = pathlib.Path(__file__).parent / "parity"
VOCAB, PAD = 61, 60

BEAMS = [
    {"num_beams": 3, "max_new_tokens": 10, "length_penalty": penalty, "early_stopping": stop}
    for penalty in (0.5, 1.0, 2.0)
    for stop in (True, False, "never")
]
CALLS = [
    {"max_new_tokens": 12},
    {"max_new_tokens": 12, "no_repeat_ngram_size": 2},
    {"max_new_tokens": 10, "repetition_penalty": 1.3},
    {"max_new_tokens": 10, "repetition_penalty": 0.7},
    {"max_length": 14},
    {"max_new_tokens": 10, "eos_token_id": [5, 17, 31], "min_new_tokens": 7},
    {"max_new_tokens": 10, "min_length": 9},
    {
        "max_new_tokens": 8,
        "forced_eos_token_id": 7,
        "suppress_tokens": [3, 11, 12, 40],
        "begin_suppress_tokens": [5, 22],
    },
    {
        "max_new_tokens": 10,
        "num_beams": 4,
        "num_return_sequences": 4,
        "eos_token_id": [5, 17, 31],
        "length_penalty": -0.5,
    },
    {
        "max_new_tokens": 9,
        "num_beams": 3,
        "num_return_sequences": 2,
        "no_repeat_ngram_size": 2,
        "repetition_penalty": 1.2,
        "min_new_tokens": 6,
        "forced_eos_token_id": 7,
    },
    {"max_new_tokens": 1, "num_beams": 3},
    *BEAMS,
]


def models():
    """A decoder and an encoder-decoder, peaked enough that no two scores are nearly equal."""
    common = dict(vocab_size=VOCAB, pad_token_id=PAD)
    gpt2 = transformers.GPT2Config(
        n_positions=48,
        n_embd=24,
        n_layer=2,
        n_head=3,
        bos_token_id=1,
        eos_token_id=59,
        tie_word_embeddings=False,
        **common,
    )
    t5 = transformers.T5Config(
        d_model=24,
        d_kv=8,
        d_ff=40,
        num_layers=2,
        num_heads=3,
        decoder_start_token_id=2,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=20,
        **common,
    )
    yield "gpt2", transformers.GPT2LMHeadModel(gpt2), 0.35
    yield "t5", transformers.T5ForConditionalGeneration(t5), 0.6


def make(name, model, std, seed):
    torch.manual_seed(seed)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.copy_(torch.randn_like(parameter) * std)
            if "ln_" in key or "layer_norm" in key:
                parameter.copy_(key.endswith("weight") + 0.1 * torch.randn_like(parameter))
    model.eval()
    lengths = [9, 5, 7]
    rng = np.random.default_rng(seed)
    ids = rng.integers(2, PAD, (3, 9))
    mask = np.zeros((3, 9), np.int64)
    for row, length in enumerate(lengths):
        mask[row, slice(9 - length, None) if name == "gpt2" else slice(0, length)] = 1
    ids[mask == 0] = PAD
    inputs = dict(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask))
    free = model.generate(**inputs, max_new_tokens=10, do_sample=False, eos_token_id=None)
    text = free[:, -10:].tolist()
    end = next(t for row in text for t in row[3:] if all(t not in other[:3] for other in text))
    model.generation_config.eos_token_id = model.config.eos_token_id = end
    folder = HERE / name
    model.save_pretrained(folder)
    arrays = {"input_ids": ids, "attention_mask": mask}
    # the processors are the same code for both: each program costs a test two seconds
    calls = CALLS[:] if name == "gpt2" else [CALLS[n] for n in (0, 4, 9)] + BEAMS
    words = [[text[0][0]], [text[0][2], text[0][3]], text[2][1:4], [end]]
    calls.append({"max_new_tokens": 12, "bad_words_ids": words})
    calls.append({"max_new_tokens": 9, "bad_words_ids": words, "num_beams": 3})
    if name == "t5":
        calls.append({"max_new_tokens": 6, "forced_bos_token_id": 8, "num_beams": 3})
        calls.append({"max_new_tokens": 9, "encoder_no_repeat_ngram_size": 1, "num_beams": 2})
        calls.append(
            {"max_new_tokens": 6, "forced_bos_token_id": 8, "begin_suppress_tokens": [9, 10]}
        )
    for number, call in enumerate(calls):
        out = model.generate(
            **inputs, **call, do_sample=False, return_dict_in_generate=True, output_scores=True
        )
        arrays[f"{number}"] = out.sequences.numpy()
        if call.get("num_beams", 1) > 1:
            arrays[f"{number}_scores"] = out.sequences_scores.numpy()
        elif number == 0:
            arrays["first_scores"] = torch.stack(out.scores).numpy()
    np.savez_compressed(folder / "expected.npz", **arrays)
    (folder / "calls.json").write_text(json.dumps(calls, indent=1) + "\n")
    print(name, "eos", end, "widths", [arrays[str(n)].shape[1] for n in range(len(calls))])


if __name__ == "__main__":
    for seed, (name, model, std) in enumerate(models()):
        make(name, model, std, seed)
