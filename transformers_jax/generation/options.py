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
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from transformers_jax.arrays import is_traced
from transformers_jax.generation.constraints import (
    Constraint,
    ForcedWords,
    check_forced,
    read_constraints,
    read_words,
)
from transformers_jax.generation.ranges import (
    TOKENS,
    check_candidates,
    check_strings,
    check_tokens,
    check_values,
)
from transformers_jax.generation.watermarks import Marking, marking

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
    top_h: float | None = None
    min_p: float = 0.0
    typical_p: float = 1.0
    epsilon_cutoff: float = 0.0
    eta_cutoff: float = 0.0

    num_beams: int = 1
    num_beam_groups: int = 1  # diverse beams
    diversity_penalty: float = 0.0  # of a token that earlier groups have just written
    length_penalty: float = 1.0  # score = sum of log-probabilities / length ** length_penalty
    early_stopping: bool | str = False  # True, False or "never"
    num_return_sequences: int = 1
    penalty_alpha: float = 0.0  # contrastive search, among the top_k best tokens
    force_words_ids: ForcedWords = ()  # words that a text has to contain; of a list of words, one
    constraints: tuple[Constraint, ...] = ()  # the same as records
    best_of: int | None = None  # so many samples, of which the best are returned

    guidance_scale: float = 1.0  # away from the scores after negative_prompt_ids
    sequence_bias: tuple[tuple[tuple[int, ...], float], ...] = ()
    encoder_repetition_penalty: float = 1.0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    encoder_no_repeat_ngram_size: int = 0
    bad_words_ids: tuple[tuple[int, ...], ...] = ()
    suppress_tokens: tuple[int, ...] = ()
    begin_suppress_tokens: tuple[int, ...] = ()
    forced_bos_token_id: int | None = None
    forced_eos_token_id: tuple[int, ...] = ()
    remove_invalid_values: bool = False  # NaN and infinities among the scores
    exponential_decay_length_penalty: tuple[int, float] | None = None  # (new tokens, factor)
    return_timestamps: bool = False  # times as tokens, by Whisper's rules
    no_timestamps_token_id: int | None = None  # those of times are the ids after it
    max_initial_timestamp_index: int | None = None  # the latest time at which a text may begin
    renormalize_logits: bool = False  # after all of the above, scores are log-probabilities again

    watermarking_config: Marking | None = None  # after all of the above

    cache_implementation: str | None = None  # "quantized": keys and values as int8
    prefill_chunk_size: int | None = None  # a prompt is read in pieces of so many tokens

    prompt_lookup_num_tokens: int | None = None  # drafted of what the text says elsewhere
    max_matching_ngram_size: int = 2  # the longest n-gram that is looked up
    num_assistant_tokens: int = 5  # the most that an assistant drafts at once
    assistant_confidence_threshold: float = 0.4  # a draft ends behind a token less likely than this
    assistant_early_exit: int | None = None  # the model's first layers draft

    max_time: float | None = None  # seconds, from the beginning of the search
    stop_strings: tuple[str, ...] = ()  # of the text; needs tokenizer=
    eos_token_id: tuple[int, ...] = ()
    pad_token_id: int | None = None  # fills finished rows; absent: the first end-of-sequence token
    bos_token_id: int | None = None
    decoder_start_token_id: int | None = None

    @property
    def of_cache(self) -> dict[str, Any]:
        """The options of `tj.init_cache`."""
        return {"dtype": "int8"} if self.cache_implementation == "quantized" else {}


DEFAULTS: dict[str, Any] = vars(Options())
NAMES = tuple(DEFAULTS)
FROM_CONFIG = ("eos_token_id", "pad_token_id", "bos_token_id", "decoder_start_token_id")
FORCED = ("forced_bos_token_id", "forced_eos_token_id")  # of a config without generation settings
OF_SEARCH = (
    *("do_sample", "num_beams", "num_beam_groups", "num_return_sequences", "early_stopping"),
    *(
        "penalty_alpha",
        "best_of",
        "eos_token_id",
        "pad_token_id",
        "cache_implementation",
        "prefill_chunk_size",
    ),
)
ONLY_SAMPLED = (
    *("temperature", "top_k", "top_p", "top_h"),
    *("min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"),
)
# Options of transformers that change what is generated and that we do not have, by the value that
# means "off", as None does. Any other value raises, wherever it was set.
UNSUPPORTED: dict[str, Any] = {
    **dict.fromkeys(("token_healing", "low_memory"), False),
    "dola_layers": None,
}

# Options of transformers about how, not what: accepted, without effect here.
IRRELEVANT = (
    *("use_cache", "cache_config", "disable_compile"),
    *("num_assistant_tokens_schedule", "assistant_lookbehind", "target_lookbehind"),
)


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
    check_values(options)
    if (options.pad_token_id or 0) < 0:  # some configs write -1 for none
        options = replace(options, pad_token_id=None)
    check_tokens(options, vocabulary)
    check_forced(options)
    if options.penalty_alpha:
        check_candidates(options, "top_k" in values, vocabulary)
    if options.pad_token_id is None and options.eos_token_id:
        options = replace(options, pad_token_id=options.eos_token_id[0])
    if explicit.get("early_stopping") and options.num_beams == 1:
        log.warning("early_stopping: without effect unless num_beams > 1")
    if not options.do_sample:
        passed = {n: explicit[n] for n in ONLY_SAMPLED if explicit.get(n) not in (None, 1.0)}
        if options.penalty_alpha:
            passed.pop("top_k", None)
        if ignored := [name for name in passed if passed[name] != DEFAULTS[name]]:
            log.warning("%s: without effect unless do_sample=True", ", ".join(ignored))
        top_k = options.top_k if options.penalty_alpha else None
        options = replace(options, **{**{n: DEFAULTS[n] for n in ONLY_SAMPLED}, "top_k": top_k})
    return options


def of_search(options: Options) -> Options:
    """The options that choose the compiled loop. The others are processors and criteria, or numbers
    that the loop is passed: another temperature needs no other program."""
    names = (*OF_SEARCH, "top_k") if options.penalty_alpha else OF_SEARCH
    return Options(**{name: getattr(options, name) for name in names})


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
    if name == "sequence_bias" and isinstance(value, Mapping):
        value = list(value.items())
    if name == "watermarking_config":
        return marking(value)
    if name == "force_words_ids":
        return read_words(value)
    if name == "constraints":
        return read_constraints(value)
    if name == "stop_strings":
        return check_strings(name, value)
    value = _plain(value)
    if name in TOKENS and not isinstance(value, tuple):
        return (value,)
    return value


def _plain(value: Any) -> Any:
    """Lists and arrays as tuples, and the numbers of arrays as Python's."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return tuple(_plain(v) for v in value) if isinstance(value, (list, tuple)) else value
