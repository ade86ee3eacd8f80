"""Texts as they are written: the search of `generate`, of which the host sees every step."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from transformers_jax.arrays import Int, Params, is_traced
from transformers_jax.generation.job import Job, Result
from transformers_jax.generation.pieces import Pieces
from transformers_jax.generation.prepare import Prepared, prepare
from transformers_jax.generation.processors.grammar import completion
from transformers_jax.generation.search import State, begin_search, go_on, result_of
from transformers_jax.generation.strategies import Greedy, Sample, strategy_of
from transformers_jax.models.causal import as_writer
from transformers_jax.nn.param import merge, split
from transformers_jax.processes import on_host


class Step(NamedTuple):
    """What a step has written: a token of every row, and the search until then."""

    tokens: Int[np.ndarray, " R"]
    live: np.ndarray  # Bool[R], rows that had not ended before
    state: State


def stream(
    model: Any,
    input_ids: Any = None,
    *,
    tokenizer: Any = None,
    skip_special_tokens: bool = True,
    **arguments: Any,
) -> Iterator[Any]:
    """The new text of one prompt, piece by piece as it is written: with a tokenizer pieces of text
    (whole characters), else ids of tokens. The text is that of `generate` with these arguments.

        for piece in tj.stream(model, messages=[...], tokenizer=tokenizer):
            print(piece, end="", flush=True)

    To write many texts with one model, pass `model.decoding()`: the parameters are then laid out
    for decoding once, and not for every text.

    Args:
        skip_special_tokens: whether special tokens are left out of the text.
        arguments: those of `generate`.

    Raises:
        ValueError: as `generate`; several prompts; beams or drafts, which write no token for good
            before the end.
    """
    options = dict(arguments)
    named = {name: options.pop(name) for name in NAMED if name in options}
    prepared = prepare(model, input_ids, tokenizer=tokenizer, **named, options=options)
    _check(prepared)
    if prepared.job is None:
        return iter(())
    return _pieces(model, prepared, tokenizer, skip_special_tokens)


NAMED = frozenset(prepare.__kwdefaults__ or {}) - {"with_scores", "with_log_probs", "tokenizer"}


def _pieces(model: Any, prepared: Prepared, tokenizer: Any, skip: bool) -> Iterator[Any]:
    before = _prompt(model, prepared)
    target = getattr(tokenizer, "target", None) or tokenizer
    pieces = None if tokenizer is None else Pieces(target, before, special=not skip)
    ids: list[int] = []
    for step in steps(model, prepared):
        token = int(step.tokens[0])
        ids.append(token)
        piece = token if pieces is None else pieces.add(token)
        if pieces is None or piece:
            yield piece
    if pieces is not None and (rest := pieces.rest()):
        yield rest
    completion(prepared.run, np.array([ids], np.int32))  # a text that is cut is told


def steps(model: Any, prepared: Prepared) -> Iterator[Step]:
    """The steps of a search, until every row has ended."""
    job = prepared.job
    assert job is not None
    model = as_writer(model)
    definition, params = split(model)
    state, job = _begin(definition, params, job)
    ended, told, most = np.zeros(1, bool), 0, int(job.limit)
    while told < most and not ended.all():
        before = ended
        state = _go_on(definition, params, job, state, np.int32(told + 1))
        tokens = on_host(state.text.ids)[:, state.text.begin + told]
        ended = on_host(state.ended)
        told += 1
        live = ~np.broadcast_to(before, ended.shape)
        yield Step(tokens, live, state)


def streamed(model: Any, prepared: Prepared, streamer: Any) -> Result:
    """The result of a search whose tokens are put to a streamer of transformers' protocol:
    `put(ids)`, first of the prompt and then of every token, and `end()`.

    Raises:
        ValueError: what is no streamer; as `stream`.
    """
    streamer = begun(model, prepared, streamer)
    last = None
    for last in steps(model, prepared):
        streamer.put(last.tokens)
    streamer.end()
    assert last is not None
    return result_of(last.state)


def begun(model: Any, prepared: Prepared, streamer: Any) -> Any:
    """The streamer, which has the prompt.

    Raises:
        ValueError: as `streamed`.
    """
    for method in ("put", "end"):
        if not callable(getattr(streamer, method, None)):
            raise ValueError(
                f"streamer is {streamer!r:.60}; expected an object with methods put(ids) and end()"
                ", such as tj.TextStreamer(tokenizer)"
            )
    _check(prepared)
    streamer.put(np.array(_prompt(model, prepared), np.int32))
    return streamer


class TextStreamer:
    """Prints the text as it is written: `tj.generate(..., streamer=tj.TextStreamer(tokenizer))`.

    Args:
        skip_prompt: whether the prompt is left out.
        skip_special_tokens: whether special tokens are left out of the text.
        file: where the text goes; default standard output.
    """

    def __init__(
        self,
        tokenizer: Any,
        skip_prompt: bool = False,
        skip_special_tokens: bool = True,
        file: Any = None,
    ):
        self.tokenizer, self.skip_prompt, self.skip = tokenizer, skip_prompt, skip_special_tokens
        self.file = file
        self._pieces: Pieces | None = None

    def put(self, value: Any) -> None:
        """Prints what these ids complete; the first ones are the prompt."""
        ids = [int(token) for token in np.asarray(value).reshape(-1)]
        if self._pieces is None:
            before = ids if self.skip_prompt else []
            self._pieces = Pieces(self.tokenizer, before, special=not self.skip)
            ids = [] if self.skip_prompt else ids
        self.on_finalized_text("".join(self._pieces.add(token) for token in ids))

    def end(self) -> None:
        """Prints what is left, and ends the line."""
        rest = "" if self._pieces is None else self._pieces.rest()
        self._pieces = None
        self.on_finalized_text(rest, stream_end=True)

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Called with each piece of text; a subclass may send it elsewhere."""
        if text or stream_end:
            end = "\n" if stream_end else ""
            print(text, end=end, flush=True, file=self.file or sys.stdout)


def _check(prepared: Prepared) -> None:
    """One text, whose tokens stay when they are written."""
    options, request = prepared.options, prepared.request
    if is_traced(request.prompt.ids):
        raise ValueError("a stream is read on the host: call it outside of jax.jit")
    count = len(request.prompt.ids) * options.num_return_sequences
    if count != 1:
        raise ValueError(
            f"a stream is of one text, and {count} were asked for; stream them one by one, or use "
            "generation.slots.Slots, which writes several"
        )
    one_by_one = isinstance(strategy_of(options), (Greedy, Sample))
    if not one_by_one or prepared.assistance is not None:
        raise ValueError(
            "a stream writes one token after the other, which stay: num_beams=1, no forced words, "
            "no penalty_alpha, no best_of, and no drafts "
            "(assistant_model, prompt_lookup_num_tokens, assistant_early_exit)"
        )


def _prompt(model: Any, prepared: Prepared) -> list[int]:
    """The ids before the first new token: those of a decoder's prompt, or an encoder-decoder's
    start."""
    prompt = prepared.request.prompt
    first = int(np.asarray(prompt.start)[0])
    return np.asarray(prompt.ids)[0, first:].tolist()


@functools.partial(jax.jit, static_argnums=0)
def _begin(definition: Any, params: Params, job: Job) -> tuple[State, Job]:
    job = job.begun()  # when its time begins
    return begin_search(merge(definition, params), job), job


@functools.partial(jax.jit, static_argnums=0, donate_argnums=3)
def _go_on(definition: Any, params: Params, job: Job, state: State, most: Any) -> State:
    return go_on(merge(definition, params), job, state, most)
