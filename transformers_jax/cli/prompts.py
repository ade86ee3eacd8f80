"""Files of prompts: a line of JSON for each record, in the order of the input, resumable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from transformers_jax.cli.files import already, check_made, made_with
from transformers_jax.json_files import errors_of, json_text, parse_json
from transformers_jax.printing import print_line

BATCH = 8
TOGETHER = 16
"""Batches whose prompts are sorted by length together."""


class Record(NamedTuple):
    """A record of a file.

    Attributes:
        place: its file and line.
        values: as they stand there.
    """

    place: str
    values: dict[str, Any]


def read_records(path: str) -> list[Record]:
    """The records of a .jsonl file, or the lines of a .txt file as prompts; empty lines are none.

    Raises:
        ValueError: another kind of file, one without records, or a record that is no prompt, with
            its line.
    """
    file = Path(path).expanduser()
    if file.suffix not in (".jsonl", ".txt"):
        raise ValueError(
            f'--input {path}: expected a .jsonl file of {{"prompt": ...}} or {{"messages": [...]}},'
            " or a .txt file, of which every line is a prompt"
        )
    try:
        # without the mark of the byte order, which some programs put before the first line
        lines = file.read_text("utf-8").removeprefix("\ufeff").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 (at byte {error.start})") from None
    records = []
    for number, line in enumerate(lines, 1):
        place = f"{file}, line {number}"
        if line.strip():
            plain = file.suffix == ".txt"
            value = {"prompt": line.rstrip("\r")} if plain else parse_json(line, place)
            records.append(Record(place, _checked(place, value)))
    if not records:
        raise ValueError(f"{file} has no prompt")
    return records


def _checked(place: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or ("prompt" in value) == ("messages" in value):
        raise ValueError(
            f'{place}: expected {{"prompt": "..."}} or {{"messages": [...]}}, got {value!r:.80}'
        )
    if "text" in value:
        raise ValueError(f'{place} has the key "text", where the answer is written; rename it')
    if "prompt" in value and not (isinstance(value["prompt"], str) and value["prompt"]):
        raise ValueError(f'{place}: "prompt" must be a text, got {value["prompt"]!r:.80}')
    with errors_of(place):  # it is written with its text: what cannot be is told before
        try:
            json_text(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("a lone surrogate, which no UTF-8 text has; replace it") from None
    return dict(value)


def answer_file(command: Any) -> None:
    """Writes the texts of a file of prompts, from where an earlier call was ended.

    Args:
        command: the record of `generate`.

    Raises:
        ValueError: a wrong record or flag; an output that was made of other records or with other
            settings.
    """
    from transformers_jax.data.progress import live
    from transformers_jax.sizes import check_count

    if (command.num_return_sequences or 1) != 1:
        raise ValueError("--num-return-sequences: each record of --input has one text")
    size = BATCH if command.batch is None else command.batch
    check_count("--batch", size)
    records = read_records(command.input)
    out = Path(command.out).expanduser()
    if out.resolve() == Path(command.input).expanduser().resolve():
        raise ValueError(f"--out {command.out} is the file of --input; choose another")
    without_text = lambda line: {name: v for name, v in line.items() if name != "text"}
    values = [record.values for record in records]
    done = already(out, values, without_text, "records")
    tokenizer = command.read_chat_tokenizer()
    made = {**made_with(command), "batch": size, **_of_folder(command, tokenizer)}
    check_made(out, made, done)
    say = lambda line: print_line(line, error=True)
    if done < len(records):
        writer = _Writer(command, tokenizer, records, size)
        with live("generating", say) as show, out.open("a", encoding="utf-8") as file:
            for number, text in writer.texts(done):
                line = {**records[number].values, "text": text}
                file.write(json_text(line, ensure_ascii=False) + "\n")
                file.flush()
                show(f"generating: {number + 1:,} of {len(records):,} records")
    print_line(f"wrote {out}")


def _of_folder(command: Any, tokenizer: Any) -> dict[str, Any]:
    """What else the texts depend on: the settings beside the model, and the template."""
    from transformers_jax.data.texts import digest
    from transformers_jax.hub.download import resolve

    file = Path(resolve(command.folder)) / "generation_config.json"
    template = tokenizer.chat_template
    return {
        "generation_config": digest(file.read_text("utf-8")) if file.is_file() else None,
        "chat_template": None if template is None else digest(template),
        **{name: digest(text) for name, text in command.constraint().items()},
        "options": digest(json_text(command.options_of_file(), sort_keys=True)),
    }


class _Writer:
    """Writes texts in batches of prompts of like lengths. Which are together depends on the file
    and the size alone, so that an interrupted call goes on to the same texts."""

    def __init__(self, command: Any, tokenizer: Any, records: Sequence[Record], size: int):
        self.model, self.tokenizer = command.read_model(), tokenizer
        self.settings = command.of_generate(self.model, tokenizer)
        self.ends = command.ends(self.model, self.settings)
        self.key = self.settings.pop("key", None)
        self.records, self.size = records, size

    def texts(self, done: int) -> Iterator[tuple[int, str]]:
        """(the number of a record, its text), in order, from a number on."""
        span = self.size * TOGETHER
        for start in range(done // span * span, len(self.records), span):
            some = range(start, min(start + span, len(self.records)))
            ids = {number: self._ids(self.records[number]) for number in some}
            ordered = sorted(some, key=lambda number: len(ids[number]))
            made: dict[int, str] = {}
            told = max(done, start)
            for first in range(0, len(ordered), self.size):
                batch = ordered[first : first + self.size]
                if max(batch) >= done:
                    texts = self._batch([ids[number] for number in batch], batch, start + first)
                    made |= zip(batch, texts)
                while told in made:
                    yield told, made[told]
                    told += 1

    def _ids(self, record: Record) -> list[int]:
        from transformers_jax.generation.texts import prompts_of

        values = record.values
        texts = None if "messages" in values else values["prompt"]
        try:
            return prompts_of(self.model, self.tokenizer, texts, values.get("messages"))[0]
        except ValueError as error:
            raise ValueError(f"{record.place}: {error}") from None

    def _batch(self, rows: list[list[int]], numbers: list[int], place: int) -> list[str]:
        """The texts of some prompts; the last batch is filled, so that it has the programs of the
        others."""
        fill = self.size - len(rows) if len(self.records) > self.size else 0
        try:
            return self._generate(rows + rows[-1:] * fill, place)[: len(rows)]
        except ValueError:
            for row, number in zip(rows, numbers):
                try:
                    self._generate([row], place)
                except ValueError as error:
                    raise ValueError(f"{self.records[number].place}: {error}") from None
            raise

    def _generate(self, rows: list[list[int]], place: int) -> list[str]:
        import jax

        import transformers_jax as tj
        from transformers_jax.generation.texts import padded, written

        key = None if self.key is None else jax.random.fold_in(self.key, place)
        inputs = {**padded(self.model, rows), "tokenizer": self.tokenizer, "key": key}
        made = tj.generate(self.model, **inputs, **self.settings, return_dict_in_generate=True)
        columns = 1 if self.model.is_encoder_decoder else inputs["input_ids"].shape[1]
        return written(self.model, self.tokenizer, rows, columns, made, self.ends)
