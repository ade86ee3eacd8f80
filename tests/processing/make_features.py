"""Writes what the feature extractors of transformers make of the sounds of `sounds.py`.

python tests/processing/make_features.py      # torch and transformers; no torchaudio
"""

from pathlib import Path

import numpy as np
import sounds
import transformers

HERE = Path(__file__).parent


def main():
    made = {}
    for case, (kind, settings, names, options) in sounds.CASES.items():
        extractor = getattr(transformers, f"{kind}FeatureExtractor")(**settings)
        rows = [sounds.sound(name) for name in names]
        options = {k: v for k, v in options.items() if (kind, k) != ("AST", "truncation")}
        for way in ("torch", "numpy") if kind == "Whisper" else ("numpy",):
            if way == "numpy" and kind == "Whisper":  # what the class computes without torch
                extractor._torch_extract_fbank_features = extractor._np_extract_fbank_features
            out = extractor(rows, sampling_rate=sounds.RATE, return_tensors="np", **options)
            if "do_normalize" in options:
                del out["attention_mask"]  # of samples, which was not asked for
            for key in out:
                every = 4 if kind == "Whisper" and key != "attention_mask" else 1
                made[f"{case}/{way}/{key}"] = np.asarray(out[key])[..., ::every]
    np.savez_compressed(HERE / "features.npz", **made)
    print(len(made), (HERE / "features.npz").stat().st_size)


if __name__ == "__main__":
    main()
