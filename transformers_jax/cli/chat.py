"""A conversation with a model in the terminal, or with the lines of a pipe."""

from __future__ import annotations

import contextlib
import queue
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from transformers_jax.printing import print_line, print_piece
from transformers_jax.spelling import nearest

if TYPE_CHECKING:
    from transformers_jax.serving.service import Piece, Service

LENGTH, ANSWER = 2048, 512  # tokens of a conversation, and of an answer
COMMANDS = {
    "/help": "lists these",
    "/reset": "begins anew; the system message stays",
    "/system": "TEXT: sets the system message; without a text there is none",
    "/quit": "ends, as Ctrl-D does",
}
SERVED = (  # options that slots have, or that say how and not what
    *("max_new_tokens", "max_length", "do_sample", "temperature", "top_k", "top_p", "min_p"),
    *("repetition_penalty", "stop_strings", "eos_token_id", "pad_token_id", "bos_token_id"),
    *("decoder_start_token_id", "cache_implementation", "prefill_chunk_size"),
)
IDLE = (  # without effect where there are neither beams nor drafts
    *("length_penalty", "early_stopping", "max_matching_ngram_size", "num_assistant_tokens"),
    "assistant_confidence_threshold",
)


def converse(command: Any) -> None:
    """Answers line after line, until there are no more.

    Args:
        command: the record of `generate`.

    Raises:
        ValueError: a tokenizer without a template, an option that slots do not have, or a model
            that slots do not serve.
    """
    from transformers_jax.generation.conversations import prompt_of
    from transformers_jax.generation.grammar import Grammar
    from transformers_jax.generation.options import resolve
    from transformers_jax.serving.service import Service
    from transformers_jax.sizes import check_count
    from transformers_jax.together import check_together

    if command.length is not None:
        check_count("--length", command.length)
    tokenizer = command.read_chat_tokenizer()
    if tokenizer.chat_template is None:
        raise ValueError(
            f"{command.model} has no chat template (chat_template.jinja, or chat_template in "
            "tokenizer_config.json): give one with --chat-template FILE, or continue a text with "
            "--prompt TEXT"
        )
    prompt_of(tokenizer, [{"role": "user", "content": "?"}])  # a template that fails does so now
    model, typed = command.read_model(), command.settings()
    check_together(model, tokenizer)
    vocabulary = model.reading.vocabulary
    stated = command.options_of_file()
    options = resolve(typed, stated, model.generation_config or {}, model.config, vocabulary)
    draw = draw_of(options, typed, command.seed)
    if options.max_new_tokens == 0:
        raise ValueError("--max-new-tokens 0: an answer has at least one token; pass 1 or more")
    length = command.length or options.max_length or LENGTH
    dtype = options.of_cache.get("dtype")
    with Service(model, tokenizer, 1, length, dtype, ends=options.eos_token_id) as service:
        most = options.max_new_tokens or min(ANSWER, service.length // 2)
        if most >= service.length:
            raise ValueError(
                f"--max-new-tokens {most} leaves no room in a conversation of {service.length} "
                "tokens; pass less, or a greater --length"
            )
        grammar = None
        if constraint := command.constraint():
            ends = options.eos_token_id or None
            grammar = Grammar(tokenizer, service.slots.vocabulary, ends, **constraint)
        chat = Chat(service, draw, most, options.stop_strings, command.system, grammar)
        if terminal():
            tell("/help lists the commands; Ctrl-C ends an answer, Ctrl-D the conversation")
        for line in lines():
            chat.obey(line)
            if chat.ended:
                break


def draw_of(options: Any, typed: Mapping[str, Any], seed: int) -> Any:
    """How tokens are drawn in a slot, by the options of generation.

    Raises:
        ValueError: options that slots do not have, by their names.
    """
    from transformers_jax.generation.options import DEFAULTS, NAMES
    from transformers_jax.generation.slots import Draw

    wrong = [
        name
        for name in NAMES
        if name not in SERVED
        and getattr(options, name) != DEFAULTS[name]
        and (name in typed or name not in IDLE)
    ]
    if wrong:
        flags = [f"--{name.replace('_', '-')}" if name in typed else name for name in wrong]
        where = "" if set(wrong) <= set(typed) else " (take it out of generation_config.json)"
        raise ValueError(
            f"--chat is written in slots, which do not have {', '.join(flags)}: do without{where}, "
            "or continue a text with --prompt TEXT"
        )
    return Draw(
        temperature=float(options.temperature) if options.do_sample else 0.0,
        top_k=options.top_k or 0,
        top_p=float(options.top_p),
        min_p=float(options.min_p),
        repetition_penalty=float(options.repetition_penalty),
        seed=seed,
    )


class Chat:
    """A conversation, in the one slot of a service: of each turn only what is new is read.

    Args:
        draw: how tokens are chosen; each answer has a seed of its own, counted from this one's.
        most: tokens of an answer.
        stop: strings before which an answer ends.
        system: the first message.
        grammar: of every answer.
    """

    def __init__(
        self,
        service: Service,
        draw: Any,
        most: int,
        stop: Sequence[str] = (),
        system: str | None = None,
        grammar: Any = None,
    ):
        self.service, self.draw, self.most, self.stop = service, draw, most, tuple(stop)
        self.grammar = grammar
        self.system, self.turns = system, list[dict[str, str]]()
        self.answers, self.reused, self.ended = 0, 0, False

    def obey(self, line: str) -> None:
        """Does what a line says: a command, or a message to be answered. One that begins with two
        slashes is a message that begins with one. Ctrl-C ends it."""
        try:
            self._obey(line)
        except KeyboardInterrupt:
            print_piece("\n")
            tell("interrupted")

    def _obey(self, line: str) -> None:
        name, _, text = line.strip().partition(" ")
        if not name.startswith("/") or name.startswith("//"):
            if line.strip():
                self._answer(line[1:] if line.startswith("//") else line)
        elif name == "/quit":
            self.ended = True
        elif name == "/reset":
            self.turns.clear()
            tell("the conversation begins anew")
        elif name == "/system":
            self.system = text.strip() or None
            tell("the system message is set" if self.system else "there is no system message")
        elif name == "/help":
            for each, does in COMMANDS.items():
                tell(f"{each:<9}{does}")
        else:
            tell(f"unknown command {name}{nearest(name, list(COMMANDS))}; /help lists them")

    def _answer(self, text: str) -> None:
        try:
            prompt, turns = self._fitting([*self.turns, {"role": "user", "content": text}])
        except ValueError as error:
            return tell(f"not answered: {error}")
        if left_out := len(self.turns) + 1 - len(turns):
            tell(
                f"left out of the oldest turns: {left_out // 2}; the conversation has no more than "
                f"{self.service.length} tokens (--length)"
            )
        said = {"role": "assistant", "content": ""}
        self.turns = [*turns, said]
        for piece in self._pieces(prompt):
            said["content"] += piece.text
            print_piece(piece.text)
            if piece.finish is not None:
                print_piece("\n")
            if piece.finish == "length":
                tell("cut: an answer has no more tokens (--max-new-tokens, --length)")
        return None

    def _pieces(self, prompt: list[int]) -> Iterator[Piece]:
        """The pieces of an answer; where nobody wants more of it, it ends."""
        from transformers_jax.serving.service import Request

        draw = replace(self.draw, seed=self.draw.seed + self.answers)
        self.answers += 1
        most = min(self.most, self.service.length - len(prompt))
        got: queue.SimpleQueue[Any] = queue.SimpleQueue()
        grammar = None if self.grammar is None else self.grammar.start()
        request = Request(prompt, most, draw, self.stop, grammar=grammar)
        ticket = self.service.submit(request, got.put)
        try:
            while True:
                piece = got.get()
                if isinstance(piece, ValueError):  # of this text alone: its grammar has no next
                    print_piece("\n")
                    return tell(f"ended: {piece}")
                if isinstance(piece, Exception):
                    raise piece
                self.reused = piece.reused
                yield piece
                if piece.finish is not None:
                    return
        finally:
            ticket.cancel()

    def _fitting(self, turns: list[dict[str, str]]) -> tuple[list[int], list[dict[str, str]]]:
        """(the tokens of the conversation, its turns) without as many of the oldest turns as leave
        no room for an answer.

        Raises:
            ValueError: the last message alone is too long, or the template fails.
        """
        from transformers_jax.generation.conversations import prompt_of

        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        while True:
            prompt = prompt_of(self.service.tokenizer, [*system, *turns])
            if len(prompt) + self.most <= self.service.length:
                return prompt, turns
            if len(turns) == 1:
                break
            turns = turns[2:]
        if len(prompt) < self.service.length:
            return prompt, turns
        raise ValueError(
            f"the message has {len(prompt)} tokens, and a conversation {self.service.length} at "
            "most; shorten it, or begin with a greater --length"
        )


def terminal() -> bool:
    """Whether a person types the lines."""
    return sys.stdin is not None and sys.stdin.isatty()


def lines() -> Iterator[str]:
    """The lines that are typed, behind "> ", or those of a pipe. Ctrl-C at a line drops it."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - input() then edits, and knows earlier lines
    while sys.stdin is not None:
        try:
            line = _line()
        except KeyboardInterrupt:
            if not terminal():
                raise
            print_line("", error=True)
            tell("Ctrl-D or /quit ends")
            continue
        except EOFError:
            if terminal():
                print_line("", error=True)
            return
        yield line


def _line() -> str:
    """One line, without its end; EOFError where there is none."""
    if terminal() and sys.stdout is not None and sys.stdout.isatty():
        return input("> ")
    if terminal():
        print("> ", end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.rstrip("\r\n")


def tell(text: str) -> None:
    """Says something about the conversation, apart from its answers."""
    print_line(f"({text})", error=True)
