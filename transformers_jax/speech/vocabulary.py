"""The tokens by which Whisper is told what to do: language, task, times (Radford et al. 2022,
section 2.3), as its generation_config.json, its config or its tokenizer name them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from transformers_jax.speech.languages import CODES, code_of

Task = Literal["transcribe", "translate"]
TASKS: tuple[Task, ...] = ("transcribe", "translate")


@dataclass(frozen=True)
class Vocabulary:
    """Attributes:
    start: with which the decoder begins.
    end: tokens that end a text.
    no_timestamps: which says that no times are wanted; those of times are the ids after it.
    languages: code -> token; empty of a model of one language.
    tasks: name -> token.
    previous: after which the text so far stands.
    forced: tokens that an older config puts after the start; None is a language to be found.
    heads: (layer, head) of the cross-attention that follows the sound.
    suppressed: tokens that are never written.
    """

    start: int
    end: tuple[int, ...]
    no_timestamps: int | None = None
    languages: Mapping[str, int] = field(default_factory=dict)
    tasks: Mapping[str, int] = field(default_factory=dict)
    previous: int | None = None
    forced: tuple[int | None, ...] = ()
    heads: tuple[tuple[int, int], ...] = ()
    suppressed: tuple[int, ...] = ()

    @property
    def first_time(self) -> int | None:
        """The token of the time 0."""
        return None if self.no_timestamps is None else self.no_timestamps + 1

    @property
    def no_speech(self) -> int | None:
        """The token that says that nothing is said: the one before that of no times."""
        return None if self.no_timestamps is None else self.no_timestamps - 1

    def prompt(self, language: str | None, task: Task | None, times: bool) -> list[int | None]:
        """The tokens that a text begins with; None is a language that has to be found.

        Args:
            language: a code of `languages`; None leaves it to the model's config, or to detection.
            times: whether times are written.

        Raises:
            ValueError: what this model has no token for.
        """
        ids: list[int | None] = [self.start]
        if language is None and task is None:
            ids += self.forced
        if language is not None:
            ids[1:2] = [self.languages[language]]
        elif self.languages and (len(ids) == 1 or ids[1] is None):
            ids[1:2] = [None]
        if task is not None or (language is not None and self.tasks):
            own = set(self.tasks.values())
            ids = [token for token in ids if token not in own]
            ids.insert(2, self.tasks[task or "transcribe"])
        if times and ids[-1] == self.no_timestamps:
            ids.pop()
        elif not times and self.no_timestamps is not None and ids[-1] != self.no_timestamps:
            ids.append(self.no_timestamps)
        return ids


def vocabulary_of(model: Any, tokenizer: Any = None) -> Vocabulary:
    """The tokens of a model: by its generation config, then by its config, then by the names that
    they have in its tokenizer.

    Raises:
        ValueError: nothing says which token begins a text.
    """
    file: Mapping[str, Any] = model.generation_config or {}
    named = _named(tokenizer)

    def first(*values: Any) -> Any:
        return next((value for value in values if value is not None), None)

    start = first(
        file.get("decoder_start_token_id"),
        model.config.decoder_start_token_id,
        named.get("<|startoftranscript|>"),
    )
    if start is None:
        raise ValueError("the model says no decoder_start_token_id, with which a text begins")
    end = first(file.get("eos_token_id"), model.config.eos_token_id, named.get("<|endoftext|>"))
    languages = {_bare(name): token for name, token in (file.get("lang_to_id") or {}).items()}
    tasks = dict(file.get("task_to_id") or {})
    multilingual = file.get("is_multilingual", True)
    if multilingual and not languages:
        codes = set(CODES.values())
        tasks = tasks or {name: named[f"<|{name}|>"] for name in TASKS if f"<|{name}|>" in named}
        languages = {_bare(n): t for n, t in named.items() if tasks and _bare(n) in codes}
    suppressed = tuple(file.get("suppress_tokens") or ())
    previous = first(file.get("prev_sot_token_id"), named.get("<|startofprev|>"))
    if previous is None and len(suppressed) > 1:
        previous = suppressed[-2]  # where the released files have it
    forced = first(
        file.get("forced_decoder_ids"), getattr(model.config, "forced_decoder_ids", None)
    )
    return Vocabulary(
        start=start,
        end=tuple(end) if isinstance(end, (list, tuple)) else (end,),
        no_timestamps=first(file.get("no_timestamps_token_id"), named.get("<|notimestamps|>")),
        languages=languages if multilingual else {},
        tasks=tasks if multilingual else {},
        previous=previous,
        forced=_forced(forced or ()),
        heads=tuple((layer, head) for layer, head in file.get("alignment_heads") or ()),
        suppressed=suppressed,
    )


def checked(
    vocabulary: Vocabulary, language: str | None, task: str | None, times: bool
) -> tuple[str | None, Task | None]:
    """(the code of the language, the task), which the model knows.

    Raises:
        ValueError: it does not.
    """
    if times and vocabulary.no_timestamps is None:
        raise ValueError(
            "timestamps need no_timestamps_token_id in generation_config.json, which a model that "
            "was trained with times has; pass timestamps='none'"
        )
    if task is not None and task not in TASKS:
        raise ValueError(f"task is {task!r}; expected one of {', '.join(TASKS)}")
    if not vocabulary.languages:
        if language is not None or task == "translate":
            raise ValueError(
                f"this model knows no languages and tasks: leave out language={language!r} and "
                f"task={task!r}"
            )
        return None, None
    code = None if language is None else code_of(language, vocabulary.languages)
    return code, task  # type: ignore[return-value]


def _named(tokenizer: Any) -> Mapping[str, int]:
    """The tokens of the form <|name|> of a tokenizer."""
    if tokenizer is None:
        return {}
    every: Mapping[str, int] = tokenizer.inner.get_vocab(with_added_tokens=True)
    return {name: token for name, token in every.items() if name[:2] == "<|" and name[-2:] == "|>"}


def _bare(name: str) -> str:
    return name.removeprefix("<|").removesuffix("|>")


def _forced(pairs: Any) -> tuple[int | None, ...]:
    """The tokens of `forced_decoder_ids`, [[1, token], [2, token], ...].

    Raises:
        ValueError: a place is left out.
    """
    for number, (place, _) in enumerate(pairs, start=1):
        if place != number:
            raise ValueError(
                f"forced_decoder_ids has place {place} where {number} is expected: every "
                "place from 1 on needs a token"
            )
    return tuple(token for _, token in pairs)
