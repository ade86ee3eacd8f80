"""Transcription by Whisper-tiny at its own size, samples in and text out: 30 seconds, and ten
minutes window after window (batch 1) and in chunks of 30 seconds (batch 8); float32.

The weights are drawn, large ones, and the end of the text is suppressed, so that every window
writes `NEW` tokens on both sides. Those of times are all alike: a window begins with one and has no
other, and the next begins where it ends. transformers' `generate` reads the windows, its pipeline
the chunks; neither decodes a window again. Sides compare what is written first.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.cases import Side

UNIT = "s of audio/s"
LEAST_RUNS = 1
CASES: dict[str, dict[str, Any]] = {
    "whisper-tiny 30 s": dict(seconds=30, method="windows"),
    "whisper-tiny 10 min": dict(seconds=600, method="windows"),
    "whisper-tiny 10 min chunked": dict(seconds=600, method="chunks"),
}
RATE, NEW, BATCH, COMPARED = 16_000, 48, 8, 24
END, START, ENGLISH, TRANSLATE, TRANSCRIBE, BEFORE, SILENCE, NO_TIMES = (
    *range(50257, 50260), *range(50358, 50360), *range(50361, 50364),
)  # fmt: skip
GENERATION = dict(
    eos_token_id=END,
    pad_token_id=END,
    bos_token_id=END,
    decoder_start_token_id=START,
    lang_to_id={"<|en|>": ENGLISH},
    task_to_id={"translate": TRANSLATE, "transcribe": TRANSCRIBE},
    is_multilingual=True,
    no_timestamps_token_id=NO_TIMES,
    prev_sot_token_id=BEFORE,
    max_initial_timestamp_index=50,
    max_length=448,
    return_timestamps=False,
    suppress_tokens=list(range(END, NO_TIMES + 1)),
    begin_suppress_tokens=[END],
)


def samples(setting: dict[str, Any]) -> Any:
    """Noise with tones, Float[T], the same on all sides."""
    import numpy as np

    at = np.arange(setting["seconds"] * RATE) / RATE
    tones = sum(np.sin(2 * np.pi * f * at * (1 + at / 900)) for f in (220, 440, 1300))
    noise = np.random.default_rng(0).normal(size=at.size)
    return (0.2 * tones + 0.05 * noise).astype(np.float32)


def prepare(setting: dict[str, Any], folder: str) -> None:
    """Writes the model, and a processor and tokenizer with Whisper's special tokens."""
    import jax
    import numpy as np

    import transformers_jax as tj

    model = tj.from_config(tj.WhisperConfig(), head="seq2seq_lm", key=jax.random.key(0))
    model.save_pretrained(folder)
    write_weights(Path(folder) / "model.safetensors", np)
    write_tokenizer(Path(folder))
    features = dict(feature_extractor_type="WhisperFeatureExtractor", feature_size=80)
    files = {"generation_config.json": GENERATION, "preprocessor_config.json": features}
    for name, content in files.items():
        (Path(folder) / name).write_text(json.dumps(content))


def write_weights(file: Path, np: Any) -> None:
    """Makes tokens of texts unlike, and those of times alike."""
    from safetensors.numpy import load_file, save_file

    stored = load_file(file)
    table, places = (
        next(name for name in stored if name.endswith(f"decoder.embed_{kind}.weight"))
        for kind in ("tokens", "positions")
    )
    stored[table] = np.where(np.arange(len(stored[table]))[:, None] > NO_TIMES, 0, stored[table])
    stored[table] = (stored[table] * 20).astype(np.float32)
    stored[places] = stored[places] * np.float32(80)
    save_file(stored, file, metadata={"format": "pt"})


def write_tokenizer(folder: Path) -> None:
    """A vocabulary of Whisper's size: bytes, words that no text is made of, special tokens."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = letters + [f"Ġw{number}" for number in range(len(letters), END)]
    inner = tokenizers.Tokenizer(models.BPE({word: n for n, word in enumerate(words)}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    named = {END: "endoftext", START: "startoftranscript", ENGLISH: "en", TRANSLATE: "translate"}
    named |= {TRANSCRIBE: "transcribe", 50360: "startoflm", BEFORE: "startofprev"}
    named |= {SILENCE: "nospeech", NO_TIMES: "notimestamps"}
    special = [f"<|{named.get(n, f'language{n}')}|>" for n in range(END, NO_TIMES + 1)]
    inner.add_special_tokens(special)
    inner.add_tokens([tokenizers.AddedToken(f"<|{n * 0.02:.2f}|>") for n in range(1501)])
    inner.save(str(folder / "tokenizer.json"))
    config = dict(tokenizer_class="WhisperTokenizer", eos_token="<|endoftext|>")
    config |= dict(bos_token="<|endoftext|>", unk_token="<|endoftext|>", pad_token="<|endoftext|>")
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def written(text: str) -> list[float]:
    """The beginning of a text as numbers."""
    return [float(ord(letter)) for letter in text.strip()[:COMPARED]]


def ours(setting: dict[str, Any], folder: str) -> Side:
    """`tj.transcribe`."""
    import transformers_jax as tj
    from transformers_jax.speech import Trust

    model, processor = tj.from_pretrained(folder), tj.load_processor(folder)
    trust = Trust(temperatures=(0.0,), log_probability=None, compression=None, no_speech=None)
    chunked = setting["method"] == "chunks"
    options: dict[str, Any] = dict(language="en", max_new_tokens=NEW, method=setting["method"])
    options |= dict(timestamps="none" if chunked else "segments", batch=BATCH if chunked else 1)
    sound = samples(setting)
    run = lambda: tj.transcribe(
        model, sound, processor=processor, sampling_rate=RATE, trust=trust, **options
    )
    return Side(run, setting["seconds"], written(run().text))


def eager(setting: dict[str, Any], folder: str) -> Side:
    """transformers' generate, and its pipeline of chunks, in eager mode."""
    import torch
    from transformers import AutoTokenizer, WhisperFeatureExtractor, pipeline
    from transformers import WhisperForConditionalGeneration as Whisper

    model = Whisper.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").eval()
    extract = WhisperFeatureExtractor.from_pretrained(folder)
    tokenizer, sound = AutoTokenizer.from_pretrained(folder), samples(setting)
    options: dict[str, Any] = dict(language="en", task="transcribe", max_new_tokens=NEW)
    if setting["method"] == "chunks":
        options["num_beams"] = 1  # where the pipeline has five
        read = pipeline(
            "automatic-speech-recognition", model=model, tokenizer=tokenizer,
            feature_extractor=extract, chunk_length_s=30, batch_size=BATCH,
        )  # fmt: skip

        def run():
            given = {"raw": sound, "sampling_rate": RATE}
            return read(given, generate_kwargs=options)["text"]
    else:

        def run():
            form = dict(sampling_rate=RATE, return_tensors="pt")
            if setting["seconds"] > 30:
                form |= dict(truncation=False, padding="longest", return_attention_mask=True)
            with torch.inference_mode():
                ids = model.generate(**extract(sound, **form), return_timestamps=True, **options)
            return tokenizer.decode(ids[0], skip_special_tokens=True)

    return Side(run, setting["seconds"], written(run()))


SIDES = {"ours": ours, "eager": eager}
