"""`transformers-jax generate`: prompts, files of prompts, or a conversation."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tyro.conf import DisallowNone, UseAppendAction

from transformers_jax.cli import texts
from transformers_jax.cli.files import trained
from transformers_jax.cli.models import Ignored, Model
from transformers_jax.json_files import json_text, parse_json
from transformers_jax.printing import print_piece
from transformers_jax.runs.pretrain import keep_compiled_programs
from transformers_jax.training.exported import model_folder


@dataclass(frozen=True, kw_only=True)
class Generation:
    """The settings of `tj.generate` among the flags of `generate`, under their names there."""

    max_new_tokens: DisallowNone[int | None] = None
    min_new_tokens: DisallowNone[int | None] = None
    num_beams: DisallowNone[int | None] = None
    num_return_sequences: DisallowNone[int | None] = None
    no_repeat_ngram_size: DisallowNone[int | None] = None
    top_k: DisallowNone[int | None] = None
    temperature: DisallowNone[float | None] = None
    top_p: DisallowNone[float | None] = None
    repetition_penalty: DisallowNone[float | None] = None
    min_p: DisallowNone[float | None] = None
    typical_p: DisallowNone[float | None] = None
    length_penalty: DisallowNone[float | None] = None
    penalty_alpha: DisallowNone[float | None] = None
    """contrastive search among the --top-k likeliest tokens"""
    best_of: DisallowNone[int | None] = None
    """draw so many texts, of which the likeliest are returned"""
    prompt_lookup_num_tokens: DisallowNone[int | None] = None
    """draft so many tokens of what the text says elsewhere"""
    stop_strings: UseAppendAction[tuple[str, ...]] = ()
    """end the text behind this one; may be given several times"""
    eos_token_id: UseAppendAction[tuple[int, ...]] = ()
    """a token that ends the text, in place of the model's own; may be given several times"""
    do_sample: bool = False
    """draw tokens instead of taking the likeliest"""
    greedy: bool = False
    """take the likeliest tokens, of a model whose generation_config.json says to draw"""

    def settings(self) -> dict[str, Any]:
        """Those that were typed; the others are the model's own.

        Raises:
            ValueError: two that exclude each other.
        """
        if self.do_sample and self.greedy:
            raise ValueError("--do-sample and --greedy exclude each other")
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(Generation)}
        greedy = {"do_sample": False} if values.pop("greedy") else {}
        typed = {n: v for n, v in values.items() if v is not None and v is not False and v != ()}
        return typed | greedy


KINDS = {"chat": "--chat", "input": "--input", "ids": "--ids", "prompt": "--prompt"}
ONLY = {  # flags of one kind of prompts
    "system": ("chat",),
    "length": ("chat",),
    "chat_template": ("chat", "input"),
    "out": ("input",),
    "batch": ("input",),
    "stream": ("prompt", "ids"),
    "json": ("prompt", "ids"),
}


@dataclass(frozen=True, kw_only=True)
class Generate(Generation):
    """Continue prompts, or answer them; the records of a file; or a conversation (--chat).

    Without --prompt, every line of standard input is a prompt; all are one batch. One prompt is
    written as it comes on a terminal. Settings that are not given are those of
    generation_config.json.
    """

    model: Model
    prompt: UseAppendAction[tuple[str, ...]] = ()
    """may be given several times"""
    ids: UseAppendAction[tuple[str, ...]] = ()
    """a prompt as token ids, such as '5 17 3'"""
    stream: bool = False
    """print one text as it is written, also where there is no terminal"""
    chat: bool = False
    """hold a conversation, by the tokenizer's chat template; /help lists its commands"""
    system: DisallowNone[str | None] = None
    """the system message of --chat"""
    length: DisallowNone[int | None] = None
    """tokens that a conversation may have; 2048 if not given, or those of the model"""
    chat_template: DisallowNone[str | None] = None
    """a file with a template (Jinja), in place of the tokenizer's own"""
    input: DisallowNone[str | None] = None
    """a file of prompts: .jsonl with {"prompt": ...} or {"messages": [...]}, .txt with lines"""
    out: DisallowNone[str | None] = None
    """the .jsonl file of the texts for --input"""
    batch: DisallowNone[int | None] = None
    """prompts of --input that are computed together; 8 if not given"""
    force_words: UseAppendAction[tuple[str, ...]] = ()
    """what the text has to contain, by beam search; may be given several times"""
    generation_config: DisallowNone[str | None] = None
    """a JSON file with any options of tj.generate; flags win over it, and it over the model's"""
    assistant_model: DisallowNone[str | None] = None
    """a smaller model with the same vocabulary, which drafts tokens"""
    json_schema: DisallowNone[str | None] = None
    """a file with a JSON schema: the text is JSON of it (the extra grammar)"""
    grammar: DisallowNone[str | None] = None
    """a file with a grammar (Lark): the text is one of it (the extra grammar)"""
    seed: int = 0
    """of tokens that are drawn; same seed, same text"""
    dtype: str = "float32"
    """of the parameters: float32, bfloat16, auto, ..."""
    ignore: Ignored = ()
    json: bool = False
    """a JSON object a line: prompt, text"""

    def run(self) -> None:
        """Prints the prompts with what continues them, or the answers."""
        self._check()
        self.settings(), self.constraint(), self.options_of_file()
        keep_compiled_programs()
        if self.input is not None:
            from transformers_jax.cli.prompts import answer_file

            return answer_file(self)
        if self.chat:
            from transformers_jax.cli.chat import converse

            return converse(self)
        tokenizer = None if self.ids else texts.read_tokenizer(self.folder)
        prompts = list(self.ids or self.prompt or texts.read_prompts())
        if not all(texts.encode(tokenizer, prompt) for prompt in prompts):
            raise ValueError("a prompt is empty; give at least one token")
        model = self.read_model()
        settings = self.of_generate(model, tokenizer)
        if self.stream or (len(prompts) == 1 and self._streams(model, settings)):
            return self._stream(model, tokenizer, prompts, settings)
        self._print(model, tokenizer, prompts, settings)
        return None

    @property
    def folder(self) -> Any:
        """The folder of the model; of a run, that of what it has exported."""
        return model_folder(self.model)

    def read_model(self) -> Any:
        """The model.

        Raises:
            ValueError: it has no weights for a head that scores tokens, or reads no text.
        """
        import transformers_jax as tj

        with trained(self.model, "it was not trained to continue texts"):
            model: Any = tj.from_pretrained(self.folder, dtype=self.dtype, ignore=self.ignore)
        if raw := model.reading.source_raw:
            raise ValueError(
                f"{model.config.model_type} does not read text but {', '.join(raw)}, which no flag "
                f"gives; call tj.generate(model, {raw[0]}=...) in Python"
            )
        return model

    def read_chat_tokenizer(self) -> Any:
        """The tokenizer, with the template of --chat-template."""
        tokenizer = texts.read_tokenizer(self.folder)
        if self.chat_template is not None:
            tokenizer.chat_template = _text_of(Path(self.chat_template).expanduser())
        return tokenizer

    def of_generate(self, model: Any, tokenizer: Any) -> dict[str, Any]:
        """The arguments of `tj.generate` that were typed, and a key where tokens are drawn."""
        import transformers_jax as tj

        settings = {**self.settings(), **self.constraint()}
        if self.generation_config is not None:
            settings["generation_config"] = self.options_of_file()
        if self.force_words:
            written_by = getattr(tokenizer, "target", None) or tokenizer
            settings["force_words_ids"] = [texts.encode(written_by, w) for w in self.force_words]
        if self.assistant_model is not None:
            folder = model_folder(self.assistant_model)
            with trained(self.assistant_model, "it was not trained to continue texts"):
                settings["assistant_model"] = tj.from_pretrained(folder, dtype=self.dtype)
        if self._in_force(model, settings).get("do_sample"):
            settings["key"] = texts.random_key(self.seed)
        return settings

    def options_of_file(self) -> dict[str, Any]:
        """What the file of --generation-config says.

        Raises:
            ValueError: it is not there, or no JSON object.
        """
        if self.generation_config is None:
            return {}
        file = Path(self.generation_config).expanduser()
        options = parse_json(_text_of(file), file)
        if not isinstance(options, dict):
            raise ValueError(f"{file}: expected a JSON object of options of tj.generate")
        return options

    @staticmethod
    def ends(model: Any, settings: dict[str, Any]) -> list[int]:
        """The tokens that end a text of these settings."""
        from transformers_jax.generation.texts import ends_of

        stated = Generate._in_force(model, settings).get("eos_token_id", ends_of(model))
        return list(stated) if isinstance(stated, (list, tuple)) else [stated]

    @staticmethod
    def _in_force(model: Any, settings: dict[str, Any]) -> dict[str, Any]:
        """Settings, where there are none those of --generation-config, or else the model's."""
        stated = settings.get("generation_config", {})
        return {**(model.generation_config or {}), **stated, **settings}

    def constraint(self) -> dict[str, str]:
        """The schema or the grammar of the text, by its name in `tj.generate`.

        Raises:
            ValueError: both, a file that is not there, or a schema that is not JSON.
        """
        files = {"json_schema": self.json_schema, "grammar": self.grammar}
        given = {name: Path(file).expanduser() for name, file in files.items() if file is not None}
        if len(given) > 1:
            raise ValueError("--json-schema and --grammar exclude each other")
        texts = {name: _text_of(file) for name, file in given.items()}
        if "json_schema" in texts:
            parse_json(texts["json_schema"], given["json_schema"])
        return texts

    def _check(self) -> None:
        """Raises ValueError for flags that exclude each other, or would do nothing."""
        kinds = [flag for name, flag in KINDS.items() if getattr(self, name)]
        if len(kinds) > 1:
            raise ValueError(f"{' and '.join(kinds)} exclude each other; give prompts as one kind")
        kind = next((name for name in KINDS if getattr(self, name)), "prompt")
        for name, of in ONLY.items():
            if getattr(self, name) not in (None, False) and kind not in of:
                with_flags = " or ".join(KINDS[one] for one in of)
                here = f", not with {KINDS[kind]}" if kinds else ""
                raise ValueError(f"--{name.replace('_', '-')} goes with {with_flags}{here}")
        if self.stream and self.json:
            raise ValueError("--stream and --json exclude each other")
        if self.chat and self.assistant_model is not None:
            raise ValueError("--assistant-model: a conversation is written without drafts")
        if self.chat and self.force_words:
            raise ValueError("--force-words needs beams, by which no conversation is written")
        if (self.input is None) != (self.out is None):
            raise ValueError("--input needs --out FILE, the .jsonl file of the texts")

    def _streams(self, model: Any, settings: dict[str, Any]) -> bool:
        """Whether one text is printed as it is written, where nobody said so."""
        if self.json or sys.stdout is None or not sys.stdout.isatty():
            return False
        chosen = self._in_force(model, settings)
        several = [chosen.get(name) or 1 for name in ("num_beams", "num_return_sequences")]
        drafts = ("assistant_model", "prompt_lookup_num_tokens", "assistant_early_exit")
        return several == [1, 1] and not any(chosen.get(name) for name in drafts)

    def _stream(
        self, model: Any, tokenizer: Any, prompts: list[str], settings: dict[str, Any]
    ) -> None:
        """Prints a text as it is written."""
        import transformers_jax as tj

        if tokenizer is None:
            rows, ends = (
                [texts.encode(None, prompt) for prompt in prompts],
                self.ends(model, settings),
            )
            ids = tj.stream(model, rows, **settings)
            pieces: Iterator[str] = (f" {token}" for token in ids if token not in ends)
        else:
            pieces = tj.stream(model, texts=prompts, tokenizer=tokenizer, **settings)
        print_piece("" if model.is_encoder_decoder else prompts[0])
        for piece in pieces:
            print_piece(piece)
        print()

    def _print(
        self, model: Any, tokenizer: Any, prompts: list[str], settings: dict[str, Any]
    ) -> None:
        """Prints the texts of a batch, when all are written."""
        import transformers_jax as tj

        if tokenizer is None:
            rows = [texts.encode(None, prompt) for prompt in prompts]
            made = _of_ids(model, rows, settings, self.ends(model, settings))
        else:
            made = tj.generate(model, texts=prompts, tokenizer=tokenizer, **settings)
        copies, count = len(made) // len(prompts), len(made)
        for number, text in enumerate(made):
            prompt = prompts[number // copies]
            if self.json:
                print(json_text({"prompt": prompt, "text": text}))
                continue
            heading = f"--- {number + 1}/{count}\n" if count > 1 else ""
            space = "" if tokenizer is not None or model.is_encoder_decoder else " "
            print(f"{heading}{'' if model.is_encoder_decoder else prompt}{space}{text}")


def _text_of(file: Path) -> str:
    """The text of a file that a flag names.

    Raises:
        ValueError: it is not there, or not UTF-8.
    """
    if not file.is_file():
        raise ValueError(f"there is no file {file}")
    try:
        return file.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 (at byte {error.start})") from None


def _of_ids(
    model: Any, rows: list[list[int]], settings: dict[str, Any], ends: list[int]
) -> list[str]:
    """The new tokens of rows of ids up to those that end a text, as numbers."""
    import numpy as np

    import transformers_jax as tj
    from transformers_jax.generation.texts import padded, until_end

    arguments: dict[str, Any] = {**padded(model, rows), **settings}
    made = tj.generate(model, **arguments, return_dict_in_generate=True)
    first = 1 if model.is_encoder_decoder else max(map(len, rows))
    new = np.asarray(made.sequences)[:, first:].tolist()
    pairs = zip(new, np.asarray(made.new_tokens).tolist())
    return [texts.decode(None, until_end(model, row, count, ends)) for row, count in pairs]
