"""Where the drafts of assisted decoding come from, as the arguments of a call say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from transformers_jax.generation.assisted import DraftModel, LookUp
from transformers_jax.generation.job import Job
from transformers_jax.generation.options import Options
from transformers_jax.models.base import Model, check_model
from transformers_jax.models.causal import as_reader, as_writer
from transformers_jax.student import DEPTH, student_of


@dataclass(frozen=True)
class Assistance:
    """A source of drafts.

    Attributes:
        source: another "model", the first "layers" of the model, or the "text" so far.
        size: the most tokens of a draft.
        threshold: a draft ends behind a token to which its model gave a lower probability.
        longest: the longest n-gram that is looked up in the text.
        layers: how many of the model's draft.
    """

    source: Literal["model", "layers", "text"]
    size: int
    threshold: float = 0.0
    longest: int = 2
    layers: int = 0

    def drafter(self, model: Model, assistant: Model | None, job: Job) -> DraftModel | LookUp:
        """What drafts for a model, inside of its compiled program."""
        if self.source == "text":
            return LookUp(self.longest)
        if self.source == "layers":
            assistant = student_of(model, range(self.layers))
        assert assistant is not None
        job = replace(job, reader=as_reader(assistant))
        return DraftModel(as_writer(assistant), job, self.threshold)


def assistance_of(model: Model, options: Options, assistant: Any) -> Assistance | None:
    """The source of drafts that a call asks for; None where it asks for none.

    Raises:
        ValueError: several sources, or one that does not go with the model or its options.
    """
    given = {
        "assistant_model": assistant is not None,
        "prompt_lookup_num_tokens": options.prompt_lookup_num_tokens is not None,
        "assistant_early_exit": options.assistant_early_exit is not None,
    }
    names = [name for name, is_given in given.items() if is_given]
    if not names:
        return None
    if len(names) > 1:
        raise ValueError(f"{' and '.join(names)} are two sources of drafts; pass one of them")
    words = [name for name in ("force_words_ids", "constraints") if getattr(options, name)]
    if words:
        without = ", ".join(f"{name}=None" for name in words)
        raise ValueError(
            f"{names[0]} drafts for one text a row, and {' and '.join(words)} are searched for "
            f"with beams; pass {without} and num_beams=1, or leave {names[0]} out"
        )
    if options.num_beams > 1:
        raise ValueError(
            f"{names[0]} drafts for one text a row, and num_beams is {options.num_beams}; pass "
            f"num_beams=1, or leave {names[0]} out"
        )
    searches = {"penalty_alpha": options.penalty_alpha, "best_of": options.best_of}
    for name, value in ((name, value) for name, value in searches.items() if value):
        raise ValueError(
            f"{names[0]} drafts for greedy search and sampling, and {name} is {value}; pass "
            f"{name}=None, or leave {names[0]} out"
        )
    if options.guidance_scale != 1:
        raise ValueError(
            f"{names[0]} drafts for one prompt a row, and guidance_scale={options.guidance_scale} "
            f"reads two; pass guidance_scale=None, or leave {names[0]} out"
        )
    _check_rows(model, "the model")
    if options.prefill_chunk_size is not None:
        raise ValueError(
            f"prefill_chunk_size and {names[0]} do not go together: leave one of them out"
        )
    size = options.num_assistant_tokens
    if options.prompt_lookup_num_tokens is not None:
        longest = options.max_matching_ngram_size
        return Assistance("text", options.prompt_lookup_num_tokens, longest=longest)
    if (layers := options.assistant_early_exit) is not None:
        depth = getattr(model.config, model.config.SPELLINGS.get(DEPTH, DEPTH), None)
        if depth is not None and layers >= depth:
            raise ValueError(
                f"assistant_early_exit is {layers}, and the model has {depth} layers: drafts of "
                f"all of them save nothing; pass 1 to {depth - 1}"
            )
        return Assistance("layers", size, options.assistant_confidence_threshold, layers=layers)
    _check_assistant(model, assistant)
    return Assistance("model", size, options.assistant_confidence_threshold)


def _check_assistant(model: Model, assistant: Any) -> None:
    check_model(assistant, "generate: assistant_model")
    own, other = model.reading, assistant.reading
    if not other.writes:
        raise ValueError(
            "assistant_model must score the next token, and this "
            f"{assistant.config.model_type} has head {assistant.plan.head!r}"
        )
    if own.vocabulary != other.vocabulary:
        raise ValueError(
            f"assistant_model has a vocabulary of {other.vocabulary} tokens, and the model one of "
            f"{own.vocabulary}: drafts are ids of the same tokens; pass a model with the same "
            "tokenizer, or prompt_lookup_num_tokens=5, which needs no other model"
        )
    if model.is_encoder_decoder != assistant.is_encoder_decoder:
        kinds = {True: "an encoder-decoder", False: "a decoder"}
        raise ValueError(
            f"assistant_model is {kinds[assistant.is_encoder_decoder]}, and the model "
            f"{kinds[model.is_encoder_decoder]}: both must be one or the other"
        )
    _check_rows(assistant, "assistant_model")


def _check_rows(model: Model, name: str) -> None:
    """The cache of a model may have rows of several lengths."""
    if model.reading.virtual:
        raise ValueError(
            f"{name} has virtual tokens (prompt or prefix tuning), whose caches have rows of one "
            "length; assisted decoding needs rows that grow by numbers of their own"
        )
    if (anew := model.reading.anew) is not None:
        raise ValueError(
            f"{name} ({model.config.model_type}) reads a text anew once it has more than {anew} "
            "tokens; leave the arguments of assisted decoding out"
        )
    if not model.reading.rewinds:
        raise ValueError(
            f"{name} ({model.config.model_type}) keeps one state for its whole past, of which no "
            "tokens can be taken back; leave the arguments of assisted decoding out"
        )
