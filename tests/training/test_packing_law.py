"""Several documents in a row compute what they compute apart: the loss of every objective, and the
gradient of one for each shape of model (that of every family: tests/laws/families)."""

import jax
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.data.config import Data
from transformers_jax.data.stream import Part, Stream
from transformers_jax.data.tokens import Tokens
from transformers_jax.graph import CAUSAL, Same
from transformers_jax.objectives import (
    BlockDiffusion,
    CausalLM,
    Denoising,
    FillInTheMiddle,
    GapSentences,
    Loss,
    MaskedDiffusion,
    MaskedLM,
    PrefixLM,
    SpanCorruption,
    Vocabulary,
    objective,
)

ROLES = "pad unk bos eos cls sep mask fim_prefix fim_middle fim_suffix".split()
WORDS = Vocabulary(
    size=101,
    special={role: number for number, role in enumerate(ROLES)},
    sentinels=tuple(range(100, 90, -1)),
)
LENGTHS = [9, 14, 3, 11, 20, 7]
QUIET = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
DECODER = tj.GPT2Config(
    vocab_size=101, initializer_range=0.3, n_layer=1, n_head=2, n_embd=16, n_positions=64,
    resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=None, eos_token_id=None,
)  # fmt: skip
LLAMA = tj.LlamaConfig(
    vocab_size=101, initializer_range=0.3, num_hidden_layers=1, num_attention_heads=4,
    num_key_value_heads=2,
    hidden_size=16, intermediate_size=24, max_position_embeddings=64,
    bos_token_id=None, eos_token_id=None,
)  # fmt: skip
ENCODER = tj.BertConfig(
    vocab_size=101, initializer_range=0.3, num_hidden_layers=1, num_attention_heads=2,
    hidden_size=16,
    intermediate_size=24, max_position_embeddings=64, **QUIET,
)  # fmt: skip
T5 = tj.T5Config(
    vocab_size=101, num_layers=1, num_heads=2, d_model=16, d_kv=8, d_ff=24, dropout_rate=0.0
)


def bart():
    from transformers_jax.models.bart import BartConfig

    return BartConfig(
        vocab_size=101, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, d_model=16, encoder_ffn_dim=24, decoder_ffn_dim=24,
        max_position_embeddings=96, dropout=0.0, pad_token_id=0, bos_token_id=2, eos_token_id=3,
        decoder_start_token_id=3, forced_eos_token_id=3,
    )  # fmt: skip


def text():
    starts = np.concatenate([[0], np.cumsum(LENGTHS)])
    ids = np.random.default_rng(0).integers(10, 90, starts[-1]).astype(np.int32)
    sentences = np.unique(np.concatenate([starts[:-1], starts[:-1] + np.array(LENGTHS) // 2]))
    return Tokens(ids=ids, starts=starts, sentences=sentences)


def measured(model, record, rows, mask="its own", gradient=False):
    """(sum of the losses, number of answers, rows, gradient of the mean) over all documents."""
    data = Data(rows=rows, length=48, batch=1, window=len(LENGTHS))
    part = Part(text(), data, record, WORDS, 0, shuffle=False)
    count = part.rows_of_pass(0)
    batch, _ = Stream([part], [1.0], data).batch(Stream([part], [1.0], data).start, count)
    mask = record.mask(rows == "packed") if mask == "its own" else mask
    model = tj.from_config(model, head=record.head, key=jax.random.key(1), mask=mask)
    apply, params = tj.functional(model)
    loss = objective(record.loss, Loss())

    @jax.jit
    def run(params):
        return loss(lambda **inputs: apply(params, **inputs), batch, None)

    if gradient:
        (_, sums), grads = jax.value_and_grad(run, has_aux=True)(params)
    else:
        (_, sums), grads = run(params), None
    total, weight = sums["loss"]
    return float(total), float(weight), count, jax.tree.leaves(grads)


CASES = {
    "causal, learned positions": (DECODER, CausalLM()),
    "causal, rotary": (LLAMA, CausalLM()),
    "prefix": (LLAMA, PrefixLM()),
    "fill in the middle": (LLAMA, FillInTheMiddle()),
    "masked": (ENCODER, MaskedLM()),
    "masked diffusion": (ENCODER, MaskedDiffusion()),
    "block diffusion": (ENCODER, BlockDiffusion(block=4)),
    "spans": (T5, SpanCorruption()),
    "denoising": (bart, Denoising()),
    "gap sentences": (bart, GapSentences()),
}

EVERY = Same("document") | ~Same("document")
DIFFERENTIATED = (
    "causal, learned positions",
    "masked",
    "block diffusion",
    "spans",
)  # others: laws of the families


@pytest.mark.parametrize("name", CASES)
def test_packed_documents_equal_separate_ones(name):
    model, record = CASES[name]
    model = model() if callable(model) else model
    gradient = name in DIFFERENTIATED
    total, weight, rows, grads = measured(model, record, "packed", gradient=gradient)
    separate, separate_weight, count, expected_gradient = measured(
        model, record, "padded", gradient=gradient
    )
    assert rows < count == len(LENGTHS)
    assert weight == separate_weight
    assert total == pytest.approx(separate, rel=1e-6)
    if gradient:
        scale = max(float(np.abs(g).max()) for g in expected_gradient)
        assert (
            max(float(np.abs(a - b).max()) for a, b in zip(grads, expected_gradient))
            <= 2e-6 * scale
        )


@pytest.mark.parametrize(
    ("model", "record", "mask"),
    [(DECODER, CausalLM(), CAUSAL & EVERY), (ENCODER, MaskedLM(), EVERY)],
)
def test_documents_that_attend_to_each_other_are_not_separate(model, record, mask):
    """The control: a mask that compares documents, and joins them all."""
    total, *_ = measured(model, record, "packed", mask)
    apart, *_ = measured(model, record, "padded")
    assert abs(total - apart) > 1e-3 * apart
