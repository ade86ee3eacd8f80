"""The bytes that each token of a tokenizer puts into a text."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from transformers_jax.json_files import json_text, parse_json

BASE = "abcdef"
"""A token is decoded behind this text, so that it gets the spaces that it has inside of one."""
HEXADECIMAL = re.compile("<0x([0-9A-Fa-f]{2})>")


def token_bytes(tokenizer: Any) -> dict[int, bytes]:
    """id -> bytes, of a tokenizer of `tj.load_tokenizer`, of the Rust library or of transformers.

    Tokens of parts of a character (byte-level vocabularies, byte fallback) are those bytes.

    Raises:
        ValueError: what is no tokenizer.
    """
    inner = getattr(tokenizer, "backend_tokenizer", getattr(tokenizer, "inner", tokenizer))
    if not all(hasattr(inner, name) for name in ("get_vocab", "encode", "decode")):
        raise ValueError(
            f"tokenizer is {tokenizer!r}; expected one that tj.load_tokenizer reads, or one of "
            "the libraries tokenizers or transformers"
        )
    kinds = _kinds(getattr(inner, "decoder", None))
    own: Callable[[str], bytes | None] = lambda token: None
    if "ByteFallback" in kinds:
        own = _fallback
    elif "ByteLevel" in kinds:
        own = _byte_level(_characters())
    decode = _decoder(inner)
    texts = {}
    for token, number in inner.get_vocab().items():
        made = own(token)
        texts[number] = decode(number) if made is None else made
    return texts


def _kinds(decoder: Any) -> set[str]:
    """The types of a decoder of the Rust library, and of those that it is made of."""
    state = getattr(decoder, "__getstate__", lambda: None)()
    if not isinstance(state, (str, bytes)):
        return set()
    return set(re.findall(r'"type":\s*"(\w+)"', json_text(parse_json(state, "a decoder"))))


def _decoder(inner: Any) -> Callable[[int], bytes]:
    """id -> the text of the token, behind other text."""
    ids, before = _base(inner)

    def decode(number: int) -> bytes:
        text = inner.decode([*ids, number], skip_special_tokens=False)
        found = text.find(before)
        return text[found + len(before) :].encode() if found >= 0 else b""

    return decode


def _base(inner: Any) -> tuple[list[int], str]:
    """The ids of `BASE`, and its text; nothing where the vocabulary cannot write it."""
    try:
        ids = inner.encode(BASE, add_special_tokens=False)
    except Exception:  # the Rust library raises this type where a character has no id
        return [], ""
    ids = list(getattr(ids, "ids", ids))
    return (ids, BASE) if BASE in inner.decode(ids, skip_special_tokens=False) else ([], "")


def _fallback(token: str) -> bytes | None:
    match = HEXADECIMAL.fullmatch(token)
    return bytes.fromhex(match[1]) if match else None


def _byte_level(table: dict[str, int]) -> Callable[[str], bytes | None]:
    known = table.keys()
    return lambda token: bytes(table[c] for c in token) if known >= set(token) else None


def _characters() -> dict[str, int]:
    """character -> byte, in byte-level vocabularies (Radford et al. 2019): bytes that print are
    themselves, the others follow the 256th character."""
    printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printed]
    return {chr(byte): byte for byte in printed} | {chr(256 + n): b for n, b in enumerate(others)}
