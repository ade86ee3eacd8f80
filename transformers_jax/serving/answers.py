"""OpenAI's answers, whole and in pieces."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from transformers_jax.generation.slots import Written


class Writer:
    """Writes the answers of one request.

    Args:
        chat: whether it is a conversation.
        model: its name.
        top: how many alternatives of a token are told; None: no probabilities.
        bytes_of: the bytes of every token.
    """

    def __init__(
        self,
        chat: bool,
        model: str,
        tokenizer: Any,
        top: int | None,
        bytes_of: Callable[[], Mapping[int, bytes]],
    ):
        self.chat, self.tokenizer, self.top, self.bytes_of = chat, tokenizer, top, bytes_of
        kind = "chat.completion" if chat else "text_completion"
        prefix = "chatcmpl" if chat else "cmpl"
        self.head: dict[str, Any] = {
            "id": f"{prefix}-{uuid.uuid4().hex}",
            "object": kind,
            "created": int(time.time()),
            "model": model,
        }

    def whole(self, choices: Sequence[dict[str, Any]], usage: dict[str, Any]) -> dict[str, Any]:
        """The answer of a request that does not stream."""
        return {**self.head, "choices": list(choices), "usage": usage}

    def choice(
        self, index: int, text: str, tokens: Sequence[Written], finish: str | None
    ) -> dict[str, Any]:
        """One text of an answer."""
        own = {"message": {"role": "assistant", "content": text, "refusal": None}}
        return self._choice(index, own if self.chat else {"text": text}, tokens, finish)

    def chunk(
        self,
        index: int,
        text: str | None,
        tokens: Sequence[Written] = (),
        finish: str | None = None,
        first: bool = False,
        offset: int = 0,
    ) -> dict[str, Any]:
        """A piece of one text of a stream; `first` begins a message, `offset` are the characters
        before it."""
        if self.chat:
            delta: dict[str, Any] = {"role": "assistant", "content": ""} if first else {}
            if text:
                delta["content"] = text
            own: dict[str, Any] = {"delta": delta}
        else:
            own = {"text": text or ""}
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        choice = self._choice(index, own, tokens, finish, offset)
        return {**self.head, "object": kind, "choices": [choice]}

    def counted(self, usage: dict[str, Any]) -> dict[str, Any]:
        """The last piece of a stream, which counts its tokens."""
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        return {**self.head, "object": kind, "choices": [], "usage": usage}

    def _choice(self, index, own, tokens, finish, offset=0) -> dict[str, Any]:
        told = None if self.top is None else self._probabilities(tokens, offset)
        return {"index": index, **own, "logprobs": told, "finish_reason": finish}

    def _probabilities(self, tokens: Sequence[Written], offset: int) -> dict[str, Any]:
        """The log-probabilities of tokens and of their alternatives."""
        assert self.top is not None
        piece = lambda token: self.tokenizer.decode([token])
        if self.chat:
            written = self.bytes_of()  # a token may be a part of a character

            def entry(token: int, log_prob: float) -> dict[str, Any]:
                own = list(written.get(token, b""))
                return {"token": piece(token), "logprob": log_prob, "bytes": own}

            return {
                "content": [
                    {
                        **entry(one.token, one.log_prob),
                        "top_logprobs": [entry(*other) for other in one.top[: self.top]],
                    }
                    for one in tokens
                ],
                "refusal": None,
            }

        def by_text(top: Sequence[tuple[int, float]]) -> dict[str, float]:
            """The likeliest first; of several tokens with one text its log-probability."""
            told: dict[str, float] = {}
            for token, log_prob in top:
                told.setdefault(piece(token), log_prob)
            return told

        texts = [piece(one.token) for one in tokens]
        places = [offset + sum(map(len, texts[:n])) for n in range(len(texts))]
        return {
            "tokens": texts,
            "token_logprobs": [one.log_prob for one in tokens],
            "top_logprobs": [by_text(one.top[: self.top]) for one in tokens],
            "text_offset": places,
        }


def usage(prompt: int, new: int, reused: int) -> dict[str, Any]:
    """The tokens of a request: read, of these such as a slot held already, and written."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": new,
        "total_tokens": prompt + new,
        "prompt_tokens_details": {"cached_tokens": reused},
    }
