"""Conversations as prompts, by the chat template of a tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

ROLES = ("system", "developer", "user", "assistant", "tool")


def prompt_of(tokenizer: Any, messages: Sequence[Mapping[str, Any]], **variables: Any) -> list[int]:
    """The tokens of a conversation, up to where the model is to answer. The template writes the
    special tokens, so that none are added.

    Raises:
        ValueError: a message that is none, or a tokenizer without a template.
    """
    if not isinstance(messages, (list, tuple)) or not messages:
        raise ValueError(
            "messages must be a list with at least one message: "
            '[{"role": "user", "content": "..."}]'
        )
    read = [_message(number, message) for number, message in enumerate(messages)]
    text = tokenizer.chat(read, add_generation_prompt=True, **variables)
    return [int(token) for token in tokenizer.encode(text)]


def _message(number: int, message: Any) -> dict[str, Any]:
    name = f"messages[{number}]"
    if not isinstance(message, Mapping):
        raise ValueError(f'{name} must be {{"role": ..., "content": ...}}, got {message!r:.80}')
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        raise ValueError(f"{name}.role must be one of {', '.join(ROLES)}, got {role!r}")
    if isinstance(content, list):  # OpenAI's parts, of which a text model reads those of text
        others = [part for part in content if not _is_text(part)]
        if others:
            raise ValueError(
                f"{name}.content has a part {others[0]!r:.60}; only texts are read: "
                '{"type": "text", "text": ...}'
            )
        content = "".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise ValueError(f"{name}.content must be text, got {content!r:.60}")
    return {**message, "content": content}


def _is_text(part: Any) -> bool:
    text = isinstance(part, Mapping) and part.get("type") == "text"
    return text and isinstance(part.get("text"), str)
