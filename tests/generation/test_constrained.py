"""Beams that have to write words: laws over random languages, and a plain account of progress."""

import itertools
import random

import jax
import numpy as np
import pytest

import transformers_jax as tj
from tests.generation.markov import Markov, MarkovConfig, best_sentences
from transformers_jax import generation
from transformers_jax.generation.constrained import Progress, offers, read_token
from transformers_jax.generation.constraints import forced, forest_of
from transformers_jax.generation.options import resolve

V, EOS, PAD = 9, 3, 0
LETTERS = [token for token in range(V) if token not in (EOS, PAD)]


def language(seed, **config):
    table = np.random.default_rng(seed).normal(size=(5, V, V)).astype(np.float32) * 2
    return table, Markov(MarkovConfig(vocab_size=V, pad_token_id=PAD, **config), table)


def write(model, prompt, words, **options):
    options = {"num_beams": 3, "eos_token_id": EOS, **options}
    return tj.generate(
        model, np.array(prompt), force_words_ids=words, return_dict_in_generate=True, **options
    )


def contains(text, word):
    return any(text[n : n + len(word)] == list(word) for n in range(len(text)))


def has_all(text, words):
    choices = [word if isinstance(word[0], (list, tuple)) else [word] for word in words]
    return all(any(contains(text, word) for word in choice) for choice in choices)


def random_words(draw):
    """Words and disjunctions, some of which begin alike."""
    word = lambda: [draw.choice(LETTERS) for _ in range(draw.choice([1, 1, 2, 3]))]
    words = [word() for _ in range(draw.choice([1, 2, 3]))]
    if draw.random() < 0.5:
        choice = sorted({tuple(word()) for _ in range(3)})
        alone = lambda one: not any(o != one and one[: len(o)] == o for o in choice)
        words.append([list(one) for one in choice if alone(one)])
    return words


def least(words):
    return sum(
        min(map(len, word)) if isinstance(word[0], (list, tuple)) else len(word) for word in words
    )


@pytest.mark.parametrize("spare", [0, 1, 4])
def test_the_best_text_contains_all_words_wherever_there_is_room(spare):
    """With exactly as many tokens as the words have, and with more; and whatever has ended contains
    them, in every row of several."""
    plain = 0
    for seed in range(6):
        draw, (_, model) = random.Random(seed), language(seed)
        words = random_words(draw)
        prompt = [[EOS, 8, 8], [EOS, EOS, EOS]]  # which begin no word
        words = [[[6]] if word == [8] else word for word in words]
        options = {"max_new_tokens": least(words) + spare, "num_return_sequences": 2}
        out = write(model, prompt, words, **options)
        for number, row in enumerate(np.asarray(out.sequences).tolist()):
            new = row[3:]
            if number % 2 == 0 or EOS in new:
                assert has_all(row, words), (seed, row, words)
        free = tj.generate(model, np.array(prompt), num_beams=3, eos_token_id=EOS, max_new_tokens=9)
        plain += sum(has_all(row, words) for row in np.asarray(free).tolist())
    assert plain < 6  # the control: beams that are not forced leave them out


@pytest.mark.parametrize(
    ("penalty", "words"), [(0.0, [[2]]), (1.0, [[4], [1]]), (-1.0, [[[1], [4]]])]
)
def test_enough_beams_find_the_best_sentences_that_contain_the_words(penalty, words):
    """By enumeration; there are more beams than words of the language."""
    small, limit = 5, 4
    for seed in range(3):
        table = np.random.default_rng(seed).normal(size=(5, small, small)).astype(np.float32) * 2
        model = Markov(MarkovConfig(vocab_size=small, pad_token_id=PAD), table)
        out = write(
            model, [[EOS]], words, num_beams=160, num_return_sequences=3, max_new_tokens=limit,
            length_penalty=penalty, early_stopping="never",
        )  # fmt: skip
        every = best_sentences(table, [EOS], limit, EOS, penalty)
        best = [(worth, tail) for worth, tail in every if has_all(list(tail), words)]
        for row in range(3):
            worth, tail = best[row]
            text = out.sequences[row, 1:].tolist()
            assert text == list(tail) + [PAD] * (len(text) - len(tail))
            np.testing.assert_allclose(out.sequences_scores[row], worth, rtol=1e-5)
        assert every[0][1] != best[0][1] or has_all(list(every[0][1]), words)


def test_where_the_prompt_has_the_words_the_best_text_is_that_of_plain_beams():
    """Nothing is forced then; with another word something is."""
    differs = 0
    for seed in range(5):
        _, model = language(seed)
        options = {"max_new_tokens": 7, "early_stopping": "never", "num_beams": 4}
        plain = tj.generate(model, np.array([[4, 7, 6]]), eos_token_id=EOS, **options)
        there, new = (
            np.asarray(write(model, [[4, 7, 6]], [word], **options).sequences)
            for word in ([7, 6], [6, 7])
        )
        np.testing.assert_array_equal(there, plain)
        differs += new.shape != plain.shape or (new != np.asarray(plain)).any()
    assert differs > 2


def test_rows_do_not_affect_each_other():
    _, model = language(11)
    prompts, words = [[1, 2, 4, 2, 1], [4], [5, 2, 6]], [[7, 8], [[5], [6, 6]]]
    ids = np.array([[PAD] * (5 - len(prompt)) + prompt for prompt in prompts])
    mask = (ids != PAD).astype(int)
    together = np.asarray(write(model, ids, words, attention_mask=mask, max_new_tokens=8).sequences)
    for row, prompt in enumerate(prompts):
        single = (
            write(model, [prompt], words, max_new_tokens=8).sequences[0, len(prompt) :].tolist()
        )
        tail = together[row, 5:].tolist()
        assert tail[: len(single)] == single
        assert set(tail[len(single) :]) <= {PAD}


def test_a_decoder_of_a_source_writes_the_words():
    _, model = language(5, is_encoder_decoder=True, decoder_start_token_id=1)
    source, mask = [[2, 4, 0], [1, 0, 0]], np.array([[1, 1, 0], [1, 0, 0]])
    out = write(model, source, [[7, 5], [8]], attention_mask=mask, max_new_tokens=6)
    assert all(has_all(row, [[7, 5], [8]]) for row in np.asarray(out.sequences).tolist())


class Account:
    """The progress of one text, by lists: what waits, in order, and what is being written."""

    def __init__(self, constraints):
        self.waiting = [(number, one.words) for number, one in enumerate(constraints)]
        self.done, self.now, self.written = set(), None, ()

    def offered(self):
        of = self.waiting if self.now is None else [self.now]
        count = len(self.written)
        return {
            word[count]
            for _, words in of
            for word in words
            if len(word) > count and word[:count] == self.written
        }

    def read(self, token):
        if self.now is None:
            begins = lambda one: any(word[0] == token for word in one[1])
            self.now = next(filter(begins, self.waiting), None)
            if self.now is None:
                return
            self.waiting.remove(self.now)
        elif token not in self.offered():
            self.waiting.append(self.now)
            self.now, self.written = None, ()
            return
        self.written += (token,)
        if self.written in self.now[1]:
            self.done.add(self.now[0])
            self.now, self.written = None, ()


def test_the_tables_say_what_a_plain_account_says():
    step = jax.jit(read_token)
    broken = 0
    for seed in range(12):
        draw = random.Random(seed)
        options = resolve({"force_words_ids": random_words(draw), "num_beams": 2}, None, {}, None)
        constraints = forced(options)
        forest, account = forest_of(constraints), Account(constraints)
        count = len(constraints)
        progress = Progress(
            np.asarray(forest.shortest)[None] == 0,
            np.arange(len(forest.shortest), dtype=np.int32)[None],
            np.array([-1], np.int32),
        )
        for _ in range(30):
            edges = np.asarray(offers(forest, progress))[0]
            assert set(np.asarray(forest.token)[edges].tolist()) == account.offered()
            likely = sorted(account.offered()) or LETTERS
            token = draw.choice(likely if draw.random() < 0.6 else LETTERS)
            before = account.now
            account.read(token)
            broken += before is not None and before in account.waiting
            progress = step(forest, progress, np.array([token]))
            assert set(np.flatnonzero(progress.done[0, :count])) == account.done
            assert (int(progress.edge[0]) >= 0) == (account.now is not None)
    assert broken > 5  # the control: words were broken off


def test_records_and_ids_say_the_same_and_are_joined():
    _, model = language(3)
    options = {"max_new_tokens": 8, "num_beams": 3, "eos_token_id": EOS}
    write = lambda **words: np.asarray(tj.generate(model, np.array([[1, 2]]), **words, **options))
    choice, phrase = tj.DisjunctiveConstraint([[7], [8, 4]]), tj.PhrasalConstraint([5, 6])
    records = write(constraints=[choice, phrase])
    np.testing.assert_array_equal(records, write(force_words_ids=[[[7], [8, 4]], [5, 6]]))
    both = write(constraints=[choice], force_words_ids=np.array([[5, 6]]))
    np.testing.assert_array_equal(records, both)
    assert hash(choice) == hash(tj.DisjunctiveConstraint(((7,), (8, 4))))
    assert choice != phrase


def test_other_words_of_about_as_many_tokens_need_no_other_program():
    _, model = language(3)
    count = generation._run._cache_size
    options = {"num_beams": 7, "max_new_tokens": 8}  # as in no other test
    write(model, [[1, 2]], [[5, 6], [7]], **options)
    before = count()
    write(model, [[1, 2]], [[[4], [8, 1]], [6]], **{**options, "max_new_tokens": 7})
    assert count() == before
    write(model, [[1, 2]], [[5, 6], [7, 7], [8, 8]], **options)  # the control: a larger bucket
    assert count() == before + 1


def test_a_text_that_cannot_go_on_is_returned_without_the_words():
    """The caller allows nothing but the end, with words that do not fit."""
    _, model = language(2)
    only = lambda prompt, ids: [4] if len(ids) < 4 else [EOS]
    out = write(model, [[1, 2]], [[7]], max_new_tokens=6, prefix_allowed_tokens_fn=only)
    assert np.asarray(out.sequences).tolist() == [[1, 2, 4, 4, EOS]]


WORDS = {"force_words_ids": [[5, 6]], "num_beams": 3}


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"num_beams": 1}, "force_words_ids: words are forced by beams.*pass num_beams=4"),
        ({"do_sample": True}, "does not go with do_sample=True; pass do_sample=None"),
        (
            {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0},
            "does not go with num_beam_groups=2; pass num_beam_groups=None",
        ),
        ({"penalty_alpha": 0.6, "top_k": 4}, "does not go with penalty_alpha=0.6"),
        ({"prompt_lookup_num_tokens": 3}, "prompt_lookup_num_tokens drafts.*force_words_ids=None"),
        ({"force_words_ids": [[5, 9]]}, r"force_words_ids is 9, outside the vocabulary \[0, 9\)"),
        ({"force_words_ids": [[-1]]}, "force_words_ids is -1, outside the vocabulary"),
        (
            {"constraints": [tj.PhrasalConstraint([12])]},
            "constraints is 12, outside the vocabulary",
        ),
        ({"force_words_ids": []}, r"force_words_ids must be a list of words.*got \[\]"),
        ({"force_words_ids": [[]]}, "none of them empty"),
        ({"force_words_ids": [[[5], []]]}, "none of them empty"),
        ({"force_words_ids": [5]}, "force_words_ids must be a list of words"),
        ({"force_words_ids": "five"}, "force_words_ids must be a list of words"),
        ({"force_words_ids": [["five"]]}, "force_words_ids must be a list of words"),
        ({"constraints": []}, "constraints must be a list of tj.PhrasalConstraint"),
        ({"constraints": [[5]]}, r"constraints\[0\] is \[5\]; expected tj.PhrasalConstraint"),
        ({"force_words_ids": [[[5], [5, 6]]]}, r"\[5, 6\] begins with \[5\].*leave \[5, 6\] out"),
        ({"bad_words_ids": [[6]]}, r"the word \[5, 6\] has to be written, and bad_words_ids bans"),
        ({"bad_words_ids": [[5, 6]]}, r"bad_words_ids bans \[5, 6\]; leave one of them out"),
        ({"suppress_tokens": [5]}, "suppress_tokens bans 5"),
        ({"eos_token_id": [3, 6]}, "eos_token_id, which ends a text, bans 6"),
        ({"max_new_tokens": 1}, "have 2 tokens, and a text gets at most 1.*max_new_tokens=2"),
    ],
)
def test_words_that_cannot_be_forced_are_refused(options, match):
    _, model = language(0)
    with pytest.raises(ValueError, match=match):
        tj.generate(model, np.array([[1, 2]]), **{**WORDS, **options}, key=jax.random.key(0))


@pytest.mark.parametrize(
    "advised",
    [
        {"num_beams": 4},
        {"force_words_ids": None, "num_beams": 1},
        {"bad_words_ids": [[5, 7]]},
        {"max_new_tokens": 2},
        {"force_words_ids": [[[5], [6, 5]]]},
    ],
)
def test_what_the_errors_advise_is_accepted(advised):
    _, model = language(0)
    assert tj.generate(model, np.array([[1, 2]]), **{**WORDS, **advised}).shape[0] == 1


def test_empty_words_are_no_constraints():
    for wrong in ([], 5, [5, "six"], [True], None):
        with pytest.raises(ValueError, match="PhrasalConstraint: token_ids must be"):
            tj.PhrasalConstraint(wrong)
    for wrong in ([], [[]], [5], None):
        with pytest.raises(ValueError, match="DisjunctiveConstraint: nested_token_ids must be"):
            tj.DisjunctiveConstraint(wrong)


def test_more_beams_than_words_are_unused():
    """Every text that a small language has is found once, and more are refused, with the number."""
    small = 5
    table = np.random.default_rng(1).normal(size=(5, small, small)).astype(np.float32)
    model = Markov(MarkovConfig(vocab_size=small, pad_token_id=PAD), table)
    options = {"num_beams": 24, "eos_token_id": EOS, "max_new_tokens": 2}
    options["early_stopping"] = "never"
    out = tj.generate(
        model, np.array([[1]]), **options, num_return_sequences=21, return_dict_in_generate=True
    )
    texts = {tuple(row[1:]) for row in np.asarray(out.sequences).tolist()}
    whole = set(itertools.product((0, 1, 2, 4), range(small)))
    assert texts == whole | {(EOS, PAD)}
    every = best_sentences(table, [1], 2, EOS, 1.0)
    np.testing.assert_allclose(out.sequences_scores, [worth for worth, _ in every], rtol=1e-5)
    with pytest.raises(ValueError, match="make 21 texts; pass num_return_sequences=21 or less"):
        tj.generate(model, np.array([[1]]), **options, num_return_sequences=22)
