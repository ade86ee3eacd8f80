"""Stopping criteria: frozen records, from the text so far to which rows have ended.

criterion.py    what each is; those of length, tokens and time; the caller's functions
strings.py      strings that end a text
token_bytes.py  what tokens put into a text
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax

from transformers_jax.generation.options import Options
from transformers_jax.generation.processors.own import listed, merged
from transformers_jax.generation.stopping.criterion import (
    EXPECTED,
    OF_SEARCH,
    Criterion,
    EosTokenCriteria,
    Function,
    MaxLengthCriteria,
    MaxTimeCriteria,
)
from transformers_jax.generation.stopping.strings import StopStringCriteria

__all__ = [
    "Criterion",
    "EosTokenCriteria",
    "MaxLengthCriteria",
    "MaxTimeCriteria",
    "StopStringCriteria",
    "criteria",
    "limited",
    "own_criteria",
]


def own_criteria(given: Any) -> list[Criterion]:
    """The caller's list, each a record.

    Raises:
        ValueError: no list, or what is neither a record nor a function.
    """
    return listed("stopping_criteria", given, Criterion, Function, EXPECTED)


def limited(options: Options, own: list[Criterion]) -> Options:
    """The options, with the lengths of `MaxLengthCriteria` in place of their own."""
    lengths = [one.max_length for one in own if isinstance(one, MaxLengthCriteria)]
    if not lengths:
        return options
    return replace(options, max_new_tokens=None, max_length=min(int(most) for most in lengths))


def criteria(options: Options, own: list[Criterion], tokenizer: Any) -> tuple[Criterion, ...]:
    """Those of the options, then the caller's, one of which replaces one of the same class.

    Raises:
        ValueError: strings without a tokenizer; a limit of time in a run of several processes.
    """
    made: list[Criterion] = []
    if options.max_time is not None:
        made.append(MaxTimeCriteria(options.max_time, OF_SEARCH))
    if options.stop_strings:
        if tokenizer is None:
            raise ValueError(
                f"stop_strings={list(options.stop_strings)} are compared with the text of tokens: "
                "pass tokenizer=tj.load_tokenizer(path) too, or stop_strings=None"
            )
        made.append(StopStringCriteria(tokenizer, options.stop_strings))
    if options.eos_token_id:
        made.append(EosTokenCriteria(options.eos_token_id))
    made = merged(made, own)
    if any(isinstance(one, MaxTimeCriteria) for one in made) and jax.process_count() > 1:
        raise ValueError(
            "a limit of time is one process's: several would stop at different tokens; pass "
            "max_time=None, and a number of tokens"
        )
    return tuple(made)
