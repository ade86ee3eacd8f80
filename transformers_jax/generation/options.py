"""The options of generation: Hugging Face's names, their defaults, and who decides what.

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
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from transformers_jax.arrays import is_traced
from transformers_jax.spelling import nearest

__all__ = ["Options", "check_length_penalty", "dials", "resolve"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """What `generate` may be told. Frozen and hashable: compiled code is found by it.

    Lengths are counted in tokens. `max_length` and `min_length` count the prompt and its padding,
    `max_new_tokens` and `min_new_tokens` do not, and win.
    """

    max_new_tokens: int | None = None
    max_length: int | None = None  # neither given: 20 new tokens
    min_new_tokens: int | None = None
    min_length: int | None = None

    do_sample: bool = False
    temperature: float = 1.0
    top_k: int | None = 50  # as transformers: sampling sees 50 candidates unless told otherwise
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
    renormalize_logits: bool = False  # after all of the above, scores are log-probabilities again

    eos_token_id: tuple[int, ...] = ()
    pad_token_id: int | None = None  # fills finished rows; absent: the first end-of-sequence token
    bos_token_id: int | None = None
    decoder_start_token_id: int | None = None


NAMES = tuple(field.name for field in fields(Options))
DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Options)}

REAL = ("temperature", "top_p", "length_penalty", "repetition_penalty")
WHOLE = (
    *("max_new_tokens", "max_length", "min_new_tokens", "min_length", "top_k"),
    *("num_beams", "num_return_sequences", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size"),
    *("forced_bos_token_id", "pad_token_id", "bos_token_id", "decoder_start_token_id"),
)
IDS = ("suppress_tokens", "begin_suppress_tokens", "forced_eos_token_id", "eos_token_id")
FLAGS = ("do_sample", "renormalize_logits")
FROM_CONFIG = ("eos_token_id", "pad_token_id", "bos_token_id", "decoder_start_token_id")
STRETCH = (1e-15, 1e9)
"""What scores may be divided by or multiplied with: float32 holds the results, and their sums stay
apart from the scores of what is banned and of beams that are none."""
DECADES = 28
"""`length ** length_penalty` lies between 10**-DECADES and 10**DECADES, so that the worth of a beam
is neither 0 nor infinite in float32."""
FORCED = ("forced_bos_token_id", "forced_eos_token_id")  # of a config without generation settings

# Options of transformers that change what is generated and that we do not have: the values that
# mean "off". Any other value raises, wherever it was found.
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "min_p": (None, 0, 0.0),
    "top_h": (None,),
    "typical_p": (None, 1, 1.0),
    "epsilon_cutoff": (None, 0, 0.0),
    "eta_cutoff": (None, 0, 0.0),
    "encoder_repetition_penalty": (None, 1, 1.0),
    "diversity_penalty": (None, 0, 0.0),
    "num_beam_groups": (None, 1),
    "penalty_alpha": (None, 0, 0.0),
    "guidance_scale": (None, 1, 1.0),
    "remove_invalid_values": (None, False),
    "exponential_decay_length_penalty": (None,),
    "sequence_bias": (None,),
    "constraints": (None,),
    "force_words_ids": (None,),
    "stop_strings": (None,),
    "max_time": (None,),
    "watermarking_config": (None,),
    "token_healing": (None, False),
    "dola_layers": (None,),
    "prompt_lookup_num_tokens": (None,),
    "low_memory": (None, False),
}

# Options of transformers about how, not what: accepted, without effect here.
IRRELEVANT = ("use_cache", "cache_implementation", "cache_config", "disable_compile")


def resolve(
    given: Mapping[str, Any],
    generation_config: Any,
    file: Mapping[str, Any],
    config: Any,
    vocabulary: int | None = None,
) -> Options:
    """The options in force, checked; `vocabulary` is how many tokens the model scores.

    Raises:
        TypeError: for an unknown name in `given` or `generation_config` (with the nearest name).
        ValueError: for a value out of its range, a token outside the vocabulary, or an option that
            we do not have.
    """
    stated = as_mapping(generation_config)
    _refuse_traced({**stated, **given})
    for name in (*given, *stated):
        if name not in NAMES and name not in UNSUPPORTED and name not in IRRELEVANT:
            hint = nearest(name, (*NAMES, *UNSUPPORTED))
            raise TypeError(f"generate() does not know the option {name!r}{hint}")
    names = FROM_CONFIG if file else (*FROM_CONFIG, *FORCED)
    special = {name: getattr(config, name, None) for name in names}
    values = _of_this_vocabulary(special, config, vocabulary)
    for source in (_of_this_vocabulary(file, config, vocabulary), stated):
        values.update({name: v for name, v in source.items() if v is not None})
    values.update(given)
    if given.get("max_length") is not None and given.get("max_new_tokens") is None:
        values["max_new_tokens"] = None  # an explicit length beats the file's other one
    if "top_k" in given and given["top_k"] is None:
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
        ignored = [n for n in ("temperature", "top_k", "top_p") if given.get(n) not in (None, 1.0)]
        if ignored:
            log.warning("%s: without effect unless do_sample=True", ", ".join(ignored))
        options = replace(options, temperature=1.0, top_k=None, top_p=1.0)
    return options


def check_length_penalty(options: Options, new: int) -> None:
    """Beams of up to `new` tokens can be compared in float32.

    Raises:
        ValueError: a penalty under which their scores would be 0 or infinite, with the bound.
    """
    bound = DECADES / math.log10(max(new, 2))
    if options.num_beams > 1 and abs(options.length_penalty) > bound:
        bound = math.floor(bound * 10) / 10
        raise ValueError(
            f"length_penalty={options.length_penalty} with {new} new tokens: scores of beams are "
            f"divided by length ** length_penalty, which float32 cannot hold; with so many tokens "
            f"pass a length_penalty from {-bound:g} to {bound:g}"
        )


def dials(options: Options) -> tuple[Options, dict[str, float]]:
    """The options without their numbers, and the numbers that are in force.

    Compiled code depends on the former only: another temperature needs no other program.
    """
    fewest = options.min_new_tokens  # given, it replaces min_length
    least = None if fewest is not None else options.min_length
    numbers = {
        "temperature": options.temperature if options.temperature != 1 else None,
        "top_p": options.top_p if options.top_p < 1 else None,
        "repetition_penalty": options.repetition_penalty,
        "length_penalty": options.length_penalty if options.num_beams > 1 else None,
        "min_length": least or None,
        "min_new_tokens": fewest or None,
    }
    if options.repetition_penalty == 1:
        numbers["repetition_penalty"] = None
    lengths = ("max_new_tokens", "max_length", "bos_token_id", "decoder_start_token_id")
    static = replace(options, **{name: DEFAULTS[name] for name in (*numbers, *lengths)})
    return static, {name: float(v) for name, v in numbers.items() if v is not None}


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
    """JAX drops the score of a token that there is not, so that it would silently never end a text
    or never be banned.

    Raises:
        ValueError: naming every option with a token outside the vocabulary.
    """
    single = ("pad_token_id", "forced_bos_token_id")
    tokens = {name: getattr(options, name) for name in IDS}
    tokens |= {name: (value,) for name in single if (value := getattr(options, name)) is not None}
    tokens["bad_words_ids"] = tuple(token for word in options.bad_words_ids for token in word)
    most = vocabulary or math.inf
    wrong = {n: bad for n, ids in tokens.items() if (bad := [t for t in ids if not 0 <= t < most])}
    if wrong:
        told = "; ".join(f"{name} is {bad[0]}" for name, bad in wrong.items())
        raise ValueError(
            f"{told}, outside the vocabulary [0, {vocabulary}) of the model; pass tokens of its "
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
        name: values[name]
        for name, off in UNSUPPORTED.items()
        if name in values and not any(values[name] is v or values[name] == v for v in off)
    }
    if wrong:
        told = ", ".join(f"{name}={value!r}" for name, value in wrong.items())
        switch = ", ".join(f"{name}=None" for name in wrong)
        raise ValueError(
            f"generation options that are not supported: {told}; pass {switch} to do without"
        )


def _normal(name: str, value: Any) -> Any:
    """The value in hashable form: token lists become tuples, array scalars plain numbers."""
    value = _plain(value)
    if name in IDS and not isinstance(value, tuple):
        return (value,)
    return value


def _plain(value: Any) -> Any:
    """Lists and arrays as tuples, and the numbers of arrays as Python's."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return tuple(_plain(v) for v in value) if isinstance(value, (list, tuple)) else value


def _check(options: Options) -> None:
    """Every range at once, so that the reader of the error fixes them all."""
    o, wrong = options, _wrong_types(options)
    if wrong:
        raise ValueError("; ".join(wrong))

    def demand(holds: bool, message: str) -> None:
        if not holds:
            wrong.append(message)

    for name in ("max_new_tokens", "min_new_tokens", "min_length"):
        demand((getattr(o, name) or 0) >= 0, f"{name} must be >= 0, got {getattr(o, name)}")
    for name in ("num_beams", "num_return_sequences"):
        demand(getattr(o, name) >= 1, f"{name} must be >= 1, got {getattr(o, name)}")
    for name, instead in (
        ("temperature", "; for the likeliest token pass do_sample=False"),
        ("repetition_penalty", ""),
    ):
        value, (least, most) = getattr(o, name), STRETCH
        demand(value > 0, f"{name} must be > 0, got {value}")
        demand(
            value <= 0 or least <= value <= most,
            f"{name} must be from {least:g} to {most:g}, as scores are float32, got {value}"
            f"{instead}",
        )
    demand(0 < o.top_p <= 1, f"top_p must be in (0, 1], got {o.top_p}")
    demand((o.top_k or 0) >= 0, f"top_k must be >= 0 (0: off), got {o.top_k}")
    for name in ("no_repeat_ngram_size", "encoder_no_repeat_ngram_size"):
        demand(getattr(o, name) >= 0, f"{name} must be >= 0 (0: off), got {getattr(o, name)}")
    demand(all(o.bad_words_ids), "bad_words_ids holds an empty list of tokens")
    most = o.num_beams if o.num_beams > 1 or not o.do_sample else o.num_return_sequences
    demand(
        o.num_return_sequences <= most,
        f"num_return_sequences ({o.num_return_sequences}) must be at most num_beams "
        f"({o.num_beams}); pass do_sample=True for several samples",
    )
    if wrong:
        raise ValueError("; ".join(wrong))


def _wrong_types(options: Options) -> list[str]:
    """Values that are no numbers, no tokens or no truth values."""
    wrong = []

    def demand(holds: bool, name: str, expected: str) -> None:
        if not holds:
            wrong.append(f"{name} must be {expected}, got {getattr(options, name)!r}")

    for name in WHOLE:
        value = getattr(options, name)
        demand(value is None or _is_whole(value), name, "a whole number")
    for name in REAL:
        value = getattr(options, name)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        demand(number and math.isfinite(value), name, "a finite number")
    for name in FLAGS:
        demand(isinstance(getattr(options, name), bool), name, "True or False")
    for name in IDS:
        demand(all(map(_is_whole, getattr(options, name))), name, "whole numbers, ids of tokens")
    words: Any = options.bad_words_ids
    listed = isinstance(words, tuple) and all(isinstance(word, tuple) for word in words)
    whole = listed and all(_is_whole(token) for word in words for token in word)
    demand(whole, "bad_words_ids", "a list of words, each a list of ids of tokens: [[5], [7, 8]]")
    stops: Any = options.early_stopping
    demand(isinstance(stops, bool) or stops == "never", "early_stopping", 'True, False or "never"')
    return wrong


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
