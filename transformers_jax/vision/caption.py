"""What pictures show, or an answer to a question about them, in words."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from transformers_jax.generation import generate
from transformers_jax.generation.texts import until_end
from transformers_jax.models.base import Model, check_model
from transformers_jax.models.wiring import Captioner
from transformers_jax.processing import placeholders as rules
from transformers_jax.processing.interleaved import Interleaved
from transformers_jax.sizes import check_count
from transformers_jax.vision.batches import Inputs, in_batches

WRITES = ("seq2seq_lm", "causal_lm")


def caption(
    model: Model,
    images: Any,
    *,
    processor: Any,
    prompt: str | None = None,
    batch_size: int = 8,
    **options: Any,
) -> list[str]:
    """A text for each image.

    Args:
        model: one that writes of images: BLIP, an encoder of images with a decoder of texts, or a
            language model that reads images among words or attends to them (LLaVA, PaliGemma,
            BLIP-2, Idefics).
        images: one or several of what the processor takes, or what `arguments_of` made of them.
        processor: of images, with the tokenizer (`tj.load_processor`).
        prompt: how each text begins, which is part of it; of a language model what it is told,
            which is not part of it, and has the token of the image where its processor needs that
            (LLaVA), or may have it (PaliGemma); of others it has none.
        batch_size: how many images are computed at a time.
        options: of `tj.generate`: `max_new_tokens`, `num_beams`, ...

    Raises:
        ValueError: a model that writes nothing, a language model without a prompt, a prompt for
            arguments that are made already, one without the image's token or with too many of
            them, a processor without a tokenizer; no new token; no image, or one that cannot be
            read.
    """
    if options.get("max_new_tokens") is not None:
        check_count("max_new_tokens", options["max_new_tokens"])
    made = isinstance(images, Mapping) and "pixel_values" in images
    if made and prompt is not None:
        raise ValueError("images are arguments that were made already: pass prompt= when they are")
    if made:
        _check_writes(model, processor)
    prepare = (lambda some: {}) if made else arguments_of(model, processor, prompt)
    begins = isinstance(model, Captioner) or model.is_encoder_decoder
    texts = []
    for inputs, count in in_batches(images, prepare, batch_size):
        run: Any = model.generate if isinstance(model, Captioner) else None
        run = run or functools.partial(generate, model)
        rows = np.asarray(run(**inputs, **options))
        copies = len(rows) // len(inputs["pixel_values"])  # num_return_sequences
        first = _prompt_width(model, inputs)
        for row in rows[: count * copies].tolist():
            begin = row[:first] if begins else []
            ids = [*begin, *until_end(model, row[first:])]
            texts.append(processor.tokenizer.decode(ids, skip_special_tokens=True).strip())
    return texts


def arguments_of(
    model: Any, processor: Any, prompt: str | None = None
) -> Callable[[list[Any]], Inputs]:
    """What makes the arguments of `tj.generate` of a list of images.

    Raises:
        ValueError: as of `caption`.
    """
    tokenizer = _check_writes(model, processor)
    if prompt is not None:
        _check_prompt(prompt, model, getattr(processor, "rule", None))
    if isinstance(model, Captioner):  # replaces the first token and takes the last one off
        return lambda some: _begun(processor(images=some), "input_ids", tokenizer, prompt)
    if model.plan.head == "seq2seq_lm" and "input_ids" not in model.arguments():
        name, start = "decoder_input_ids", _start(model)
        return lambda some: _begun(processor(images=some), name, tokenizer, prompt, start)
    if prompt is None and model.reading.prompt:  # how a text begins that nothing was said of
        return lambda some: processor(images=some)
    if prompt is None:
        raise ValueError(
            f"{model.config.model_type} reads a prompt with each image: give prompt=, such as "
            "'What is shown?', for LLaVA '<image> What is shown?' (--prompt on the command line)"
        )
    return lambda some: processor(
        images=some, text=[prompt] * len(some), padding=True, padding_side="left"
    )


def _check_writes(model: Any, processor: Any) -> Any:
    """The tokenizer of a model that writes about images.

    Raises:
        ValueError: one that does not, or a processor without a tokenizer.
    """
    check_model(model, "caption")
    head = getattr(model.plan, "head", None)
    if head not in WRITES or "pixel_values" not in model.arguments():
        raise ValueError(
            f"{model.config.model_type} with head {head!r} writes no texts about images; load "
            "BLIP, a vision-encoder-decoder or LLaVA with the head that generates"
        )
    tokenizer = getattr(processor, "tokenizer", None)
    if tokenizer is None:
        raise ValueError("captions need the tokenizer of the model: the processor has none")
    return tokenizer


def _check_prompt(prompt: str, model: Any, rule: Any) -> None:
    """Raises ValueError for a prompt with more or fewer tokens of the image than are read with one
    image; `rule` is that of the processor, None where it has none."""
    reader, plain = model.config.model_type, "input_ids" not in model.arguments()
    if isinstance(model, Captioner) or plain or isinstance(rule, (rules.Queries, Interleaved)):
        rules.refuse_token(prompt, rules.IMAGE, reader, "prompt")
    if not isinstance(rule, (rules.Repeated, rules.Prefix)):
        return
    token = getattr(rule, "token", rules.IMAGE)
    written, least = prompt.count(token), int(isinstance(rule, rules.Repeated))
    if not least <= written <= 1:
        rest = " ".join(prompt.replace(token, " ").split())
        raise ValueError(
            f"the prompt {prompt!r:.60} has {written} {token}, and {reader} reads one image with "
            f"each text: write {token} once, where the image stands, such as "
            f"{f'{token} {rest}'!r}"
        )


def _begun(
    inputs: Inputs, name: str, tokenizer: Any, prompt: str | None, start: int | None = None
) -> dict[str, Any]:
    """The arguments with the beginning of each text, if there is one."""
    if prompt is None:
        return dict(inputs)
    if start is None:
        ids = tokenizer.batch([prompt])["input_ids"][0]
    else:
        ids = [start, *tokenizer.batch([prompt], add_special_tokens=False)["input_ids"][0]]
    return {**inputs, name: np.tile(np.asarray(ids), (len(inputs["pixel_values"]), 1))}


def _start(model: Any) -> int:
    """The token with which the decoder begins."""
    start = model.generation_config.get("decoder_start_token_id")
    start = model.generation_config.get("bos_token_id") if start is None else start
    if start is None:
        raise ValueError(
            "this model names no decoder_start_token_id, with which a text begins; set it: "
            "config.replace(decoder_start_token_id=...)"
        )
    return int(start)


def _prompt_width(model: Any, inputs: Inputs) -> int:
    """How many tokens of each row that `generate` returns it was given."""
    if isinstance(model, Captioner):
        return inputs["input_ids"].shape[1] - 1 if "input_ids" in inputs else 1
    if model.is_encoder_decoder:
        return inputs["decoder_input_ids"].shape[1] if "decoder_input_ids" in inputs else 1
    return inputs["input_ids"].shape[1] if "input_ids" in inputs else len(model.reading.prompt)
