"""Conversations as text: a model's chat template, run where it can reach nothing.

It runs in a process of its own (`chat_process.py`), which is started by the first conversation and
serves all that follow: a template that never ends, or that takes ever more memory, ends that
process and nothing else.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers_jax.extras import need
from transformers_jax.json_files import parse_json

PROGRAM = Path(__file__).with_name("chat_process.py")
SECONDS, BYTES = 5, 2**30
"""The most CPU time of a conversation, and memory of the process."""


def render(
    template: str | None, messages: Sequence[Mapping[str, Any]], variables: Mapping[str, Any]
) -> str:
    """The text of a conversation.

    The template comes with the weights, from anyone: it runs in Jinja's immutable sandbox, which
    gives it no way to the interpreter, to files, or to change its variables, in a process with
    bounds on its time and memory.

    Args:
        messages: [{"role": "user", "content": "..."}, ...].
        variables: what else the template may name: tools, bos_token, add_generation_prompt, ...

    Raises:
        ValueError: there is no template, it fails or complains, takes too long or too much memory,
            or jinja2 is not installed.
    """
    if template is None:
        raise ValueError(
            "this tokenizer has no chat template (chat_template in tokenizer_config.json); write "
            "the conversation as the model was trained to read it"
        )
    need("jinja2", "chat", "a chat template")
    try:
        task = pickle.dumps((template, list(messages), dict(variables)))
    except Exception as error:
        raise ValueError(
            f"messages and variables of a chat template are plain values: text, numbers, lists "
            f"and dicts ({error})"
        ) from None
    answer = _process(os.getpid()).ask(task)
    if "error" in answer:
        raise ValueError(f"the chat template fails on these messages ({answer['error']})")
    return answer["text"]


@functools.cache
def _process(owner: int) -> Process:
    """The process that serves the process `owner`: one that was forked has its own."""
    return Process()


class Process:
    """A process that renders templates; it ends with this one, or when a template breaks a bound,
    and is then started anew."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started: subprocess.Popen[bytes] | None = None

    def ask(self, task: bytes) -> dict[str, str]:
        """{"text": ...} or {"error": ...} of a pickled (template, messages, variables)."""
        with self._lock:
            process = self._started or self._start()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(struct.pack("<Q", len(task)) + task)
                process.stdin.flush()
                head = process.stdout.read(8)
                text = process.stdout.read(*struct.unpack("<Q", head)) if len(head) == 8 else b""
            except BrokenPipeError:
                text = b""
            except BaseException:  # Ctrl-C: its answer must not be taken for that of the next
                self._stop(process)
                raise
            if text:
                return parse_json(text, "the answer to a conversation")
            return {"error": _reason(self._stop(process))}

    def close(self) -> None:
        """Ends the process."""
        with self._lock:
            if self._started is not None:
                self._stop(self._started)

    def _start(self) -> subprocess.Popen[bytes]:
        # Safe path: the files beside it must not be taken for modules of Python.
        self._started = subprocess.Popen(
            [sys.executable, "-P", str(PROGRAM), str(SECONDS), str(BYTES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self._started

    def _stop(self, process: subprocess.Popen[bytes]) -> int:
        self._started = None
        for pipe in (process.stdout, process.stdin):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what was to be written finds no reader
                    pipe.close()
        process.kill()  # if it has not ended by itself
        return process.wait()


def _reason(status: int) -> str:
    if status == -signal.SIGPROF:
        return f"it takes more than {SECONDS} s"
    return f"its process ended with the status {status}"
