"""Preferences: a prompt, an answer that is preferred and one that is not, as texts.

The formats are those of TRL: texts or messages, with a prompt of their own or with one that both
answers begin with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from transformers_jax.data.tables import Records
from transformers_jax.tasks.instructions import messages_of
from transformers_jax.tasks.rows import Form

Messages = Sequence[Mapping[str, str]]


class Preference(NamedTuple):
    """The texts of a record; each answer stands directly behind the prompt.

    Attributes:
        templated: whether a chat template wrote them, with the special tokens that it wants.
    """

    prompt: str
    chosen: str
    rejected: str
    templated: bool = False


def preferences(form: Form, records: Records, system: str = "") -> list[Preference]:
    """The preference of each record: columns are those of the roles "text" (the prompt, which may
    be absent), "label" (chosen) and "text_pair" (rejected).

    Texts with a prompt are written by the chat template of the tokenizer, if it has one; else they
    stand behind one another, and the token that ends a text behind the answer. Texts without a
    prompt are written as they are: their common beginning is the prompt.

    Args:
        system: a message, or text, in front of each prompt.

    Raises:
        ValueError: what is neither texts nor messages, or has no prompt, with its place.
    """
    chosen, rejected = form.values(records, "label"), form.values(records, "text_pair")
    prompts = form.values(records, "text") if "text" in form.columns else [None] * len(chosen)
    found = [
        _of_record(form, where, prompt, one, other, system)
        for where, prompt, one, other in zip(records.places, prompts, chosen, rejected)
    ]
    for where, one in zip(records.places, found):
        if one.templated != found[0].templated:
            raise ValueError(
                f"{where}: some records of {records.name} hold texts and others messages; give all "
                "in one form"
            )
    return found


def _of_record(
    form: Form, where: str, prompt: Any, chosen: Any, rejected: Any, system: str
) -> Preference:
    texts = [isinstance(answer, str) for answer in (chosen, rejected)]
    if any(texts) != all(texts):
        raise ValueError(f"{where}: one answer is a text and the other are messages")
    if not texts[0]:
        return _of_messages(form, where, prompt, chosen, rejected, system)
    template, end = form.tokenizer.chat_template, form.tokenizer.special.get("eos", "")
    if prompt is None:
        count = _shared_text(chosen, rejected)
        found = Preference(
            system + chosen[:count], _ended(chosen[count:], end), _ended(rejected[count:], end)
        )
    elif not isinstance(prompt, str):
        raise ValueError(
            f"{where}: {form.columns['text']!r} holds {prompt!r:.60}; expected a text, as the "
            "answers are texts"
        )
    elif template is None:
        found = Preference(system + prompt, _ended(chosen, end), _ended(rejected, end))
    else:
        asked = [{"role": "user", "content": prompt}]
        answers = ([{"role": "assistant", "content": one}] for one in (chosen, rejected))
        return _written(form, where, _with_system(system, asked), *answers)
    if not found.prompt:
        raise ValueError(
            f"{where} has no prompt: "
            + ("it is empty" if prompt == "" else "the two answers have no common beginning")
            + "; nothing is there that the first token could be predicted from"
        )
    return found


def _of_messages(
    form: Form, where: str, prompt: Any, chosen: Any, rejected: Any, system: str
) -> Preference:
    """The preference of two lists of messages. A prompt that is a text is in their beginning."""
    columns = form.columns
    ours = messages_of(chosen, f"{where}: {columns['label']!r}")
    theirs = messages_of(rejected, f"{where}: {columns['text_pair']!r}")
    if prompt is None or isinstance(prompt, str):
        pairs = zip(ours, theirs)
        count = next(
            (n for n, (one, other) in enumerate(pairs) if one != other),
            min(len(ours), len(theirs)) - 1,
        )
        asked, ours, theirs = ours[:count], ours[count:], theirs[count:]
    else:
        asked = messages_of(prompt, f"{where}: {columns['text']!r}")
    if not asked:
        raise ValueError(
            f"{where} has no prompt: chosen and rejected begin with different messages; give the "
            "messages before the answers in both, or in the column 'prompt'"
        )
    return _written(form, where, _with_system(system, asked), ours, theirs)


def _with_system(system: str, messages: Messages) -> Messages:
    return [*([{"role": "system", "content": system}] * bool(system)), *messages]


def _written(
    form: Form, where: str, asked: Messages, chosen: Messages, rejected: Messages
) -> Preference:
    """What the chat template writes of a prompt and of what is behind it.

    Raises:
        ValueError: a template that writes the prompt otherwise once answers follow.
    """
    chat, texts = form.tokenizer.chat, []
    prompts = [
        chat(asked, add_generation_prompt=answer[0]["role"] == "assistant")
        for answer in (chosen, rejected)
    ]
    for prompt, answer in zip(prompts, (chosen, rejected)):
        whole = chat([*asked, *answer])
        if not whole.startswith(prompt) or prompts[0] != prompts[1]:
            raise ValueError(
                f"{where}: the chat template writes the prompt otherwise once an answer follows, "
                "so that answers cannot be told apart; give prompts and answers as texts"
            )
        texts.append(whole[len(prompt) :])
    return Preference(prompts[0], texts[0], texts[1], templated=True)


def _shared_text(one: str, other: str) -> int:
    """How many characters two texts begin with in common; a space at the end is the answer's, as in
    TRL: tokenizers put it in front of words."""
    pairs = zip(one, other)
    count = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
    return count - 1 if count and one[count - 1] == " " else count


def _ended(text: str, end: str) -> str:
    return text if end and text.endswith(end) else text + end
