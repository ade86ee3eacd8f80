"""Whether a tokenizer and a model belong together: checked wherever the two meet."""

from __future__ import annotations

from typing import Any

ROLES = ("pad", "cls", "sep", "mask")  # whose ids change what a model reads
ENDS = ("eos",)  # and what it writes


def check_together(model: Any, tokenizer: Any) -> None:
    """A tokenizer gives what the model reads: ids of its table, and special tokens that mean the
    same to both.

    Token types are not asked after: a directory may have them on one side alone (DeBERTa-v3), and a
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
    problems = _too_large("vocab_size", getattr(source, "vocab_size", None), tokenizer)
    target = getattr(tokenizer, "target", None)
    if target is not None and model.is_encoder_decoder:
        problems += _too_large("the decoder's vocab_size", config.target_vocab, target)
    writes = model.plan.head in ("causal_lm", "seq2seq_lm")
    for role in (*ROLES, *(ENDS if writes else ())):
        name = f"{role}_token_id"
        wanted = getattr(source, name, None)
        if wanted is None or role not in tokenizer.special:
            continue
        own = tokenizer.special_id(role)
        if own not in (wanted if isinstance(wanted, (tuple, list)) else (wanted,)):
            problems.append(
                f"{role} is {tokenizer.special[role]!r} ({own}) to the tokenizer and {name}="
                f"{wanted} to the model (if the tokenizer is right, load or make the model with "
                f"{name}={own})"
            )
    if problems:
        raise ValueError("tokenizer and model do not belong together: " + "; ".join(problems))


def _too_large(name: str, size: int | None, tokenizer: Any) -> list[str]:
    if size is None or tokenizer.max_id < size:
        return []
    return [
        f"the tokenizer has ids up to {tokenizer.max_id}, and {name} is {size} "
        f"(tj.resize_embeddings(model, {tokenizer.max_id + 1}, key=key) adds rows)"
    ]
