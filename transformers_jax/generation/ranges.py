"""What the values of options may be: types, ranges, tokens of the vocabulary."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from transformers_jax.generation.constraints import words_of

SINGLE_TOKENS = ("pad_token_id", "forced_bos_token_id", "no_timestamps_token_id")
TOKENS = ("suppress_tokens", "begin_suppress_tokens", "forced_eos_token_id", "eos_token_id")
SCALE_LIMITS = (1e-15, 1e9)
"""By what scores may be divided or multiplied: float32 holds the results, and their sums stay above
the scores of banned tokens and of unused beams."""
MAX_EXPONENT = 28
"""`length ** length_penalty` lies between 10**-MAX_EXPONENT and 10**MAX_EXPONENT, so that the score
of a beam is neither 0 nor infinite in float32."""


def check_length_penalty(options: Any, new: int) -> None:
    """Beams of up to `new` tokens can be compared in float32.

    Raises:
        ValueError: a penalty under which their scores would be 0 or infinite, with the bound.
    """
    bound = MAX_EXPONENT / math.log10(max(new, 2))
    if options.num_beams > 1 and abs(options.length_penalty) > bound:
        bound = math.floor(bound * 10) / 10
        raise ValueError(
            f"length_penalty={options.length_penalty} with {new} new tokens: scores of beams are "
            f"divided by length ** length_penalty, which float32 cannot hold; with so many tokens "
            f"pass a length_penalty from {-bound:g} to {bound:g}"
        )


def check_count(options: Any, new: int, vocabulary: int | None) -> None:
    """There are as many texts as beams are asked to return.

    Raises:
        ValueError: more than so few tokens of so small a vocabulary can make, with the number.
    """
    wanted = options.num_return_sequences
    if vocabulary is None or options.num_beams == 1 or not new:
        return
    ends = len(options.eos_token_id)
    texts, going = 0, 1  # that have ended, and that go on
    for _ in range(new - 1):
        texts, going = texts + going * ends, going * (vocabulary - ends)
        if texts + going >= wanted:
            return
    if (most := texts + going * vocabulary) < wanted:
        raise ValueError(
            f"num_return_sequences={wanted}: {new} new tokens of a vocabulary of {vocabulary} make "
            f"{most} texts; pass num_return_sequences={most} or less"
        )


def check_tokens(options: Any, vocabulary: int | None) -> None:
    """JAX drops the score of a token outside the vocabulary, which would silently never end a text
    or never be banned.

    Raises:
        ValueError: naming every option with a token outside the vocabulary; or nothing is left that
            a text could begin with.
    """
    tokens = {name: getattr(options, name) for name in TOKENS}
    single = {name: getattr(options, name) for name in SINGLE_TOKENS}
    tokens |= {name: (value,) for name, value in single.items() if value is not None}
    words = {"bad_words_ids": options.bad_words_ids}
    words |= words_of(options)
    words["sequence_bias"] = tuple(word for word, _ in options.sequence_bias)
    tokens |= {name: tuple(t for word in value for t in word) for name, value in words.items()}
    most = vocabulary or math.inf
    wrong = {n: bad for n, ids in tokens.items() if (bad := [t for t in ids if not 0 <= t < most])}
    if wrong:
        listed = "; ".join(f"{name} is {bad[0]}" for name, bad in wrong.items())
        raise ValueError(
            f"{listed}, outside the vocabulary [0, {vocabulary}) of the model; pass tokens of its "
            f"own, or {', '.join(f'{name}=None' for name in wrong)} to do without"
        )
    banned = {*options.suppress_tokens, *options.begin_suppress_tokens}
    banned |= {word[0] for word in options.bad_words_ids if len(word) == 1}
    if len(banned) == vocabulary:
        names = ("suppress_tokens", "begin_suppress_tokens", "bad_words_ids")
        given = " and ".join(name for name in names if getattr(options, name))
        raise ValueError(
            f"{given} ban all {vocabulary} tokens of the vocabulary, so that no text can begin; "
            "leave at least one token"
        )


def check_strings(name: str, given: Any) -> tuple[str, ...]:
    """One string or several, none of them empty.

    Raises:
        ValueError: anything else.
    """
    strings = (given,) if isinstance(given, str) else given
    if (
        not isinstance(strings, (list, tuple))
        or not strings
        or not all(isinstance(string, str) and string for string in strings)
    ):
        raise ValueError(f"{name} must be one string or several, none of them empty, got {given!r}")
    return tuple(strings)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    return (_is_whole(value) or isinstance(value, float)) and math.isfinite(value)


def _are_words(value: Any) -> bool:
    words = value if isinstance(value, tuple) else (None,)
    return all(isinstance(word, tuple) and word and all(map(_is_whole, word)) for word in words)


def _are_biases(value: Any) -> bool:
    pairs = value if isinstance(value, tuple) else (None,)
    return all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs) and all(
        _are_words((words,)) and _is_finite(bias) for words, bias in pairs
    )


def _is_start_and_factor(value: Any) -> bool:
    return value is None or (
        isinstance(value, tuple)
        and len(value) == 2
        and _is_whole(value[0])
        and value[0] >= 0
        and _is_finite(value[1])
        and value[1] > 0
    )


def _is_count(value: int | None) -> bool:
    return (value or 0) >= 0


def _is_some(value: int | None) -> bool:
    return value is None or value >= 1


def _is_scale(value: float) -> bool:
    low, high = SCALE_LIMITS
    return value <= 0 or low <= value <= high  # below 0 another rule says more


CACHES = ("dynamic", "static", "hybrid", "sliding_window", "dynamic_full", "quantized")
"""Names of transformers' caches: but for the last they say how, not what, and are all one here."""

TYPES = {  # by the annotation of a field: whether a value is right, and what is expected
    "int": (_is_whole, "a whole number"),
    "int | None": (lambda value: value is None or _is_whole(value), "a whole number"),
    "float": (_is_finite, "a finite number"),
    "bool": (lambda value: isinstance(value, bool), "True or False"),
    "str | None": (
        lambda value: value is None or value in CACHES,
        f"one of {', '.join(CACHES)} (offloaded caches are not there)",
    ),
    "bool | str": (
        lambda value: isinstance(value, bool) or value == "never",
        'True, False or "never"',
    ),
    "tuple[int, ...]": (lambda value: all(map(_is_whole, value)), "whole numbers, ids of tokens"),
    "Marking | None": (lambda value: True, ""),  # a record, which checks itself
    "tuple[str, ...]": (lambda value: True, ""),  # `check_strings`
    "ForcedWords": (lambda value: True, ""),  # `read_words`
    "tuple[Constraint, ...]": (lambda value: True, ""),  # `read_constraints`
    "float | None": (lambda value: value is None or _is_finite(value), "a finite number"),
    "tuple[int, float] | None": (_is_start_and_factor, "(new tokens, factor), two numbers"),
    "tuple[tuple[tuple[int, ...], float], ...]": (
        _are_biases,
        "{(token, ...): bias} or [[[token, ...], bias], ...]",
    ),
    "tuple[tuple[int, ...], ...]": (
        _are_words,
        "a list of words, each a list of ids of tokens: [[5], [7, 8]]",
    ),
}
SCALE_RANGE = "from {:g} to {:g}, as scores are float32".format(*SCALE_LIMITS)
LIKELIEST = "; for the likeliest token pass do_sample=False"
RANGES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("max_time", lambda value: value is None or value >= 0, ">= 0"),
    ("max_new_tokens", _is_count, ">= 0"),
    ("min_new_tokens", _is_count, ">= 0"),
    ("min_length", _is_count, ">= 0"),
    ("num_beams", lambda value: value >= 1, ">= 1"),
    ("num_beam_groups", lambda value: value >= 1, ">= 1"),
    ("diversity_penalty", lambda value: value >= 0, ">= 0 (0: off)"),
    ("penalty_alpha", lambda value: 0 <= value <= 1, "in [0, 1] (0: off)"),
    ("best_of", _is_some, ">= 1"),
    ("num_return_sequences", lambda value: value >= 1, ">= 1"),
    ("temperature", lambda value: value > 0, "> 0"),
    ("temperature", _is_scale, SCALE_RANGE + LIKELIEST),
    ("repetition_penalty", lambda value: value > 0, "> 0"),
    ("repetition_penalty", _is_scale, SCALE_RANGE),
    ("encoder_repetition_penalty", lambda value: value > 0, "> 0"),
    ("encoder_repetition_penalty", _is_scale, SCALE_RANGE),
    ("top_p", lambda value: 0 < value <= 1, "in (0, 1]"),
    ("top_h", lambda value: value is None or 0 < value <= 1, "in (0, 1]"),
    ("min_p", lambda value: 0 <= value <= 1, "in [0, 1] (0: off)"),
    ("typical_p", lambda value: 0 < value <= 1, "in (0, 1] (1: off)"),
    ("epsilon_cutoff", lambda value: 0 <= value < 1, "in [0, 1) (0: off)"),
    ("eta_cutoff", lambda value: 0 <= value < 1, "in [0, 1) (0: off)"),
    ("top_k", _is_count, ">= 0 (0: off)"),
    ("max_initial_timestamp_index", _is_count, ">= 0"),
    ("no_repeat_ngram_size", _is_count, ">= 0 (0: off)"),
    ("encoder_no_repeat_ngram_size", _is_count, ">= 0 (0: off)"),
    ("prefill_chunk_size", _is_some, ">= 1"),
    ("prompt_lookup_num_tokens", _is_some, ">= 1"),
    ("max_matching_ngram_size", _is_some, ">= 1"),
    ("num_assistant_tokens", _is_some, ">= 1"),
    ("assistant_early_exit", _is_some, ">= 1"),
    ("assistant_confidence_threshold", lambda value: 0 <= value <= 1, "in [0, 1] (0: off)"),
)


def check_values(options: Any) -> None:
    """Every type at once, and then every range, so that the reader of the error fixes them all."""
    for rules in ([(field.name, *TYPES[str(field.type)]) for field in fields(options)], RANGES):
        wrong = [
            f"{name} must be {expected}, got {getattr(options, name)!r}"
            for name, holds, expected in rules
            if not holds(getattr(options, name))
        ]
        if wrong:
            raise ValueError("; ".join(wrong))
    if options.return_timestamps and (
        options.no_timestamps_token_id is None or not options.eos_token_id
    ):
        raise ValueError(
            "return_timestamps=True needs no_timestamps_token_id and eos_token_id, which are in "
            "the generation_config.json of a model that was trained with times; pass them, or "
            "return_timestamps=False"
        )
    if options.exponential_decay_length_penalty is not None and not options.eos_token_id:
        raise ValueError(
            "exponential_decay_length_penalty makes the end of a text likelier, but there is no "
            "eos_token_id; pass it, or exponential_decay_length_penalty=None"
        )
    _check_groups(options)
    _check_best_of(options)
    samples, beams = options.num_return_sequences, options.num_beams
    if samples > beams and (beams > 1 or not options.do_sample):
        raise ValueError(
            f"num_return_sequences ({samples}) must be at most num_beams ({beams}); pass "
            "do_sample=True for several samples"
        )


def _check_groups(options: Any) -> None:
    """Groups of beams are of one size, and differ."""
    beams, groups, penalty = options.num_beams, options.num_beam_groups, options.diversity_penalty
    if beams % groups:
        raise ValueError(
            f"num_beams ({beams}) must be a multiple of num_beam_groups ({groups}), as groups are "
            f"of one size; pass num_beams={-(-beams // groups) * groups}, or num_beam_groups=1"
        )
    if groups > 1 and not penalty:
        raise ValueError(
            f"num_beam_groups={groups} needs a diversity_penalty above 0, or all groups "
            "would write the same; pass diversity_penalty=1.0, or num_beam_groups=1"
        )
    if penalty and groups == 1:
        raise ValueError(
            f"diversity_penalty={penalty} is between groups of beams, and num_beam_groups is 1; "
            "pass num_beam_groups=2 and a multiple of it as num_beams, or diversity_penalty=0.0"
        )
    if groups > 1 and options.do_sample:
        raise ValueError(
            f"num_beam_groups={groups} takes the best tokens, and do_sample=True draws them; pass "
            "do_sample=False, or num_beam_groups=1"
        )


def _check_best_of(options: Any) -> None:
    """Several samples are drawn, and not more are returned."""
    count, wanted = options.best_of, options.num_return_sequences
    if count is None:
        return
    if options.num_beams > 1:
        raise ValueError(
            f"best_of={count} and num_beams={options.num_beams} are two ways to keep the best of "
            "several texts; pass best_of=None, or num_beams=1"
        )
    if not options.do_sample:
        raise ValueError(
            f"best_of={count} keeps the best of several samples; pass do_sample=True, or "
            "best_of=None"
        )
    if wanted > count:
        raise ValueError(
            f"num_return_sequences ({wanted}) must be at most best_of ({count}); pass "
            f"best_of={wanted}"
        )


def check_candidates(options: Any, stated: bool, vocabulary: int | None) -> None:
    """Contrastive search chooses among several tokens, and of one text a row.

    Raises:
        ValueError: options that do not go with it.
    """
    name = f"penalty_alpha={options.penalty_alpha} (contrastive search)"
    without = "or penalty_alpha=None"
    if not stated or not options.top_k:
        raise ValueError(f"{name} chooses among the top_k best tokens; pass top_k=4, {without}")
    if vocabulary is not None and options.top_k > vocabulary:
        raise ValueError(
            f"{name} with top_k={options.top_k}: the vocabulary has {vocabulary} tokens; pass "
            f"top_k={vocabulary} or less, {without}"
        )
    others = {
        "do_sample": options.do_sample,
        "num_beams": options.num_beams > 1,
        "guidance_scale": options.guidance_scale != 1,
        "prefill_chunk_size": options.prefill_chunk_size is not None,
    }
    for other in (other for other, is_on in others.items() if is_on):
        raise ValueError(
            f"{name} does not go with {other}={getattr(options, other)}; "
            f"pass {other}=None, {without}"
        )
