"""Pieces of text are whole characters, and end before stop strings."""

import numpy as np
import pytest

from transformers_jax.generation.pieces import Pieces, Stops

TEXTS = ["plain words", "Käse für 5 €", "日本語 und 👩‍🚀!", ""]


@pytest.mark.parametrize("text", TEXTS)
def test_the_pieces_of_tokens_are_the_text(text, tokenizer):
    before, ids = [int(t) for t in tokenizer.encode("a b")], tokenizer.encode(text)
    pieces = Pieces(tokenizer, before)
    made = [pieces.add(int(token)) for token in ids]
    assert "".join(made) + pieces.rest() == text
    assert not any("\ufffd" in piece for piece in made)


def test_a_character_that_never_ends_is_told_at_the_end(tokenizer):
    pieces = Pieces(tokenizer)
    made = [pieces.add(int(token)) for token in tokenizer.encode("a€")[:-1]]
    assert made == ["a", "", ""]
    assert pieces.rest() == "\ufffd"


@pytest.mark.parametrize("seed", range(20))
def test_text_ends_before_the_first_stop_string_however_it_comes(seed):
    rng = np.random.default_rng(seed)
    text = "".join(rng.choice(list("ab\n"), 30))
    strings = ["".join(rng.choice(list("ab\n"), n)) for n in (2, 3, 4)]
    found = [at for string in strings if (at := text.find(string)) >= 0]
    stops, made, stopped = Stops(strings), "", False
    cuts = np.sort(rng.integers(0, len(text), 7))
    for piece in np.split(np.array(list(text)), cuts):
        if not stopped:
            out, stopped = stops.add("".join(piece))
            made += out
            assert made == text[: len(made)]
    made += stops.rest()
    assert stopped == bool(found)
    # of two strings the one that is complete first ends the text
    ends = [text.find(string) + len(string) for string in strings if string in text]
    assert made == text if not found else len(made) <= min(ends)
    assert not any(string in made for string in strings)
