"""Reading in windows says what transformers' `generate` of Whisper says, token by token."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

import transformers_jax as tj
from transformers_jax.publish import publish_json
from transformers_jax.speech import words
from transformers_jax.speech.decoding import Decoder, Trust
from transformers_jax.speech.vocabulary import checked, vocabulary_of
from transformers_jax.speech.windows import Progress, Sequential, Steps

FIXTURES = json.loads(lzma.decompress((Path(__file__).parent / "parity.json.xz").read_bytes()))
FIRST = FIXTURES["file"]["no_timestamps_token_id"] + 1
WINDOW = 2 * FIXTURES["sizes"]["max_source_positions"]
ONCE = Trust(temperatures=(0.0,), log_probability=None, no_speech=None, compression=None)
LIKELY = Trust(temperatures=(0.0,), log_probability=-1.0, no_speech=None, compression=None)
HEARD = Trust(temperatures=(0.0,), log_probability=-1.9, no_speech=0.012, compression=None)


class Letters:
    """A tokenizer whose tokens are letters."""

    def decode(self, ids, skip_special_tokens=False):
        return "".join(chr(97 + token % 26) for token in ids)


@pytest.fixture(scope="module", params=range(len(FIXTURES["models"])))
def made(request, tmp_path_factory):
    """(the model of a fixture, the fixture)."""
    one = FIXTURES["models"][request.param]
    folder = tmp_path_factory.mktemp("whisper")
    publish_json(folder / "config.json", {"model_type": "whisper", **FIXTURES["sizes"]})
    publish_json(folder / "generation_config.json", FIXTURES["file"])
    weights = {k: np.array(v, np.float32) for k, v in one["weights"].items()}
    weights.pop("proj_out.weight", None)

    save_file(weights, folder / "model.safetensors")
    return tj.from_pretrained(folder, head="seq2seq_lm"), one


def read(made, trust, frames, language=None, task=None, times=True):
    """What the model says of both rows of features."""
    model, fixture = made
    vocabulary = vocabulary_of(model)
    code, task = checked(vocabulary, language, task, times)
    features = np.array(fixture["features"], np.float32)[:, :, :frames]
    width = len(vocabulary.prompt(code, task, times))
    without = [*FIXTURES["file"]["suppress_tokens"], *range(FIRST, FIXTURES["sizes"]["vocab_size"])]
    decoder = Decoder(
        model=model,
        vocabulary=vocabulary,
        tokenizer=Letters(),
        trust=trust,
        times=times,
        options={} if times else {"suppress_tokens": without},
        key=jax.random.key(0),
        batch=2,
        width=width,
    )
    found = decoder.languages(decoder.encode(list(features[:, :, :WINDOW])))
    prompts = [vocabulary.prompt(code, task, times) for _ in features]
    begin = [
        tuple(vocabulary.languages[own] if token is None else token for token in prompt)
        for own, prompt in zip(found, prompts)
    ]
    audios = [Progress(one, frames, first, []) for one, first in zip(features, begin)]
    Sequential(decoder, Steps(0.01, WINDOW, 2), False, 15)(audios, lambda share: None)
    return decoder, audios, found


CASES = {
    "plain": (ONCE, 40, {"times": False}),
    "english": (ONCE, 40, {"language": "en", "task": "transcribe", "times": False}),
    "translate": (ONCE, 40, {"language": "german", "task": "translate", "times": False}),
    "times": (ONCE, 40, {}),
    "long": (ONCE, 170, {}),
    "long german": (ONCE, 170, {"language": "<|de|>", "task": "transcribe"}),
    "unlikely": (LIKELY, 170, {}),
    "silent": (HEARD, 170, {}),
}


@pytest.mark.parametrize("name", CASES)
def test_says_what_transformers_says(made, name):
    trust, frames, options = CASES[name]
    _, audios, _ = read(made, trust, frames, **options)
    for audio, expected in zip(audios, made[1]["cases"][name]):
        # transformers keeps the time that opens the next piece in the last one of a window
        text = lambda tokens: [t for t in tokens if t < FIRST]
        assert [text(p.tokens) for p in audio.pieces] == [text(s["tokens"]) for s in expected]
        at = lambda p, t: 0.01 * (p.begin + 2 * t)
        ours = [(at(p, p.cut.start_time), at(p, p.cut.end_time)) for p in audio.pieces]
        np.testing.assert_allclose(ours, [(s["start"], s["end"]) for s in expected], atol=1e-9)


def test_languages_are_those_of_transformers(made):
    names = {token: code.strip("<|>") for code, token in FIXTURES["file"]["lang_to_id"].items()}
    _, _, found = read(made, ONCE, 40)
    assert found == [names[token] for token in made[1]["languages"]]


def test_times_of_tokens_are_those_of_transformers(made):
    decoder, audios, _ = read(made, ONCE, 170)
    model = made[0]
    for row, audio in enumerate(audios):
        expected = made[1]["cases"]["token times"][row]
        for piece, theirs in zip(audio.pieces[:3], expected):
            part = audio.features[:, piece.begin : piece.begin + WINDOW]
            part = np.pad(part, ((0, 0), (0, WINDOW - part.shape[1])))
            states = model.encode(input_features=part[None])
            tokens, heads = piece.window.tokens, decoder.vocabulary.heads
            places = words.token_times(
                model, states, piece.prompt, tokens, heads, piece.frames // 2, 32
            )
            ours = 0.01 * (piece.begin + 2 * places[piece.cut.begin : piece.cut.end])
            np.testing.assert_allclose(ours, theirs["times"][: len(ours)], atol=1e-6)
