"""A small Whisper with its processor and tokenizer, whose windows are of one second."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers

import transformers_jax as tj
from transformers_jax.publish import publish_json

LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())
SPECIAL = (
    *("<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>"),
    *("<|transcribe|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"),
)
TOKEN = {name: len(LETTERS) + number for number, name in enumerate(SPECIAL)}
PLACES = 50  # states of the encoder, of 20 ms each
END = TOKEN["<|endoftext|>"]
GENERATION = {
    "eos_token_id": END,
    "pad_token_id": END,
    "decoder_start_token_id": TOKEN["<|startoftranscript|>"],
    "lang_to_id": {"<|en|>": TOKEN["<|en|>"], "<|de|>": TOKEN["<|de|>"]},
    "task_to_id": {name: TOKEN[f"<|{name}|>"] for name in ("translate", "transcribe")},
    "is_multilingual": True,
    "no_timestamps_token_id": TOKEN["<|notimestamps|>"],
    "prev_sot_token_id": TOKEN["<|startofprev|>"],
    "max_initial_timestamp_index": 10,
    "alignment_heads": [[0, 1]],
    "suppress_tokens": [token for name, token in TOKEN.items() if token != END],
    "begin_suppress_tokens": [END],
}


@pytest.fixture(scope="session")
def whisper(tmp_path_factory):
    """The directory of the model."""
    folder = tmp_path_factory.mktemp("whisper")
    config = tj.WhisperConfig(
        vocab_size=len(LETTERS) + len(SPECIAL) + PLACES + 1,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_mel_bins=8,
        max_source_positions=PLACES,
        max_target_positions=48,
        bos_token_id=END,
        eos_token_id=END,
        pad_token_id=END,
        decoder_start_token_id=GENERATION["decoder_start_token_id"],
        init_std=0.3,
    )
    tj.from_config(config, head="seq2seq_lm", key=jax.random.key(4)).save_pretrained(folder)
    publish_json(folder / "generation_config.json", GENERATION)
    publish_json(
        folder / "preprocessor_config.json",
        {
            "feature_extractor_type": "WhisperFeatureExtractor",
            "feature_size": 8,
            "chunk_length": 1,
            "sampling_rate": 16000,
            "hop_length": 160,
            "n_fft": 400,
        },
    )
    inner = tokenizers.Tokenizer(models.BPE({c: i for i, c in enumerate(LETTERS)}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(list(SPECIAL))
    inner.save(str(folder / "tokenizer.json"))
    publish_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"},
    )
    return folder


@pytest.fixture(scope="session")
def model(whisper):
    """The model."""
    return tj.from_pretrained(whisper, head="seq2seq_lm")


@pytest.fixture(scope="session")
def processor(whisper):
    """Its processor."""
    return tj.load_processor(whisper)


@pytest.fixture(scope="session")
def sound():
    """Samples of 2.6 seconds: three windows and more."""
    rng = np.random.default_rng(0)
    at = np.arange(41_600) / 16_000
    tones = sum(np.sin(2 * np.pi * f * at * (1 + 0.1 * at)) for f in (220, 440, 1300))
    return (0.2 * tones + 0.05 * rng.normal(size=at.size)).astype(np.float32)
