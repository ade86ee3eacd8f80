"""OpenAI's requests (of /v1/completions and /v1/chat/completions), read strictly: what this server
does not do is refused by name, and an unknown field with the nearest known one."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transformers_jax.generation.slot_steps import MOST_TOP, Draw
from transformers_jax.spelling import nearest

SHARED = (
    *("model", "stream", "stream_options", "temperature", "top_p", "n", "stop", "seed", "user"),
    *("presence_penalty", "frequency_penalty", "logit_bias", "max_tokens", "response_format"),
    *("top_k", "min_p", "repetition_penalty", "grammar"),  # beyond OpenAI's, as other servers
)
COMPLETION = (*SHARED, "prompt", "echo", "logprobs", "best_of", "suffix")
CHAT = (*SHARED, "messages", "logprobs", "top_logprobs", "max_completion_tokens")
REFUSED = {  # fields of OpenAI that would change the answer, by the values that change nothing
    "tools": ([],),
    "tool_choice": ("none",),
    "functions": ([],),
    "function_call": ("none",),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "suffix": ("",),
    "reasoning_effort": (),
    "web_search_options": (),
}
IGNORED = ("user", "store", "metadata", "service_tier", "parallel_tool_calls", "safety_identifier")


class Refused(ValueError):
    """A request that is answered with an error.

    Attributes:
        param: the field that is wrong.
        status: of HTTP.
        code: a short name of what is wrong.
    """

    def __init__(self, message: str, param: str | None = None, status: int = 400, code: str = ""):
        super().__init__(message)
        self.param, self.status, self.code = param, status, code or "invalid_value"


@dataclass(frozen=True)
class Asked:
    """What a request asks for, of each of its prompts.

    Attributes:
        prompts: the texts or ids to continue, or one conversation.
        choices: texts for each prompt.
        most: new tokens; None: as many as there is room for.
        draws: how the tokens of each choice are chosen.
        stop: strings before which a text ends.
        top: how many alternatives of each token are told; None: no probabilities.
        stream: whether the answer comes in pieces.
        usage: whether tokens are counted at the end of a stream.
        echo: whether the prompt stands before the text.
        constraint: ("json_schema", a schema) or ("grammar", its text).
    """

    prompts: tuple[Any, ...]
    choices: int
    most: int | None
    draws: tuple[Draw, ...]
    stop: tuple[str, ...]
    top: int | None
    stream: bool
    usage: bool
    echo: bool = False
    constraint: tuple[str, Any] | None = None


def read(body: Any, chat: bool, model: str) -> Asked:
    """A request.

    Raises:
        Refused: for a field that is unknown, of a wrong type, out of range, or not served.
    """
    if not isinstance(body, Mapping):
        raise Refused(f"the body must be a JSON object, got {type(body).__name__}")
    known = CHAT if chat else COMPLETION
    for name, value in body.items():
        if name in REFUSED and value is not None and value not in REFUSED[name]:
            raise Refused(f"{name} is not served: leave it out", name, code="unsupported_parameter")
        if name not in known and name not in REFUSED and name not in IGNORED:
            hint = nearest(name, known)
            raise Refused(f"unknown field {name!r}{hint}", name, code="unknown_parameter")
    asked = _Reader(body)
    if asked.text("model", model) != model:
        named = body["model"]
        raise Refused(
            f"the model {named!r} is not served here; this server has {model!r}",
            "model", 404, "model_not_found",
        )  # fmt: skip
    stream = asked.flag("stream")
    options = body.get("stream_options") or {}
    if not isinstance(options, Mapping) or {*options} - {"include_usage", "include_obfuscation"}:
        raise Refused(
            f'stream_options must be {{"include_usage": true or false}}, got {options!r}',
            "stream_options",
        )
    if options and not stream:
        raise Refused("stream_options is of streams alone: pass stream=true", "stream_options")
    choices = asked.whole("n", 1, 1, 128)
    if (best := asked.whole("best_of", choices, 1, 128)) != choices:
        raise Refused(f"best_of is {best}, and n {choices}: only as many are served", "best_of")
    prompts = (body.get("messages"),) if chat else _prompts(body.get("prompt"))
    echo, top = asked.flag("echo"), _top(asked, chat)
    if echo and top is not None:
        raise Refused("echo with logprobs is not served: leave one of them out", "echo")
    most = asked.whole("max_tokens", None if chat else 16, 0 if not chat else 1, None)
    if chat and body.get("max_completion_tokens") is not None:
        most = asked.whole("max_completion_tokens", None, 1, None)
    return Asked(
        prompts=prompts,
        choices=choices,
        most=most,
        draws=_draws(asked, len(prompts) * choices),
        stop=_stop(body.get("stop")),
        top=top,
        stream=stream,
        usage=bool(options.get("include_usage")),
        echo=echo,
        constraint=_constraint(body),
    )


class _Reader:
    """The fields of a body, by their types."""

    def __init__(self, body: Mapping[str, Any]):
        self.body = body

    def _get(self, name: str, default: Any, holds: Any, expected: str) -> Any:
        value = self.body.get(name)
        if value is None:
            return default
        if not holds(value):
            raise Refused(f"{name} must be {expected}, got {value!r:.80}", name)
        return value

    def text(self, name: str, default: str) -> str:
        return self._get(name, default, lambda x: isinstance(x, str), "text")

    def flag(self, name: str) -> bool:
        return self._get(name, False, lambda x: isinstance(x, bool), "true or false")

    def whole(self, name: str, default: Any, least: int, most: int | None) -> Any:
        holds = lambda x: (
            isinstance(x, int)
            and not isinstance(x, bool)
            and least <= x
            and (most is None or x <= most)
        )
        limit = f"from {least} on" if most is None else f"from {least} to {most}"
        return self._get(name, default, holds, f"a whole number {limit}")

    def number(self, name: str, default: float, least: float, most: float) -> float:
        holds = lambda x: (
            isinstance(x, (int, float)) and not isinstance(x, bool) and least <= x <= most
        )
        return float(self._get(name, default, holds, f"a number from {least:g} to {most:g}"))


def _prompts(prompt: Any) -> tuple[Any, ...]:
    """The prompts of a completion: a text, ids, or a list of either."""
    ids = lambda x: isinstance(x, list) and x and all(type(token) is int for token in x)
    if isinstance(prompt, str) or ids(prompt):
        return (prompt,)
    if isinstance(prompt, list) and prompt and all(isinstance(p, str) or ids(p) for p in prompt):
        return tuple(prompt)
    raise Refused(
        f"prompt must be a text, a list of ids of tokens, or a list of these, got {prompt!r:.80}",
        "prompt",
    )


def _draws(asked: _Reader, count: int) -> tuple[Draw, ...]:
    """How the tokens of each text are chosen: without a seed at random, with one each by itself."""
    seed = asked.whole("seed", None, -(2**63), 2**63 - 1)
    first = secrets.randbits(31) if seed is None else seed
    top_p = asked.number("top_p", 1.0, 0.0, 1.0)
    settings = dict(
        temperature=asked.number("temperature", 1.0, 0.0, 2.0),
        top_p=max(top_p, 1e-6),  # 0 leaves the likeliest token alone
        top_k=asked.whole("top_k", 0, -1, 2**31 - 1),
        min_p=asked.number("min_p", 0.0, 0.0, 1.0),
        repetition_penalty=asked.number("repetition_penalty", 1.0, 1e-3, 100.0),
        presence_penalty=asked.number("presence_penalty", 0.0, -2.0, 2.0),
        frequency_penalty=asked.number("frequency_penalty", 0.0, -2.0, 2.0),
        bias=_bias(asked.body.get("logit_bias")),
    )
    settings["top_k"] = max(settings["top_k"], 0)  # -1 is off, too
    return tuple(Draw(**settings, seed=first + number) for number in range(count))


def _bias(value: Any) -> dict[int, float]:
    if value is None:
        return {}
    try:
        read = {int(token): float(bias) for token, bias in value.items()}
    except (AttributeError, TypeError, ValueError, OverflowError):
        read = {0: 1e9}
    if any(not -100 <= bias <= 100 for bias in read.values()):
        raise Refused(
            f'logit_bias must be {{"id of a token": bias from -100 to 100}}, got {value!r:.80}',
            "logit_bias",
        )
    return read


def _stop(value: Any) -> tuple[str, ...]:
    strings = (value,) if isinstance(value, str) else () if value is None else value
    good = isinstance(strings, (list, tuple)) and len(strings) <= 16
    if not good or not all(isinstance(string, str) and string for string in strings):
        raise Refused(
            f"stop must be a text or a list of at most 16, none of them empty, got {value!r:.80}",
            "stop",
        )
    return tuple(strings)


def _top(asked: _Reader, chat: bool) -> int | None:
    if not chat:
        return asked.whole("logprobs", None, 0, MOST_TOP)
    wanted, top = asked.flag("logprobs"), asked.whole("top_logprobs", None, 0, MOST_TOP)
    if top is not None and not wanted:
        raise Refused("top_logprobs needs logprobs=true", "top_logprobs")
    return (top or 0) if wanted else None


def _constraint(body: Mapping[str, Any]) -> tuple[str, Any] | None:
    """What a text must look like."""
    form, grammar = body.get("response_format"), body.get("grammar")
    if form is not None and grammar is not None:
        raise Refused("response_format and grammar are two constraints; pass one", "grammar")
    if grammar is not None:
        if not isinstance(grammar, str) or not grammar:
            raise Refused(f"grammar must be a Lark grammar as text, got {grammar!r:.80}", "grammar")
        return "grammar", grammar
    if form is None:
        return None
    kind = form.get("type") if isinstance(form, Mapping) else None
    if kind == "text":
        return None
    if kind == "json_object":
        return "json_schema", {"type": "object"}
    if kind == "json_schema":
        named = form.get("json_schema")
        schema = named.get("schema") if isinstance(named, Mapping) else None
        if isinstance(schema, (Mapping, bool)):
            return "json_schema", schema
    raise Refused(
        'response_format must be {"type": "text"}, {"type": "json_object"} or {"type": '
        f'"json_schema", "json_schema": {{"name": ..., "schema": {{...}}}}}}, got {form!r:.80}',
        "response_format",
    )
