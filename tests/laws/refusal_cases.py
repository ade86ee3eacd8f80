"""Well-formed calls of every kind of model, and malformed values of each argument."""

import numpy as np

import transformers_jax as tj
from tests.laws.malformed import (
    ids,
    named,
    number,
    per_row,
    per_token,
    positions,
    real,
    square,
    vectors,
)
from tests.laws.refusal_models import D, S, model_of

B, T = 2, 5
MASK = {**per_token(B, T), "additive": np.where(number(B, T) > 0, 0.0, -np.inf).astype(np.float32)}
SOURCE = {**per_token(B, S), "additive": np.zeros((B, S), np.float32)}
UNREAD = {"read by no mask": {"segment": number(B, T)}}

# (family, head): (a well-formed call, the malformations of its arguments)
TOKENS = dict(input_ids=number(B, T), attention_mask=1 + 0 * number(B, T))
WRONG_TOKENS = dict(input_ids=ids(B, T), attention_mask=MASK)
TYPED = {**TOKENS, "token_type_ids": number(B, T), "position_ids": positions(B, T)}
WRONG_TYPED = {
    **WRONG_TOKENS,
    "token_type_ids": per_token(B, T),
    "position_ids": per_token(B, T, shared=True),
    "tags": {
        **UNREAD,
        **named("position", per_token(B, T, shared=True)),
    },
}
BOTH = dict(
    input_ids=number(B, S),
    attention_mask=1 + 0 * number(B, S),
    decoder_input_ids=number(B, T),
    decoder_attention_mask=1 + 0 * number(B, T),
)
WRONG_BOTH = dict(
    input_ids=ids(B, S, long=False),
    attention_mask=SOURCE,
    decoder_input_ids={**ids(B, T, long=False), "other rows": number(B + 1, T)},
    decoder_attention_mask=MASK,
    labels=per_token(B, T),
)
ENCODED = {"last_hidden_state": real(B, S, D)}
PIXELS = {"pixel_values": real(B, 3, 12, 12)}
WRONG_PIXELS = {
    "height, width, channels": real(B, 12, 12, 3),
    "one channel": real(B, 1, 12, 12),
    "an axis less": real(3, 12, 12),
    "integers": number(B, 3, 12, 12),
    "another size": real(B, 3, 16, 16),
    "no images": real(0, 3, 12, 12),
}
FRAMES = {"input_features": real(B, 5, 2 * S)}
WRONG_FRAMES = {
    "other mel channels": real(B, 6, 2 * S),
    "too few frames": real(B, 5, S),
    "frames first": real(B, 2 * S, 5),
    "an axis less": real(5, 2 * S),
    "integers": number(B, 5, 2 * S),
    "no rows": real(0, 5, 2 * S),
}
SENTENCE = per_row(B)
CHOICES = (B, 3, T)
CASES = {
    ("bert", "none"): (TYPED, WRONG_TYPED),
    ("bert", "masked_lm"): ({**TYPED, "labels": number(B, T)}, {"labels": per_token(B, T)}),
    ("bert", "token_classification"): (
        {**TOKENS, "labels": number(B, T)},
        {"labels": per_token(B, T)},
    ),
    ("bert", "sequence_classification"): (
        {**TOKENS, "labels": number(B)},
        {"labels": {**per_row(B), "[B 1] of floats": real(B, 1)}},
    ),
    ("bert", "question_answering"): (
        {**TOKENS, "start_positions": number(B), "end_positions": number(B)},
        {"start_positions": per_row(B), "end_positions": per_row(B)},
    ),
    ("bert", "next_sentence"): ({**TOKENS, "labels": number(B)}, {"labels": SENTENCE}),
    ("bert", "pretraining"): (
        {**TOKENS, "labels": number(B, T), "next_sentence_label": number(B)},
        {"labels": per_token(B, T), "next_sentence_label": SENTENCE},
    ),
    ("bert", "multiple_choice"): (
        {
            "input_ids": number(*CHOICES),
            "attention_mask": 1 + 0 * number(*CHOICES),
            "token_type_ids": number(*CHOICES),
            "position_ids": positions(*CHOICES),
            "labels": number(B),
        },
        {
            "input_ids": {**ids(*CHOICES), "two axes": number(B, T)},
            "attention_mask": per_token(*CHOICES),
            "token_type_ids": per_token(*CHOICES),
            "position_ids": per_token(*CHOICES),
            "labels": per_row(B),
        },
    ),
    ("big_bird", "question_answering"): (
        {**TOKENS, "question_lengths": number(B)},
        {"question_lengths": per_row(B)},
    ),
    ("distilbert", "none"): (TOKENS, {"token_type_ids": {"no table": number(B, T)}}),
    ("electra", "replaced_token"): (
        {**TOKENS, "labels": number(B, T)},
        {"labels": per_token(B, T)},
    ),
    ("electra", "replaced_token_detection"): (
        {**TOKENS, "token_type_ids": number(B, T), "labels": number(B, T)},
        {
            **WRONG_TOKENS,
            "token_type_ids": per_token(B, T),
            "labels": per_token(B, T),
            "tags": UNREAD,
        },
    ),
    ("gpt2", "causal_lm"): (
        {
            **TYPED,
            "labels": number(B, T),
            "tags": {"document": number(1, T)},
            "pairs": {"own": real(1, T, T)},
        },
        {
            **{name: wrong for name, wrong in WRONG_TYPED.items() if name != "tags"},
            "labels": per_token(B, T),
            "tags": {
                **named("document", per_token(B, T, shared=True)),
                "no dict": number(B, T),
                "read by no mask": {"document": number(B, T), "segment": number(B, T)},
            },
            "pairs": {
                **named("own", square(B, T, T)),
                "read by no mask": {"own": real(B, T, T), "other": real(B, T, T)},
            },
        },
    ),
    ("gpt2", "sequence_classification"): (
        {**TOKENS, "labels": number(B)},
        {"labels": per_row(B)},
    ),
    ("llama", "causal_lm"): (
        {**TOKENS, "position_ids": positions(1, T), "labels": number(B, T)},
        {
            "position_ids": per_token(B, T, shared=True),
            "labels": per_token(B, T),
            "token_type_ids": {"no table": number(B, T)},
            "inputs_embeds": {"both": real(B, T, D)},
        },
    ),
    ("longformer", "masked_lm"): (
        {**TOKENS, "global_attention_mask": number(B, T)},
        {"global_attention_mask": per_token(B, T)},
    ),
    ("bart", "seq2seq_lm"): (
        {**BOTH, "labels": number(B, T)},
        {
            **WRONG_BOTH,
            "input_ids": ids(B, S),
            "token_type_ids": {"no table": number(B, S)},
            "tags": {**UNREAD, **named("position", per_token(B, S, shared=True))},
            "decoder_tags": {**UNREAD, **named("position", per_token(B, T, shared=True))},
        },
    ),
    ("bart", "sequence_classification"): (
        {"input_ids": 2 + 0 * number(B, T), "labels": number(B)},
        {"labels": per_row(B)},
    ),
    ("t5", "seq2seq_lm"): (
        {
            **BOTH,
            "labels": number(B, T),
            "tags": {"document": number(1, S)},
            "decoder_tags": {"document": number(B, T)},
            "pairs": {"own": real(B, T, T), "between": real(1, T, S)},
        },
        {
            **WRONG_BOTH,
            "tags": named("document", per_token(B, S, shared=True)),
            "decoder_tags": named("document", per_token(B, T, shared=True)),
            "pairs": {
                **named("own", square(B, T, T), between=real(1, T, S)),
                **{
                    f"between {what}": wrong
                    for what, wrong in named("between", square(B, T, S), own=real(B, T, T)).items()
                },
            },
        },
    ),
    ("t5", "none"): (
        {
            "encoder_outputs": ENCODED,
            "attention_mask": 1 + 0 * number(B, S),
            "decoder_inputs_embeds": real(B, T, D),
        },
        {
            "encoder_outputs": {
                **named("last_hidden_state", vectors(B, S, D)),
                "no record": real(B, S, D),
                "other rows": {"last_hidden_state": real(B + 1, S, D)},
            },
            "attention_mask": SOURCE,
            "decoder_inputs_embeds": vectors(B, T, D),
        },
    ),
    ("transformer", "seq2seq_lm"): ({**BOTH, "labels": number(B, T)}, WRONG_BOTH),
    ("vit", "none"): (PIXELS, {"pixel_values": WRONG_PIXELS}),
    ("vit", "image_classification"): (
        {**PIXELS, "labels": number(B)},
        {"pixel_values": WRONG_PIXELS, "labels": {**per_row(B), "other rows": number(B + 1)}},
    ),
    ("clip", "contrastive"): (
        {**TOKENS, **PIXELS},
        {**WRONG_TOKENS, "pixel_values": WRONG_PIXELS},
    ),
    ("whisper", "seq2seq_lm"): (
        {**FRAMES, "labels": number(B, T)},
        {
            "input_features": {**WRONG_FRAMES, "other rows": real(B + 1, 5, 2 * S)},
            "labels": {"one axis": number(T), "floats": real(B, T), "too wide": number(B, 9)},
            "decoder_input_ids": ids(B, T),
        },
    ),
    ("recurrent", "seq2seq_lm"): (
        {name: x for name, x in BOTH.items() if name != "decoder_attention_mask"}
        | {"labels": number(B, T)},
        {name: x for name, x in WRONG_BOTH.items() if name != "decoder_attention_mask"},
    ),
    ("MultiheadAttention", "none"): (
        dict(
            query=real(B, T, D),
            key=real(B, S, D),
            value=real(B, S, D),
            attn_mask=real(T, S),
            key_padding_mask=real(B, S),
        ),
        dict(
            query={"narrower": real(B, T, D - 1), "other rows": real(B + 1, T, D)},
            key={"narrower": real(B, S, D - 1), "an axis less": real(S, D)},
            value={"other keys": real(B, S + 1, D)},
            attn_mask={"[T 1]": real(T, 1), "integers": number(T, S), "a row": real(S)},
            key_padding_mask={"[B 1]": real(B, 1), "[1 S]": real(1, S), "integers": number(B, S)},
        ),
    ),
    ("nn.Transformer", "none"): (
        dict(src=real(B, S, D), tgt=real(B, T, D), src_key_padding_mask=0 * real(B, S)),
        dict(
            src={"narrower": real(B, S, D - 1), "other rows": real(B + 1, S, D)},
            tgt={"an axis less": real(T, D)},
            src_mask={"[S 1]": real(S, 1), "integers": number(S, S)},
            memory_mask={"[S T]": real(S, T)},
            src_key_padding_mask={"[B 1]": real(B, 1), "[1 S]": real(1, S)},
        ),
    ),
}


def cached(family, rows, length):
    return tj.init_cache(model_of(family, "causal_lm"), rows, length)


LONG = number(B, 9)
INVALID_CALLS = {
    "a row beyond the positions": ("bert", "none", {"input_ids": LONG}),
    "a target beyond the positions": (
        "bart",
        "seq2seq_lm",
        {"input_ids": LONG[:, :4], "labels": LONG},
    ),
    "vectors beyond the positions": ("bert", "none", {"inputs_embeds": real(B, 9, D)}),
    "vectors of another width": ("llama", "causal_lm", {"inputs_embeds": real(B, T, D - 1)}),
    "vectors of integers": ("llama", "causal_lm", {"inputs_embeds": number(B, T, D)}),
    "vectors without rows": ("llama", "causal_lm", {"inputs_embeds": real(T, D)}),
    "ids and vectors": ("bart", "none", {**BOTH, "inputs_embeds": real(B, S, D)}),
    "patches that an image does not fill": (
        "vit",
        "none",
        {"pixel_values": real(B, 3, 13, 12), "interpolate_pos_encoding": True},
    ),
    "no images at all": ("vit", "image_classification", {"labels": number(B)}),
    "texts without images": ("clip", "contrastive", TOKENS),
    "images without texts": ("clip", "contrastive", PIXELS),
    "pairs of unequal counts": (
        "clip",
        "contrastive",
        {**TOKENS, "pixel_values": real(B + 1, 3, 12, 12), "return_loss": True},
    ),
    "no audio": ("whisper", "seq2seq_lm", {"labels": number(B, T)}),
    "audio to which nothing is written": ("whisper", "none", FRAMES),
    "no tokens at all": ("bert", "none", {"attention_mask": number(B, T)}),
    "an empty row": ("bert", "none", {"input_ids": number(B, 0)}),
    "a source of no tokens": ("t5", "seq2seq_lm", {"decoder_input_ids": number(B, T)}),
    "a source of other rows": (
        "t5",
        "none",
        {**BOTH, "encoder_outputs": {"last_hidden_state": real(3, S, D)}},
    ),
    "a cache of other rows": (
        "llama",
        "causal_lm",
        {**TOKENS, "cache": lambda: cached("llama", 3, 8)},
    ),
    "a cache that is too short": (
        "llama",
        "causal_lm",
        {**TOKENS, "cache": lambda: cached("llama", B, 4)},
    ),
    "a cache that is none": ("llama", "causal_lm", {**TOKENS, "cache": real(B, 8)}),
}
