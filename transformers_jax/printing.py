"""Lines for people: one that cannot be printed does not end a run, and Ctrl-C is one."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

INTERRUPTED = 130


def print_line(text: str, *, error: bool = False) -> None:
    """Prints a line to standard output, or to standard error.

    Where nobody reads any more (`| head`), nothing more is printed; where the output cannot be
    written, as on a full disk, this is said on standard error first. Characters that its encoding
    lacks are escaped.
    """
    stream: Any = sys.stderr if error else sys.stdout
    if stream is None:  # it was closed before the process began
        return
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


def print_piece(text: str) -> None:
    """Prints a piece of a text as it is written, without a new line; characters that the encoding
    of standard output lacks are escaped.

    Raises:
        ValueError, BrokenPipeError: as `print_result`.
    """
    if sys.stdout is None:
        return
    known = text.encode(sys.stdout.encoding or "utf-8", "backslashreplace")
    print(known.decode(sys.stdout.encoding or "utf-8"), end="")
    print_result()


def print_result(text: str = "") -> None:
    """Prints what a command was called for, and all that it printed before.

    Raises:
        ValueError: standard output cannot be written, as on a full disk.
        BrokenPipeError: nobody reads it any more.
    """
    if sys.stdout is None:
        return
    try:
        print(text, end="\n" if text else "", flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        to_nowhere(sys.stdout)
        raise ValueError(f"standard output cannot be written: {error.strerror}") from None


def to_nowhere(stream: Any) -> None:
    """Lets what is still written to a stream disappear, at the end of the process too."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or without a file
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def open_closed_streams() -> None:
    """Puts the null device where standard input, output or error were closed (`>&-`): else the next
    file that is opened, such as a checkpoint, would have that number and get what is printed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            if os.open(os.devnull, os.O_RDWR) != number:  # the least that is free
                continue
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115


def until_interrupted(call: Callable[[], int], program: str) -> int:
    """The status that `call` returns, or that of an interrupt and one line where Ctrl-C ends it:
    also while modules are imported, some of which lose the exception or make another of it. SIGQUIT
    is one line, too. What `call` does with signals, as a run does, goes before this."""
    open_closed_streams()
    _one_line_of_signals(program)
    try:
        return call()
    except BaseException as error:
        if not from_interrupt(error):
            raise
    print_line(f"{program}: interrupted", error=True)
    return INTERRUPTED


def _one_line_of_signals(program: str) -> None:
    """Makes Ctrl-C end the process where modules are imported, and nothing is there to be cleaned
    up, and be a KeyboardInterrupt elsewhere; makes SIGQUIT say that it came."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        if _importing(frame):
            print_line(f"{program}: interrupted", error=True)
            os._exit(INTERRUPTED)
        raise KeyboardInterrupt

    def leave(number: int, frame: FrameType | None) -> None:
        print_line(f"{program}: SIGQUIT: ended at once", error=True)
        os._exit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else nohup, or a test
        signal.signal(signal.SIGINT, interrupt)
    if signal.getsignal(signal.SIGQUIT) is signal.SIG_DFL:
        signal.signal(signal.SIGQUIT, leave)


def _importing(frame: FrameType | None) -> bool:
    """Whether a frame is of a module that is being imported, or below one."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def from_interrupt(error: BaseException | None) -> bool:
    """Whether an error is, or was made of, a KeyboardInterrupt."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None
