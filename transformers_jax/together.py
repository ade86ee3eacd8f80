"""Whether a tokenizer and a model belong together: checked wherever both are used."""

from __future__ import annotations

from typing import Any

ROLES = ("pad", "cls", "sep", "mask")  # whose ids change what a model reads
ENDS = ("eos",)  # and what it writes


def check_together(model: Any, tokenizer: Any) -> None:
    """A tokenizer gives what the model reads: ids of its vocabulary, and special tokens that mean
    the same to both.

    Token types are not compared: a directory may have them on one side only (DeBERTa-v3), and a
    call with types that a model does not have is refused by the model.

    Raises:
        ValueError: all that does not fit, and what to do.
    """
    for needed in ("batch", "max_id", "special_id"):
        if not hasattr(tokenizer, needed):
            raise ValueError(
                f"tokenizer is {type(tokenizer).__name__}; expected what tj.load_tokenizer(path) "
                "gives"
            )
    config = model.config
    source = getattr(config, "encoder", None) or config
    tables = [("vocab_size", getattr(source, "vocab_size", None), tokenizer)]
    target = getattr(tokenizer, "target", None)
    if target is not None and model.is_encoder_decoder:
        tables.append(("the decoder's vocab_size", config.target_vocab, target))
    problems = [
        f"the tokenizer has ids up to {each.max_id}, and {name} is {size} "
        f"(tj.resize_embeddings(model, {each.max_id + 1}, key=key) adds rows)"
        for name, size, each in tables
        if size is not None and each.max_id >= size
    ]
    writes = model.plan.head in ("causal_lm", "seq2seq_lm")
    for role in (*ROLES, *(ENDS if writes else ())):
        name = f"{role}_token_id"
        expected = getattr(source, name, None)
        if expected is None or role not in tokenizer.special:
            continue
        own = tokenizer.special_id(role)
        if own not in (expected if isinstance(expected, (tuple, list)) else (expected,)):
            problems.append(
                f"{role} is {tokenizer.special[role]!r} ({own}) to the tokenizer and {name}="
                f"{expected} to the model (if the tokenizer is right, load or make the model with "
                f"{name}={own})"
            )
    if problems:
        raise ValueError("tokenizer and model do not belong together: " + "; ".join(problems))
