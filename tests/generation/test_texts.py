"""Texts and conversations in, texts out, whole or as they are written."""

import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.generation.texts import padded, prompts_of
from transformers_jax.models.output import Output

TEXTS = ["def main", "a", "Käse € und mehr"]
CHAT = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]
NEW = dict(max_new_tokens=10)


def by_ids(model, tokenizer, texts, **options):
    """New text of `generate` on ids, one row after the other."""
    made = []
    for text in texts:
        ids = tokenizer.encode(text)[None]
        row = np.array(model.generate(ids, **options))[0]
        made.append(tokenizer.decode(row[ids.shape[1] :], skip_special_tokens=True))
    return made


def test_texts_are_continued(model, tokenizer):
    made = tj.generate(model, texts=TEXTS, tokenizer=tokenizer, **NEW)
    assert made == by_ids(model, tokenizer, TEXTS, **NEW)
    assert tj.generate(model, texts="a", tokenizer=tokenizer, **NEW) == made[1:2]
    several = tj.generate(
        model, texts=TEXTS[:2], tokenizer=tokenizer, do_sample=True, num_return_sequences=2,
        key=jax.random.key(0), return_dict_in_generate=True, **NEW,
    )  # fmt: skip
    assert isinstance(several, Output)
    assert len(several.texts) == len(several.sequences) == 4


def forcing(token, step, row=None):
    """A processor that writes one token, in one row or in all."""

    def process(text, scores):
        here = (text.new == step) & (jnp.arange(len(scores)) == (row or 0))[:, None]
        here |= (text.new == step) & (row is None)
        return jnp.where(here & (jnp.arange(scores.shape[1]) != token), -1e9, scores)

    return process


def test_a_text_goes_on_behind_the_token_that_fills_rows(model, tokenizer):
    letter = int(tokenizer.encode("q")[0])
    options = dict(tokenizer=tokenizer, logits_processor=[forcing(letter, 2)], max_new_tokens=6)
    options |= dict(eos_token_id=None, pad_token_id=letter)
    made = tj.generate(model, texts=TEXTS[:2], **options)
    assert made == ["".join(tj.stream(model, texts=text, **options)) for text in TEXTS[:2]]
    assert all(not text.endswith("q") and "q" in text for text in made)


@pytest.mark.parametrize("search", [{}, {"penalty_alpha": 0.4, "top_k": 2}, {"num_beams": 2}])
def test_a_text_that_has_ended_is_not_filled(search, model, tokenizer):
    stop, fill = (int(tokenizer.encode(letter)[0]) for letter in "qz")
    call = dict(eos_token_id=None, pad_token_id=fill, stop_strings=["q"], **search, **NEW)
    call |= dict(logits_processor=[forcing(stop, 2, row=0)], return_dict_in_generate=True)
    if search.get("num_beams"):  # all of its beams
        call["logits_processor"] = [forcing(stop, 2)]
    out = tj.generate(model, texts=TEXTS[:2], tokenizer=tokenizer, **call)
    assert out.texts[0].endswith("q")
    assert out.new_tokens[0] == 3
    if not search.get("num_beams"):
        assert out.new_tokens[1] == 10
        assert out.sequences[0, -1] == fill  # the control: its row is filled


def test_conversations_are_answered(model, tokenizer):
    made = tj.generate(model, messages=CHAT, tokenizer=tokenizer, **NEW)
    assert made == by_ids(model, tokenizer, ["<user>Hi<assistant>Yo<assistant>"], **NEW)
    both = tj.generate(model, messages=[CHAT, CHAT[:1]], tokenizer=tokenizer, **NEW)
    assert both[:1] == made
    assert both[1:] == by_ids(model, tokenizer, ["<user>Hi<assistant>"], **NEW)


def test_an_encoder_decoder_answers_texts(tokenizer):
    config = tj.T5Config(
        vocab_size=257, pad_token_id=0, eos_token_id=0, decoder_start_token_id=0, d_model=16,
        d_kv=4, d_ff=24, num_layers=1, num_heads=4, tie_word_embeddings=False,
    )  # fmt: skip
    model = tj.from_config(config, head="seq2seq_lm", key=jax.random.key(1))
    made = tj.generate(model, texts=TEXTS, tokenizer=tokenizer, **NEW)
    rows = prompts_of(model, tokenizer, TEXTS, None)
    ids = np.array(model.generate(**padded(model, rows), **NEW))
    ends = [[t for t in row[1:] if t != 0] for row in ids.tolist()]
    assert made == [tokenizer.decode(row) for row in ends]
    pieces = tj.stream(model, texts=TEXTS[0], tokenizer=tokenizer, **NEW)
    assert "".join(pieces) == made[0]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"do_sample": True, "key": jax.random.key(3), "temperature": 1.3, "top_p": 0.9},
        {"repetition_penalty": 1.5, "no_repeat_ngram_size": 2, "eos_token_id": 70},
        {"max_new_tokens": 1},
    ],
    ids=["greedy", "drawn", "processed", "one"],
)
def test_a_stream_is_what_generate_writes(options, model, tokenizer):
    call = dict(texts=TEXTS[2], tokenizer=tokenizer, **{**NEW, **options})
    whole = tj.generate(model, **call)[0]
    pieces = list(tj.stream(model, **call))
    assert "".join(pieces) == whole
    ids = np.array([tokenizer.encode(TEXTS[2])])
    call = {n: x for n, x in call.items() if n not in ("texts", "tokenizer")}
    tokens = list(tj.stream(model.decoding(), ids, **call))
    row = np.array(tj.generate(model, ids, **call))[0, ids.shape[1] :].tolist()
    assert tokens == row[: len(tokens)]
    assert len(pieces) <= len(tokens)


def test_a_stream_ends_with_its_stop_string(model, tokenizer):
    text = tj.generate(model, texts="a", tokenizer=tokenizer, max_new_tokens=30)[0]
    stop = next(c for c in text[4:] if c.isascii() and c.isprintable())
    call = dict(texts="a", tokenizer=tokenizer, max_new_tokens=30, stop_strings=[stop])
    assert "".join(tj.stream(model, **call)) == tj.generate(model, **call)[0] != text
    timed = list(tj.stream(model, texts="a", tokenizer=tokenizer, max_new_tokens=30, max_time=1e-6))
    assert len(timed) == 1


def test_a_streamer_is_given_the_prompt_and_each_token(model, tokenizer):
    class Kept:
        def __init__(self):
            self.got, self.ended = [], 0

        def put(self, value):
            self.got.append(np.asarray(value).tolist())

        def end(self):
            self.ended += 1

    kept, ids = Kept(), tokenizer.encode("def")[None]
    made = np.array(tj.generate(model, ids, streamer=kept, **NEW))
    np.testing.assert_array_equal(made, tj.generate(model, ids, **NEW))
    assert kept.got[0] == ids[0].tolist()
    assert [token for (token,) in kept.got[1:]] == made[0, 3:].tolist()
    assert kept.ended == 1
    none = Kept()  # whoever waits for the end is told where nothing is written, too
    tj.generate(model, ids, streamer=none, max_new_tokens=0)
    assert (none.got, none.ended) == ([ids[0].tolist()], 1)


@pytest.mark.parametrize("skip", [False, True])
def test_the_text_streamer_prints(skip, model, tokenizer):
    out = io.StringIO()
    streamer = tj.TextStreamer(tokenizer, skip_prompt=skip, file=out)
    made = tj.generate(model, texts="def", tokenizer=tokenizer, streamer=streamer, **NEW)
    assert out.getvalue() == ("" if skip else "def") + made[0] + "\n"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (dict(texts=["a", "b"]), "a stream is of one text, and 2 were asked for"),
        (
            dict(texts="a", num_beams=2),
            "which stay: num_beams=1, no forced words, no penalty_alpha",
        ),
        (dict(texts="a", prompt_lookup_num_tokens=2), "and no drafts"),
        (dict(texts="a", messages=CHAT), "are two kinds of prompts"),
        (dict(texts=[]), "texts must be a text or a list of them"),
        (dict(texts=["a", ""][1:]), r"texts\[0\] is empty"),
        (dict(texts="a", tokenizer=None), "pass tokenizer=tj.load_tokenizer"),
        (dict(messages=[{"role": "user"}]), r"messages\[0\].content must be text"),
        (dict(texts="a", input_ids=np.ones((1, 2), int)), "pass one of them"),
    ],
)
def test_what_is_no_single_text_is_refused(call, said, model, tokenizer):
    call = {"tokenizer": tokenizer, **call}
    with pytest.raises(ValueError, match=said):
        tj.stream(model, **call)


def test_what_is_no_streamer_is_refused(model, tokenizer):
    with pytest.raises(ValueError, match="expected an object with methods put"):
        tj.generate(model, texts="a", tokenizer=tokenizer, streamer=print)
    with pytest.raises(TypeError, match=r"max_new_token'.*max_new_tokens"):
        tj.stream(model, texts="a", tokenizer=tokenizer, max_new_token=3)
    assert list(tj.stream(model, texts="a", tokenizer=tokenizer, max_new_tokens=0)) == []
    assert json.dumps(list(tj.stream(model, np.array([[5]]), max_new_tokens=2)))
