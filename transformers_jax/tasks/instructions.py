"""Instruction tuning: a decoder learns the answers of conversations, not the questions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from transformers_jax.arrays import Int
from transformers_jax.data.tables import Records
from transformers_jax.generation import generate
from transformers_jax.graph import OWN, Same
from transformers_jax.metrics import exact_match, rouge
from transformers_jax.objectives.example import IGNORED, Example
from transformers_jax.objectives.losses import causal_lm
from transformers_jax.tasks.base import Task
from transformers_jax.tasks.corpus import UNIT
from transformers_jax.tasks.figures import worst_texts
from transformers_jax.tasks.rows import NUMBER, Form, Rows, numbered

Turns = list[tuple[str, bool]]
"""The text of each part of a conversation, and whether it is to be learned."""


@dataclass(frozen=True)
class Instruction(Task):
    """The answers to instructions (Ouyang et al. 2022, section 3.5): every token is read, and those
    of answers are predicted.

    A record has a list of messages ({"role": "user" | "assistant" | "system", "content": "..."}),
    which the chat template of the tokenizer writes; or a prompt and a response, which are written
    one behind the other (by the template, if there is one), with the token that ends a text.
    `data.rows="packed"` puts several conversations in a row, which do not attend to each other.
    """

    head: ClassVar[str] = "causal_lm"
    loss: ClassVar[str] = "causal_lm"
    metric: ClassVar[str] = "loss"
    lower: ClassVar[bool] = True
    single: ClassVar[bool] = False
    needed: ClassVar[tuple[str, ...]] = ("text",)
    usual: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "text": (
            "messages",
            "conversations",
            "conversation",
            "prompt",
            "instruction",
            "question",
            "text",
        ),
        "label": ("response", "completion", "output", "answer"),
    }
    answered: ClassVar[tuple[str, ...]] = ()

    system: str = ""
    """a message that stands in front of every prompt, where the template has place for one"""
    max_new_tokens: int = 64
    """most tokens of an answer that is predicted"""
    written: int = 0
    """held-out prompts that the model answers in evaluations, the first ones; 0: the loss alone"""

    @property
    def writes(self) -> bool:  # type: ignore[override]
        """Whether evaluations write answers."""
        return self.written > 0

    # ------------------------------------------------------------ data

    def read(self, form: Form, records: Records, *, answered: bool = True) -> Rows:
        if not answered:
            return self._read_prompts(form, records)
        examples, cut, learned, total = [], 0, 0, 0
        for where, (ids, targets) in zip(records.places, self._encoded(form, records)):
            if form.length and len(ids) > form.length:
                if form.data.too_long == "error":
                    raise ValueError(
                        f"{where} has {len(ids)} tokens, and rows have {form.at_most}, or "
                        "pass --data.too-long truncate"
                    )
                ids, targets, cut = ids[: form.length], targets[: form.length], cut + 1
            learned, total = learned + int((targets != IGNORED).sum()), total + len(ids)
            examples.append(Example({"input_ids": ids, "labels": targets}))
        notes = [
            f"{records.name}: {cut:,} of {len(examples):,} conversations are cut"
            f"{f' to {form.length:,} tokens' * bool(cut)}; {learned:,} of {total:,} tokens are "
            "learned"
        ]
        if not learned:
            raise ValueError(
                f"{records.name}: no token is left of the answers; raise --data.length"
            )
        owners = np.arange(len(examples))
        if not self.written:
            return Rows(records, examples, owners, None, notes=tuple(notes))
        self._check_room(form, records, examples)
        answers = [one.tokens["input_ids"][_last(one.tokens["labels"])] for one in examples]
        references = form.tokenizer.batch_decode(answers, skip_special_tokens=True)
        references = [text.strip() for text in references]
        return Rows(records, numbered(examples), owners, references, notes=tuple(notes))

    def _check_room(self, form: Form, records: Records, examples: Sequence[Example]) -> None:
        """Raises ValueError where prompts that are to be answered share a row, or leave no room."""
        if form.data.rows == "packed":
            raise ValueError(
                "objective.written answers one prompt of a row, and data.rows=packed has several: "
                "pass --data.rows bucketed, or --objective.written 0"
            )
        limit = form.model.reading.positions
        for where, one in zip(records.places, examples[: self.written]):
            size = _last(one.tokens["labels"]).start
            if limit is not None and size + self.max_new_tokens > limit:
                raise ValueError(
                    f"{where}: the prompt has {size} tokens, and with {self.max_new_tokens} of an "
                    f"answer (--objective.max-new-tokens) the model reads {limit} at most: lower "
                    "it, or --objective.written"
                )

    def _read_prompts(self, form: Form, records: Records) -> Rows:
        """What is to be answered: a prompt, or the messages before the last answer."""
        values, column = form.values(records, "text"), form.columns["text"]
        system = [{"role": "system", "content": self.system}] * bool(self.system)
        prompts = []
        for where, value in zip(records.places, values):
            if isinstance(value, str) and form.tokenizer.chat_template is None:
                prompts.append(self.system + value)
                continue
            messages = [*system, {"role": "user", "content": value}]
            if not isinstance(value, str):
                messages = messages_of(value, f"{where}: {column!r}")
                messages = messages[: -1 if messages[-1]["role"] == "assistant" else None]
            prompts.append(form.tokenizer.chat(messages, add_generation_prompt=True))
        rows = [np.asarray(form.tokenizer.encode(text), np.int32) for text in prompts]
        examples = numbered([Example({"input_ids": ids}) for ids in rows])
        return Rows(records, examples, np.arange(len(examples)), None)

    def _encoded(self, form: Form, records: Records):
        """(ids, targets) of each conversation."""
        for turns in self._turns(form, records):
            rows = [form.tokenizer.encode(text) for text, _ in turns]
            targets = [
                ids if learned else np.full(len(ids), IGNORED, np.int32)
                for ids, (_, learned) in zip(rows, turns)
            ]
            yield np.concatenate(rows, dtype=np.int32), np.concatenate(targets, dtype=np.int32)

    def _turns(self, form: Form, records: Records) -> list[Turns]:
        values = form.values(records, "text")
        column, template = form.columns["text"], form.tokenizer.chat_template
        if all(isinstance(value, str) for value in values):
            if "label" not in form.columns:
                raise ValueError(
                    f"{records.name}: {column!r} holds texts: name the column of their answers "
                    "with --data.label"
                )
            answers = form.texts(records, "label")
            system = [{"role": "system", "content": self.system}] * bool(self.system)
            if template is not None:
                turns = [
                    [*system, {"role": "user", "content": v}, {"role": "assistant", "content": a}]
                    for v, a in zip(values, answers)
                ]
                return [
                    self._of_messages(form, messages, where)
                    for messages, where in zip(turns, records.places)
                ]
            end = form.tokenizer.special.get("eos", "")
            return [[(self.system + v, False), (a + end, True)] for v, a in zip(values, answers)]
        return [
            self._of_messages(form, messages_of(value, f"{where}: {column!r}"), where)
            for value, where in zip(values, records.places)
        ]

    def _of_messages(self, form: Form, messages: Sequence[Mapping[str, str]], where: str) -> Turns:
        """The parts of a conversation, as the template writes them: an answer is what stands behind
        the text that asks for it.

        Raises:
            ValueError: no answer, or a template that writes the messages before otherwise once
                others follow.
        """
        turns: Turns = []
        done = ""
        for number, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            asked = form.tokenizer.chat(messages[:number], add_generation_prompt=True)
            whole = form.tokenizer.chat(messages[: number + 1])
            if not (asked.startswith(done) and whole.startswith(asked)):
                raise ValueError(
                    f"{where}: the chat template writes earlier messages otherwise once others "
                    "follow, so that answers cannot be told apart; give prompts and responses"
                )
            turns += [(asked[len(done) :], False), (whole[len(asked) :], True)]
            done = whole
        if not turns:
            raise ValueError(f"{where}: no message is of the assistant: nothing can be learned")
        return turns

    # ------------------------------------------------------------ training

    def mask(self, packed):
        return OWN & Same("document") if packed else None

    def minimise(self, model, batch, key):
        return causal_lm(model, self.inputs(batch), key)

    # ------------------------------------------------------------ answers

    def write(self, model: Any, batch: Mapping[str, Any], **options: Any) -> dict[str, np.ndarray]:
        """The ids that the model writes behind each row of a batch; of rows with their answers,
        behind the prompts of those that are `written`."""
        mask, numbers = np.array(batch["attention_mask"]), np.asarray(batch[NUMBER])
        chosen, width = np.full(len(numbers), True), mask.shape[1]
        if "labels" in batch:
            starts = np.array([_last(row).start for row in np.asarray(batch["labels"])])
            chosen = (numbers >= 0) & (numbers < self.written)
            if not chosen.any():
                nothing = np.zeros((0, self.max_new_tokens), np.int32)
                return {"sequences": nothing, NUMBER: numbers[chosen]}
            mask = mask * (np.arange(width) < starts[:, None]) * chosen[:, None]
            room = width if model.reading.positions is None else model.reading.positions
            needed = int(starts[chosen].max())
            width = min(-(-needed // UNIT) * UNIT, max(needed, room - self.max_new_tokens), width)
            mask = mask[:, :width]
        mask[~mask.any(1), 0] = 1  # a row without an example has to have a token
        options = {"do_sample": False, "max_new_tokens": self.max_new_tokens, **options}
        ids = generate(model, batch["input_ids"][:, :width], attention_mask=mask, **options)
        return {"sequences": np.asarray(ids)[chosen, width:], NUMBER: numbers[chosen]}

    def metrics(self, answers, rows, form):
        texts = [one["text"] for one in self.predictions(answers, rows, form)]
        return {**rouge(texts, rows.references), **exact_match(texts, rows.references)}

    def figure(self, answers, rows, form):
        texts = [one["text"] for one in self.predictions(answers, rows, form)]
        tokens = [one.tokens for one in rows.examples]
        prompts = [one["input_ids"][: _last(one["labels"]).start] for one in tokens]
        asked = form.tokenizer.batch_decode(prompts, skip_special_tokens=True)
        return worst_texts(asked, texts, rows.references)

    def predictions(self, answers, rows, form):
        ends = {*np.ravel([form.model.config.eos_token_id]).tolist(), -1}
        written = [list(itertools.takewhile(lambda n: n not in ends, ids)) for ids in
                   answers["sequences"].tolist()]  # fmt: skip
        texts = form.tokenizer.batch_decode(written, skip_special_tokens=True)
        return [{"text": text.strip()} for text in texts]

    def measure(self, model, batch):
        return self.minimise(model, batch, None)[1], {}


def _last(labels: Int[np.ndarray, " T"]) -> slice:
    """Where the last answer of a conversation is; at its end, if there is none."""
    learned = np.flatnonzero(labels != IGNORED)
    if not len(learned):
        return slice(len(labels), len(labels))
    gaps = np.flatnonzero(np.diff(learned) > 1)
    return slice(int(learned[gaps[-1] + 1 if len(gaps) else 0]), int(learned[-1]) + 1)


def messages_of(value: Any, where: str) -> list[dict[str, str]]:
    """Messages with a role and a content.

    Raises:
        ValueError: they are none.
    """
    roles = {"human": "user", "gpt": "assistant"}  # of ShareGPT
    good = isinstance(value, (list, tuple)) and all(isinstance(one, Mapping) for one in value)
    found = [
        {
            "role": str(one.get("role", one.get("from"))),
            "content": one.get("content", one.get("value")),
        }
        for one in (value if good else ())
    ]
    if not found or not all(isinstance(one["content"], str) for one in found):
        raise ValueError(
            f'{where} holds {value!r:.80}; expected messages ({{"role": ..., "content": ...}})'
        )
    return [{**one, "role": roles.get(one["role"], one["role"])} for one in found]
