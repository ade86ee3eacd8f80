"""Lines for people: one that cannot be printed does not end a run, and Ctrl-C is one."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from typing import Any

INTERRUPTED = 130


def print_line(text: str, *, error: bool = False) -> None:
    """Prints a line to standard output, or to standard error.

    Where nobody reads any more (`| head`), nothing more is printed; where the output cannot be
    written, as on a full disk, this is said on standard error first. Characters that its encoding
    lacks are escaped.
    """
    stream: Any = sys.stderr if error else sys.stdout
    try:
        try:
            print(text, file=stream, flush=True)
        except UnicodeEncodeError:
            known = text.encode(stream.encoding, "backslashreplace").decode(stream.encoding)
            print(known, file=stream, flush=True)
    except (OSError, ValueError) as problem:  # ValueError: it is closed
        to_nowhere(stream)
        if not error and not isinstance(problem, BrokenPipeError):
            why = getattr(problem, "strerror", None) or problem
            print_line(f"standard output cannot be written ({why}); work goes on", error=True)


def to_nowhere(stream: Any) -> None:
    """Lets what is still written to a stream disappear, at the end of the process too."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or without a file
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def until_interrupted(call: Callable[[], int], program: str) -> int:
    """The status that `call` returns, or that of an interrupt and one line where Ctrl-C ends it:
    also while modules are imported, some of which make another error of it."""
    try:
        return call()
    except BaseException as error:
        if not from_interrupt(error):
            raise
    print_line(f"{program}: interrupted", error=True)
    return INTERRUPTED


def from_interrupt(error: BaseException | None) -> bool:
    """Whether an error is, or was made of, a KeyboardInterrupt."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None
