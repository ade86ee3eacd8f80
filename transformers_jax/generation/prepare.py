"""A call of `generate`, checked and read: the record of its search."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from transformers_jax.arrays import Array, Int, Key, check_key
from transformers_jax.face import public
from transformers_jax.generation.assistance import Assistance, assistance_of
from transformers_jax.generation.constraints import forced, forest_of
from transformers_jax.generation.grammar import grammar_of
from transformers_jax.generation.guidance import Guidance
from transformers_jax.generation.inputs import Request, check_head, read
from transformers_jax.generation.job import Job
from transformers_jax.generation.options import (
    IRRELEVANT,
    NAMES,
    UNSUPPORTED,
    Options,
    as_mapping,
    of_search,
    resolve,
)
from transformers_jax.generation.padding import Call
from transformers_jax.generation.processors.build import Setting, build
from transformers_jax.generation.processors.grammar import Run, run_of
from transformers_jax.generation.stopping import criteria, limited, own_criteria
from transformers_jax.generation.tags import marked
from transformers_jax.generation.texts import padded, prompts_of
from transformers_jax.inputs.arguments import narrow, traceable
from transformers_jax.models.base import check_model
from transformers_jax.spelling import nearest


class Prepared(NamedTuple):
    """A call that is ready to be computed.

    Attributes:
        request: the prompt in its bucket.
        options: in force.
        job: the record of the search; None where no token is asked for.
        assistance: where drafts come from.
        prompts: the ids of texts and conversations.
        run: what is asked for the tokens of a grammar.
    """

    request: Request
    options: Options
    job: Job | None
    assistance: Assistance | None
    prompts: list[list[int]] | None
    run: Run | None = None


def prepare(
    model: Any,
    input_ids: Int[Array, "B T"] | None = None,
    *,
    texts: Any = None,
    messages: Any = None,
    attention_mask: Int[Array, "B T"] | None = None,
    decoder_input_ids: Int[Array, "B T"] | None = None,
    decoder_attention_mask: Int[Array, "B T"] | None = None,
    encoder_outputs: Any = None,
    tags: Mapping[str, Int[Array, "B T"]] | None = None,
    decoder_tags: Mapping[str, Int[Array, "B T"]] | None = None,
    logits_processor: Any = None,
    prefix_allowed_tokens_fn: Callable[..., Any] | None = None,
    assistant_model: Any = None,
    negative_prompt_ids: Int[Array, "B S"] | None = None,
    negative_prompt_attention_mask: Int[Array, "B S"] | None = None,
    stopping_criteria: Any = None,
    tokenizer: Any = None,
    json_schema: Any = None,
    grammar: Any = None,
    key: Key | None = None,
    generation_config: Any = None,
    with_scores: bool = False,
    with_log_probs: bool = False,
    options: dict[str, Any],
) -> Prepared:
    """The call, with the arguments of `generate`; `options` are the others.

    Raises:
        TypeError, ValueError: as `generate`.
    """
    check_model(model, "generate")
    check_head(model)
    reading = model.reading
    beside = (*reading.source_raw, *reading.source_arguments, *reading.beside)
    prompts = None
    if texts is not None or messages is not None:
        if input_ids is not None or attention_mask is not None:
            raise ValueError(
                "texts and messages are prompts, and so are input_ids: pass one of them"
            )
        prompts = prompts_of(model, tokenizer, texts, messages)
        rows_of_texts = padded(model, prompts)
        input_ids, attention_mask = rows_of_texts["input_ids"], rows_of_texts["attention_mask"]
    inputs = {n: narrow(traceable(n, options.pop(n))) for n in beside if n in options}
    tags = marked(reading, options, tags)
    if input_ids is None and inputs and reading.prompt:
        rows = next(iter(inputs.values())).shape[0]
        input_ids = jnp.broadcast_to(jnp.array(reading.prompt), (rows, len(reading.prompt)))
    generation_config = as_mapping(generation_config)
    _refuse_unknown([*options, *generation_config])
    criteria_of_caller = own_criteria(stopping_criteria)
    chosen = limited(
        resolve(
            options,
            generation_config,
            model.generation_config or {},
            model.config,
            reading.vocabulary,
        ),
        criteria_of_caller,
    )
    if chosen.do_sample and key is None:
        raise ValueError("do_sample=True draws at random: pass key=jax.random.key(seed)")
    if key is not None:
        check_key(key)
    inputs = {"encoder_outputs": encoder_outputs, **inputs}
    inputs = {name: value for name, value in inputs.items() if value is not None}
    call = Call(
        model=model,
        options=chosen,
        input_ids=input_ids,
        attention_mask=attention_mask,
        decoder_input_ids=decoder_input_ids,
        decoder_attention_mask=decoder_attention_mask,
        inputs=inputs,
        tags=tags,
        decoder_tags=decoder_tags,
        negative_prompt_ids=negative_prompt_ids,
        negative_prompt_attention_mask=negative_prompt_attention_mask,
        processors=logits_processor,
        allowed=prefix_allowed_tokens_fn,
        criteria=criteria_of_caller,
        tokenizer=tokenizer,
        grammar=grammar_of(grammar, json_schema, tokenizer, reading.vocabulary, chosen),
    )
    _check_pieces(model, chosen, inputs)
    assistance = assistance_of(model, chosen, assistant_model)
    request = read(call)
    kept = {"with_scores": with_scores, "with_log_probs": with_log_probs}
    run = run_of(call.grammar, chosen, request.columns, request.new)
    job = _job(request, call, key, run, **kept) if request.new else None
    return Prepared(request, chosen, job, assistance, prompts, run)


def _check_pieces(model: Any, options: Options, inputs: Mapping[str, Any]) -> None:
    """A prompt may be read in pieces.

    Raises:
        ValueError: it has to be read in one.
    """
    reading = model.reading
    beside = [name for name in reading.beside if name in inputs]
    why = (
        f"reads {', '.join(beside)} together with its prompt"
        if beside
        else "reads a prompt in both directions"
        if reading.looks_ahead
        else "rotates a prompt by its length"
        if reading.by_length
        else ""
    )
    if options.prefill_chunk_size is not None and why:
        raise ValueError(
            f"prefill_chunk_size={options.prefill_chunk_size}: this {model.config.model_type} "
            f"{why}, in one piece; pass prefill_chunk_size=None"
        )


def _job(request: Request, call: Call, key: Key | None, run: Run | None, **kept: bool) -> Job:
    """The record of a search; numbers are arrays, what decides the program is static."""
    options, prompt, new = call.options, request.prompt, jnp.int32(request.new)
    setting = Setting(
        columns=jnp.int32(request.columns),
        new=new,
        source=prompt.source,
        vocabulary=call.model.reading.vocabulary,
        own=call.processors,
        allowed=call.allowed,
        run=None if run is None else run.number,
    )
    negative, constraints = request.negative, forced(options)
    return Job(
        prompt=prompt._replace(source=None),
        processors=build(options, setting),
        limit=new,
        length_penalty=jnp.float32(options.length_penalty),
        criteria=criteria(options, call.criteria, call.tokenizer),
        guidance=negative and Guidance(jnp.float32(options.guidance_scale), negative),
        key=key if options.do_sample else None,
        options=of_search(options),
        width=request.width,
        forest=forest_of(constraints) if constraints else None,
        **kept,
    )


def _refuse_unknown(names: Iterable[str]) -> None:
    """Raises TypeError for what is neither an option nor an argument, with the nearest name."""
    known = (*NAMES, *UNSUPPORTED, *inspect.signature(public("generate")).parameters)
    positions = (
        "positions are counted from attention_mask; give each document of a packed row a row of "
        "its own"
    )
    for name in names:
        if name not in (*NAMES, *UNSUPPORTED, *IRRELEVANT):
            hint = nearest(name, known, otherwise={"position_ids": positions})
            raise TypeError(f"generate() has no argument and no option {name!r}{hint}")
