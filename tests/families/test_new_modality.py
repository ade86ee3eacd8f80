"""A modality that the package does not know is one embedder: all else follows from what it says."""

from dataclasses import dataclass

import jax
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax import spec
from transformers_jax.inspection.description import positions
from transformers_jax.models.base import Plan
from transformers_jax.nn.embed import Embedder, Tokens, nodes_of
from transformers_jax.nn.param import contract, initialise, param
from transformers_jax.training.flops import flops_per_row

D, C, V = 12, 3, 31  # the width, the coordinates of a point, the words


class PointEmbedder(Embedder):
    """Points in space, without an order."""

    raw = arguments = ("points",)

    def __init__(self, initial):
        sizes = {"coordinates": C, "embed": D}
        self.weight = param("coordinates embed", sizes, initial.draw("patch", sizes))

    def check(self, inputs, prefix="", rank=2):
        points = inputs.get(f"{prefix}points")
        return None if points is None else np.shape(points)[:2]

    def __call__(self, inputs, *, dtype, cache=None, key=None, table=None):
        x = contract("btc,cd->btd", inputs["points"].astype(dtype), self.weight)
        return Tokens(x, nodes_of(x.shape[1]), x.shape[1])

    def describe(self):
        return "nothing: points have no order"


@dataclass(frozen=True, kw_only=True)
class PointsConfig(tj.WhisperConfig):
    """Whisper, with points in place of audio."""

    def embedder(self, decoder, **changes):
        return super().embedder(True, **changes) if decoder else PointEmbedder(spec.Initial())


SIZES = dict(
    vocab_size=V, d_model=D, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
    decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_target_positions=20,
    pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return initialise(Plan(PointsConfig(**SIZES), "seq2seq_lm").build(), jax.random.key(0))


def test_it_is_described_and_counted(model):
    assert positions(model) == "nothing: points have no order"
    assert flops_per_row(model, 7, 5).others == 7 * 2 * C * D
    audio = Plan(tj.WhisperConfig(**SIZES), "seq2seq_lm").build()  # the control
    assert flops_per_row(audio, 7, 5).others != 7 * 2 * C * D
    assert positions(audio) == "sinusoids of 1,500 positions"


def test_its_input_is_the_first_argument_and_what_generation_reads(model):
    points = np.random.default_rng(0).normal(size=(2, 6, C)).astype(np.float32)
    assert model.arguments()[0] == "points"
    ids = np.array([[1, 5, 6], [1, 7, 8]])
    named = model(points=points, decoder_input_ids=ids)
    np.testing.assert_array_equal(model(points, decoder_input_ids=ids).logits, named.logits)
    options = dict(max_new_tokens=4, eos_token_id=None)
    written = model.generate(points=points, **options)
    encoded = model.generate(encoder_outputs=model.encode(points), **options)
    np.testing.assert_array_equal(written, encoded)
    with pytest.raises(ValueError, match="an encoder needs points"):
        model.generate(**options)
    with pytest.raises(TypeError, match="no option 'pixel_values'"):
        model.generate(pixel_values=points, **options)
