"""The process that renders chat templates, with bounds on its time and memory; see `chat.py`.

    python chat_process.py SECONDS BYTES

reads tasks from its standard input and writes answers to its standard output, each behind its
length; a template that takes more CPU time than SECONDS ends it.
"""

from __future__ import annotations

import datetime
import json
import os
import pickle
import resource
import signal
import struct
import sys
from typing import Any, BinaryIO


def main(seconds: float, size: int) -> None:
    """Answers tasks until there are no more."""
    tasks, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    import jinja2.sandbox  # noqa: F401 - before the bound, which is for templates

    limit_memory(size)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    while len(head := tasks.read(8)) == 8:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        answer = answer_to(tasks, *struct.unpack("<Q", head))
        signal.setitimer(signal.ITIMER_PROF, 0)
        answers.write(struct.pack("<Q", len(answer)) + answer)
        answers.flush()


def limit_memory(size: int) -> None:
    """Lets this process have so many bytes more than it has, where the system can."""
    try:
        with open("/proc/self/statm") as file:
            size += int(file.read().split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        most = size if hard == resource.RLIM_INFINITY else min(size, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    except (OSError, ValueError):
        pass


def answer_to(tasks: BinaryIO, size: int) -> bytes:
    """{"text": ...} as JSON, or {"error": ...} of a template that fails."""
    try:
        return json.dumps({"text": render(*pickle.loads(tasks.read(size)))}).encode()
    except MemoryError:
        reason = "it takes too much memory"
    except Exception as error:  # templates are programs: anything may go wrong in them
        reason = f"{type(error).__name__}: {error}"[:2000]
    return json.dumps({"error": reason}).encode()


def render(template: str, messages: list[Any], variables: dict[str, Any]) -> str:
    """The text of a conversation, by its template in a sandbox."""
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )

    def complain(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment.globals["raise_exception"] = complain
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    environment.filters["tojson"] = lambda value, **options: json.dumps(
        value, ensure_ascii=options.pop("ensure_ascii", False), **options
    )
    return environment.from_string(template).render(messages=messages, **variables)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
