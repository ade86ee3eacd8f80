"""The options of generation: Hugging Face's names, their defaults, and their precedence.

Precedence, first match wins:

1. what is passed to `generate` by name (None switches an option off);
2. the `generation_config=` argument;
3. `model.generation_config` (from generation_config.json, or an older config.json);
4. the special tokens of config.json (`eos_token_id`, `pad_token_id`, ...);
5. the defaults written in `Options`.

No arrays live here, and no decoding.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from transformers_jax.arrays import is_traced

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """The options of `generate`. Frozen and hashable: compiled programs are cached by it.

    Lengths are counted in tokens. `max_length` and `min_length` count the prompt and its padding,
    `max_new_tokens` and `min_new_tokens` do not, and win.
    """

    max_new_tokens: int | None = None
    max_length: int | None = None  # neither given: 20 new tokens
    min_new_tokens: int | None = None
    min_length: int | None = None

    do_sample: bool = False
    temperature: float = 1.0
    top_k: int | None = 50  # as transformers: sampling draws from 50 candidates by default
    top_p: float = 1.0

    num_beams: int = 1
    length_penalty: float = 1.0  # score = sum of log-probabilities / length ** length_penalty
    early_stopping: bool | str = False  # True, False or "never"
    num_return_sequences: int = 1

    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    encoder_no_repeat_ngram_size: int = 0
    bad_words_ids: tuple[tuple[int, ...], ...] = ()
    suppress_tokens: tuple[int, ...] = ()
    begin_suppress_tokens: tuple[int, ...] = ()
    forced_bos_token_id: int | None = None
    forced_eos_token_id: tuple[int, ...] = ()
    return_timestamps: bool = False  # times as tokens, by Whisper's rules
    no_timestamps_token_id: int | None = None  # those of times are the ids after it
    max_initial_timestamp_index: int | None = None  # the latest time at which a text may begin
    renormalize_logits: bool = False  # after all of the above, scores are log-probabilities again

    eos_token_id: tuple[int, ...] = ()
    pad_token_id: int | None = None  # fills finished rows; absent: the first end-of-sequence token
    bos_token_id: int | None = None
    decoder_start_token_id: int | None = None


DEFAULTS: dict[str, Any] = vars(Options())
NAMES = tuple(DEFAULTS)
SINGLE_TOKENS = ("pad_token_id", "forced_bos_token_id", "no_timestamps_token_id")
TOKENS = ("suppress_tokens", "begin_suppress_tokens", "forced_eos_token_id", "eos_token_id")
FROM_CONFIG = ("eos_token_id", "pad_token_id", "bos_token_id", "decoder_start_token_id")
FORCED = ("forced_bos_token_id", "forced_eos_token_id")  # of a config without generation settings
TRACED = ("temperature", "top_p", "repetition_penalty", "min_length", "min_new_tokens")
LENGTHS = ("max_new_tokens", "max_length", "bos_token_id", "decoder_start_token_id")
SCALE_LIMITS = (1e-15, 1e9)
"""By what scores may be divided or multiplied: float32 holds the results, and their sums stay above
the scores of banned tokens and of unused beams."""
MAX_EXPONENT = 28
"""`length ** length_penalty` lies between 10**-MAX_EXPONENT and 10**MAX_EXPONENT, so that the score
of a beam is neither 0 nor infinite in float32."""

# Options of transformers that change what is generated and that we do not have, by the value that
# means "off", as None does. Any other value raises, wherever it was set.
UNSUPPORTED: dict[str, Any] = {
    **dict.fromkeys(("min_p", "epsilon_cutoff", "eta_cutoff"), 0),
    **dict.fromkeys(("diversity_penalty", "penalty_alpha"), 0),
    **dict.fromkeys(("typical_p", "encoder_repetition_penalty"), 1),
    **dict.fromkeys(("num_beam_groups", "guidance_scale"), 1),
    **dict.fromkeys(("remove_invalid_values", "token_healing", "low_memory"), False),
    **dict.fromkeys(("top_h", "exponential_decay_length_penalty", "sequence_bias"), None),
    **dict.fromkeys(("constraints", "force_words_ids", "stop_strings", "max_time"), None),
    **dict.fromkeys(("watermarking_config", "dola_layers", "prompt_lookup_num_tokens"), None),
}

# Options of transformers about how, not what: accepted, without effect here.
IRRELEVANT = ("use_cache", "cache_implementation", "cache_config", "disable_compile")


def resolve(
    explicit: Mapping[str, Any],
    generation_config: Any,
    file: Mapping[str, Any],
    config: Any,
    vocabulary: int | None = None,
) -> Options:
    """The options in force, checked; `explicit` are those that were passed by name, `vocabulary` is
    how many tokens the model scores.

    Raises:
        ValueError: for a value out of its range, a token outside the vocabulary, or an option that
            we do not have.
    """
    stated = as_mapping(generation_config)
    _refuse_traced({**stated, **explicit})
    names = FROM_CONFIG if file else (*FROM_CONFIG, *FORCED)
    special = {name: getattr(config, name, None) for name in names}
    values = _of_this_vocabulary(special, config, vocabulary)
    for source in (_of_this_vocabulary(file, config, vocabulary), stated):
        values.update({name: v for name, v in source.items() if v is not None})
    values.update(explicit)
    if explicit.get("max_length") is not None and explicit.get("max_new_tokens") is None:
        values["max_new_tokens"] = None  # an explicit length wins over the file's other one
    if "top_k" in explicit and explicit["top_k"] is None:
        values["top_k"] = 0  # the only option whose default is not "off"
    _refuse_unsupported(values)
    known = {name: values[name] for name in NAMES if values.get(name) is not None}
    options = Options(**{name: _normal(name, value) for name, value in known.items()})
    _check(options)
    if (options.pad_token_id or 0) < 0:  # some configs write -1 for none
        options = replace(options, pad_token_id=None)
    _check_tokens(options, vocabulary)
    if options.pad_token_id is None and options.eos_token_id:
        options = replace(options, pad_token_id=options.eos_token_id[0])
    if not options.do_sample:
        names = ("temperature", "top_k", "top_p")
        if ignored := [name for name in names if explicit.get(name) not in (None, 1.0)]:
            log.warning("%s: without effect unless do_sample=True", ", ".join(ignored))
        options = replace(options, temperature=1.0, top_k=None, top_p=1.0)
    return options


def check_length_penalty(options: Options, new: int) -> None:
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


def split_traced(options: Options) -> tuple[Options, dict[str, float]]:
    """(the static options, the traced ones as numbers).

    The compiled program depends on the former only: another temperature needs no other program.
    """
    numbers = {name: getattr(options, name) for name in TRACED}
    numbers = {n: v for n, v in numbers.items() if v not in (None, 0) and v != DEFAULTS[n]}
    if options.min_new_tokens is not None:  # it replaces min_length, 0 as well
        numbers.pop("min_length", None)
    if options.num_beams > 1:
        numbers["length_penalty"] = options.length_penalty
    names = (*TRACED, "length_penalty", *LENGTHS)
    static = replace(options, **{name: DEFAULTS[name] for name in names})
    return static, {name: float(value) for name, value in numbers.items()}


def as_mapping(generation_config: Any) -> dict[str, Any]:
    """A generation config as a dict: a mapping, an object with `to_dict()`, or None."""
    if generation_config is None:
        return {}
    if isinstance(generation_config, Mapping):
        return dict(generation_config)
    if not hasattr(generation_config, "to_dict"):
        raise TypeError(
            f"generation_config is {generation_config!r}; expected a dict of options, or a "
            "GenerationConfig"
        )
    ours = {**dict.fromkeys(NAMES), **dict.fromkeys(UNSUPPORTED)}
    return {name: v for name, v in generation_config.to_dict().items() if name in ours}


def _of_this_vocabulary(
    values: Mapping[str, Any], config: Any, vocabulary: int | None
) -> dict[str, Any]:
    """The values without special tokens that are a family's defaults (GPT-2 ends with 50256) and
    that a smaller vocabulary does not have: nobody chose them, and nothing could be written."""
    most, defaults = vocabulary or math.inf, type(config)
    foreign = [
        name
        for name in (*FROM_CONFIG, *FORCED)
        if isinstance(value := values.get(name), int)
        and value >= most
        and value == getattr(defaults, name, None)
    ]
    return {name: value for name, value in values.items() if name not in foreign}


def _check_tokens(options: Options, vocabulary: int | None) -> None:
    """JAX drops the score of a token outside the vocabulary, which would silently never end a text
    or never be banned.

    Raises:
        ValueError: naming every option with a token outside the vocabulary.
    """
    tokens = {name: getattr(options, name) for name in TOKENS}
    single = {name: getattr(options, name) for name in SINGLE_TOKENS}
    tokens |= {name: (value,) for name, value in single.items() if value is not None}
    tokens["bad_words_ids"] = tuple(token for word in options.bad_words_ids for token in word)
    most = vocabulary or math.inf
    wrong = {n: bad for n, ids in tokens.items() if (bad := [t for t in ids if not 0 <= t < most])}
    if wrong:
        listed = "; ".join(f"{name} is {bad[0]}" for name, bad in wrong.items())
        raise ValueError(
            f"{listed}, outside the vocabulary [0, {vocabulary}) of the model; pass tokens of its "
            f"own, or {', '.join(f'{name}=None' for name in wrong)} to do without"
        )


def _refuse_traced(values: Mapping[str, Any]) -> None:
    """Options choose the program, so their values are known before it is compiled."""
    traced = [name for name, value in values.items() if is_traced(value)]
    if traced:
        names = ", ".join(repr(name) for name in traced)
        raise ValueError(
            f"generate: {', '.join(traced)} came as traced arrays, but options are read before "
            "anything is compiled; close over Python numbers, or make the arguments static: "
            f"jax.jit(function, static_argnames=({names},))"
        )


def _refuse_unsupported(values: Mapping[str, Any]) -> None:
    wrong = {
        name: value
        for name, value in values.items()
        if name in UNSUPPORTED and value is not None and value != UNSUPPORTED[name]
    }
    if wrong:
        listed = ", ".join(f"{name}={value!r}" for name, value in wrong.items())
        switch = ", ".join(f"{name}=None" for name in wrong)
        raise ValueError(
            f"generation options that are not supported: {listed}; pass {switch} to do without"
        )


def _normal(name: str, value: Any) -> Any:
    """The value in hashable form: token lists become tuples, array scalars plain numbers."""
    value = _plain(value)
    if name in TOKENS and not isinstance(value, tuple):
        return (value,)
    return value


def _plain(value: Any) -> Any:
    """Lists and arrays as tuples, and the numbers of arrays as Python's."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return tuple(_plain(v) for v in value) if isinstance(value, (list, tuple)) else value


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    return (_is_whole(value) or isinstance(value, float)) and math.isfinite(value)


def _are_words(value: Any) -> bool:
    words = value if isinstance(value, tuple) else (None,)
    return all(isinstance(word, tuple) and word and all(map(_is_whole, word)) for word in words)


def _is_count(value: int | None) -> bool:
    return (value or 0) >= 0


def _is_scale(value: float) -> bool:
    low, high = SCALE_LIMITS
    return value <= 0 or low <= value <= high  # below 0 another rule says more


TYPES = {  # by the annotation of a field: whether a value is right, and what is expected
    "int": (_is_whole, "a whole number"),
    "int | None": (lambda value: value is None or _is_whole(value), "a whole number"),
    "float": (_is_finite, "a finite number"),
    "bool": (lambda value: isinstance(value, bool), "True or False"),
    "bool | str": (
        lambda value: isinstance(value, bool) or value == "never",
        'True, False or "never"',
    ),
    "tuple[int, ...]": (lambda value: all(map(_is_whole, value)), "whole numbers, ids of tokens"),
    "tuple[tuple[int, ...], ...]": (
        _are_words,
        "a list of words, each a list of ids of tokens: [[5], [7, 8]]",
    ),
}
SCALE_RANGE = "from {:g} to {:g}, as scores are float32".format(*SCALE_LIMITS)
LIKELIEST = "; for the likeliest token pass do_sample=False"
RANGES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("max_new_tokens", _is_count, ">= 0"),
    ("min_new_tokens", _is_count, ">= 0"),
    ("min_length", _is_count, ">= 0"),
    ("num_beams", lambda value: value >= 1, ">= 1"),
    ("num_return_sequences", lambda value: value >= 1, ">= 1"),
    ("temperature", lambda value: value > 0, "> 0"),
    ("temperature", _is_scale, SCALE_RANGE + LIKELIEST),
    ("repetition_penalty", lambda value: value > 0, "> 0"),
    ("repetition_penalty", _is_scale, SCALE_RANGE),
    ("top_p", lambda value: 0 < value <= 1, "in (0, 1]"),
    ("top_k", _is_count, ">= 0 (0: off)"),
    ("max_initial_timestamp_index", _is_count, ">= 0"),
    ("no_repeat_ngram_size", _is_count, ">= 0 (0: off)"),
    ("encoder_no_repeat_ngram_size", _is_count, ">= 0 (0: off)"),
)


def _check(options: Options) -> None:
    """Every type at once, and then every range, so that the reader of the error fixes them all."""
    for rules in ([(field.name, *TYPES[str(field.type)]) for field in fields(Options)], RANGES):
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
    samples, beams = options.num_return_sequences, options.num_beams
    if samples > beams and (beams > 1 or not options.do_sample):
        raise ValueError(
            f"num_return_sequences ({samples}) must be at most num_beams ({beams}); pass "
            "do_sample=True for several samples"
        )
