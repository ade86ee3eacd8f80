"""Conversations as text: a model's chat template, run where it can reach nothing."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any

from transformers_jax.data.texts import need


def render(
    template: str | None, messages: Sequence[Mapping[str, Any]], variables: Mapping[str, Any]
) -> str:
    """The text of a conversation.

    The template comes with the weights, from anyone: it runs in Jinja's immutable sandbox, which
    gives it no way to the interpreter, to files, or to change its variables.

    Args:
        messages: [{"role": "user", "content": "..."}, ...].
        variables: what else the template may name: tools, bos_token, add_generation_prompt, ...

    Raises:
        ValueError: there is no template, it fails or complains, or jinja2 is not installed.
    """
    if template is None:
        raise ValueError(
            "this tokenizer has no chat template (chat_template in tokenizer_config.json); write "
            "the conversation as the model was trained to read it"
        )
    jinja2 = need("jinja2", "chat", "a chat template")
    environment = need("jinja2.sandbox", "chat", "a chat template").ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )

    def complain(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment.globals["raise_exception"] = complain
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    environment.filters["tojson"] = lambda value, **options: json.dumps(
        value, ensure_ascii=options.pop("ensure_ascii", False), **options
    )
    try:
        return environment.from_string(template).render(messages=list(messages), **variables)
    except Exception as error:  # templates are programs: anything may go wrong in them
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"the chat template fails on these messages ({reason})") from None
