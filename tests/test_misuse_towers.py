"""Mistaken calls of models of several towers, or of images and audio."""

from pathlib import Path

import jax
import numpy as np
import pytest

import transformers_jax as tj

IDS = np.array([[3, 4, 5]])

# ---------------------------------------------------------------- two stacks


STATES = {"last_hidden_state": np.ones((1, 3, 24), np.float32)}


@pytest.fixture(scope="module")
def pair():
    config = tj.T5Config(vocab_size=32, d_model=24, d_kv=6, d_ff=16, num_layers=1, num_heads=4)
    return tj.from_config(config, head="seq2seq_lm", key=jax.random.key(0))


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (dict(input_ids=IDS, labels=[[1], [2]]), "source has 1 rows and the decoder 2"),
        (dict(input_ids=IDS, decoder_input_ids=[[1], [2]]), "source has 1 rows and the decoder 2"),
        (
            dict(inputs_embeds=np.ones((1, 3, 7))),
            r"inputs_embeds has shape \(1, 3, 7\); expected 3",
        ),
        (dict(input_ids=IDS, decoder_inputs_embeds=np.ones((1, 24))), "decoder_inputs_embeds has"),
        (dict(encoder_outputs=np.ones((1, 3, 24))), r"is ndarray; expected what model\.encode"),
        (
            dict(input_ids=IDS[:, :2], encoder_outputs=STATES, labels=[[1]]),
            r"input_ids have \(1, 2\) and encoder_outputs are of \(1, 3\)",
        ),
        (
            dict(inputs_embeds=np.ones((1, 4, 24)), encoder_outputs=STATES, labels=[[1]]),
            r"inputs_embeds have \(1, 4\) and encoder_outputs are of \(1, 3\)",
        ),
    ],
)
def test_each_side_has_errors_of_its_own(pair, inputs, words):
    with pytest.raises(ValueError, match=words):
        pair(**inputs)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            dict(decoder_start_token_id=32),
            r"decoder_start_token_id.* is 32, outside the vocabulary",
        ),
        (
            dict(forced_bos_token_id=40),
            r"forced_bos_token_id is 40, outside the vocabulary \[0, 32",
        ),
        (dict(forced_eos_token_id=[1, 99]), "forced_eos_token_id is 99, outside"),
        (dict(generation_config="greedy"), "generation_config is 'greedy'; expected a dict"),
    ],
)
def test_forced_tokens_are_in_the_vocabulary(pair, options, words):
    with pytest.raises((TypeError, ValueError), match=words):
        pair.generate(IDS, max_new_tokens=2, **options)
    call_options = dict(decoder_start_token_id=31, forced_bos_token_id=0, max_new_tokens=0)
    assert pair.generate(IDS, **call_options).tolist() == [[31]]


# ---------------------------------------------------------------- images and audio


CASES = Path(__file__).parent / "conformance" / "cases"
IMAGE = np.zeros((2, 3, 32, 32), np.float32)  # of the cases' size
AUDIO = np.zeros((2, 12, 40), np.float32)
WRONG_CALLS = [
    (
        "vit-classify",
        dict(pixel_values=IMAGE.astype(np.uint8)),
        "floating-point numbers, not uint8",
    ),
    ("vit-classify", dict(pixel_values=IMAGE.transpose(0, 2, 3, 1)), "3 channels, height, width"),
    ("vit-classify", dict(pixel_values=IMAGE[..., :24]), "interpolate_pos_encoding=True"),
    ("vit-classify", dict(pixel_values=IMAGE, labels=[0, 7]), r"labels\[1\] is 7; .* \[0, 7\)"),
    ("vit-classify", dict(labels=[0, 1]), "give pixel_values"),
    ("vit-classify", dict(input_ids=[[1, 2]]), "has no argument 'input_ids'"),
    ("clip", dict(input_ids=[[1, 2]], return_loss=True), "give pixel_values"),
    ("clip", dict(pixel_values=IMAGE), "give input_ids"),
    (
        "clip",
        dict(input_ids=[[1, 2]], pixel_values=IMAGE, return_loss=True),
        "1 texts and 2 images; give as many, pair by pair",
    ),
    ("whisper", dict(input_features=AUDIO[:, :5], labels=[[1], [2]]), "12 mel channels, 40 frames"),
    ("whisper", dict(input_features=AUDIO[..., :30], labels=[[1], [2]]), "pad audio with silence"),
    ("whisper", dict(input_features=AUDIO), "give decoder_input_ids"),
    ("whisper", dict(labels=[[1], [2]]), "give input_features"),
    ("whisper", dict(input_features=AUDIO, labels=[[1]]), "source has 2 rows and the decoder 1"),
]


@pytest.mark.parametrize(("case", "inputs", "words"), WRONG_CALLS)
def test_errors_about_images_and_audio_say_what_is_expected(case, inputs, words):
    with pytest.raises((ValueError, TypeError), match=words):
        tj.from_pretrained(CASES / case)(**inputs)


def test_text_is_generated_from_audio_only():
    model = tj.from_pretrained(CASES / "whisper")
    with pytest.raises(ValueError, match="input_features"):
        model.generate(max_new_tokens=2)
    with pytest.raises((ValueError, TypeError), match="it takes input_features"):
        model.generate([[3, 4]], max_new_tokens=2)
    with pytest.raises(ValueError, match="12 mel channels"):
        model.generate(input_features=AUDIO[:, :5], max_new_tokens=2)
