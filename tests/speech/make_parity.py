"""Writes parity.json.xz: a small Whisper of transformers with drawn weights, and what its
`generate` says of features: short and long, unlikely and silent, languages and times of tokens.

    python tests/speech/make_parity.py     (needs torch and transformers)
"""

import json
import lzma
import pathlib
import warnings

import numpy as np
import torch
from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

HERE = pathlib.Path(__file__).parent
EOS, START, EN, DE, TRANSLATE, TRANSCRIBE, PREVIOUS, SILENCE, NO_TIMES = range(50, 59)
PLACES = 20  # states of the encoder: windows of 40 frames
SIZES = {
    "vocab_size": NO_TIMES + 1 + PLACES + 1, "d_model": 16,
    "encoder_layers": 2, "decoder_layers": 2,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24, "num_mel_bins": 8, "max_source_positions": PLACES,
    "max_target_positions": 32, "bos_token_id": EOS, "eos_token_id": EOS, "pad_token_id": EOS,
    "decoder_start_token_id": START, "suppress_tokens": None, "begin_suppress_tokens": None,
}  # fmt: skip
FILE = {
    "eos_token_id": EOS, "pad_token_id": EOS, "bos_token_id": EOS, "decoder_start_token_id": START,
    "lang_to_id": {"<|en|>": EN, "<|de|>": DE}, "is_multilingual": True,
    "task_to_id": {"translate": TRANSLATE, "transcribe": TRANSCRIBE},
    "no_timestamps_token_id": NO_TIMES, "prev_sot_token_id": PREVIOUS, "max_length": 32,
    "max_initial_timestamp_index": 5, "alignment_heads": [[0, 1], [1, 0]],
    "return_timestamps": False,
    "suppress_tokens": [START, EN, DE, TRANSLATE, TRANSCRIBE, PREVIOUS, SILENCE],
    "begin_suppress_tokens": [7, EOS],
}  # fmt: skip


def model(seed: int, ends: float) -> WhisperForConditionalGeneration:
    torch.manual_seed(seed)
    made = WhisperForConditionalGeneration(WhisperConfig(**SIZES)).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "layer_norm" not in name:
                parameter.normal_(0, 0.35 if parameter.ndim > 1 else 0.1)
        decoder = made.model.decoder
        decoder.embed_positions.weight.mul_(4.0)  # so that a token does not only repeat itself
        times = decoder.embed_tokens.weight[NO_TIMES + 1 :]
        times.copy_(0.7 * times + 0.5 * times[:1])
        decoder.layer_norm.bias.add_(ends * decoder.embed_tokens.weight[EOS] + 0.4 * times[0])
    made.generation_config = GenerationConfig(**FILE)
    return made


CASES = {
    "plain": ({}, 40),
    "english": ({"language": "en", "task": "transcribe"}, 40),
    "translate": ({"language": "german", "task": "translate"}, 40),
    "times": ({"return_timestamps": True}, 40),
    "long": ({"return_timestamps": True}, 170),
    "long german": ({"return_timestamps": True, "language": "<|de|>", "task": "transcribe"}, 170),
    "unlikely": (
        {"return_timestamps": True, "logprob_threshold": -1.0, "temperature": (0.0,)},
        170,
    ),
    "silent": (
        {
            "return_timestamps": True,
            "logprob_threshold": -1.9,
            "no_speech_threshold": 0.012,
            "temperature": (0.0,),
        },
        170,
    ),
    "token times": ({"return_timestamps": True, "return_token_timestamps": True}, 170),
}


def main():
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)  # small matrices
    out = {"sizes": SIZES, "file": FILE, "models": []}
    for seed, ends in ((1, 0.1), (3, 0.2)):
        made = model(seed, ends)
        weights = {k: v.numpy().round(4).tolist() for k, v in made.state_dict().items()}
        made.load_state_dict({k: torch.tensor(v) for k, v in weights.items()})
        rng = np.random.default_rng(seed)
        features = rng.normal(size=(2, 8, 170)).astype(np.float32).round(4)
        cases = {}
        for name, (options, frames) in CASES.items():
            if not options.get("return_timestamps"):
                every = [*FILE["suppress_tokens"], *range(NO_TIMES + 1, SIZES["vocab_size"])]
                options = {**options, "suppress_tokens": every}
            mask = torch.ones(2, frames, dtype=torch.long)
            said = made.generate(
                torch.tensor(features[:, :, :frames]),
                attention_mask=mask,
                return_segments=True,
                **options,
            )
            cases[name] = [
                [
                    {
                        "start": float(one["start"]),
                        "end": float(one["end"]),
                        "tokens": one["tokens"].tolist(),
                        "times": one["token_timestamps"].tolist()
                        if "token_timestamps" in one
                        else None,
                    }
                    for one in row
                ]
                for row in said["segments"]
            ]
            print(seed, name, [s["tokens"] for s in cases[name][0]][:4])
        found = made.detect_language(torch.tensor(features[:, :, :40])).tolist()
        out["models"].append(
            {"weights": weights, "features": features.tolist(), "cases": cases, "languages": found}
        )
    (HERE / "parity.json.xz").write_bytes(lzma.compress(json.dumps(out).encode()))


main()
