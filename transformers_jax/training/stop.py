"""Signals: SIGTERM, SIGINT and SIGHUP make a run save and end, SIGUSR1 makes it save and go on;
SIGQUIT ends it at once and says where it was.

Python runs signal handlers between two of its own instructions: not while XLA compiles, nor while a
step is awaited. So the system writes the number of a signal into a pipe, and a thread that reads
it sets what the loop polls, and a clock that ends the process if the loop never gets to it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from transformers_jax import processes
from transformers_jax.printing import print_line
from transformers_jax.training.provenance import note_end
from transformers_jax.training.recorded import saved_steps
from transformers_jax.training.watchdog import STACKS, write_stacks

GRACE = 60.0
"""Seconds that a run has to save and to end once it has received a signal."""

_CAUGHT = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT)


class Stop:
    """What signals request; read between steps, between batches of evaluation, before a save.

    A second SIGINT ends the process at once. Outside the main thread signals keep their handlers,
    and so does a SIGHUP that is ignored, as under `nohup`.
    Where there are several processes, the attributes are what all have agreed on, in `agreed`.

    Args:
        grace: seconds after which the process is ended by force.
        leave: ends the process with a code, `os._exit` by default.
        folder: of the run, where SIGQUIT writes the stacks of all threads.

    Attributes:
        by: the signal that ends the run, or None.
        save: whether a save was requested; set it to False when it is begun.
    """

    def __init__(
        self,
        grace: float = GRACE,
        leave: Callable[[int], Any] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.by: signal.Signals | None = None
        self.save = False
        self._grace, self._leave, self._folder = grace, leave or os._exit, folder
        self._received: signal.Signals | None = None  # of this process only
        self._received_save = False
        self._several = False
        self._flags: Any = None  # gathered from all processes at the step before
        self._gather: Any = None
        self._clock: threading.Timer | None = None
        self._exit = contextlib.ExitStack()

    @property
    def exit_code(self) -> int:
        """128 + the number of the signal, as shells report it; 0 if there was none."""
        return 0 if self.by is None else 128 + int(self.by)

    def agreed(self) -> bool:
        """Whether to end now: the same answer in every process. Call it once after each step.

        Free where there is one process. Several processes gather their flags on the devices behind
        the step and read them at the next call, so that nothing waits: a signal to any of them
        stops all of them, at the same step, at most two steps later.
        """
        if self._several:
            before, self._flags = self._flags, self._send()
            number, save = (0, 0) if before is None else map(int, np.asarray(before))
            self.save = self.save or bool(save)
            if number and self.by is None:
                self.by = signal.Signals(number)
                self._start_clock(self.by, self._grace)
        return self.by is not None

    @contextlib.contextmanager
    def short_grace(self, seconds: float) -> Iterator[None]:
        """Within this, the process ends that many seconds after a signal: for phases in which
        nothing can be lost, such as reading the text and compiling the first step."""
        before = self._grace
        self._set_grace(seconds)
        try:
            yield
        finally:
            self._set_grace(before)

    def _set_grace(self, seconds: float) -> None:
        self._grace = seconds
        if self._received is not None and self._clock is not None:
            self._start_clock(self._received, seconds)

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            self._several = processes.several()
            reading, writing = socket.socketpair()
            writing.setblocking(False)
            reader = threading.Thread(target=self._read, args=(reading,), daemon=True)
            reader.start()
            # called in the opposite order: the reader ends when its socket is closed
            for undo in (reading.close, reader.join, writing.close):
                self._exit.callback(undo)
            wakeup = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
            self._exit.callback(signal.set_wakeup_fd, wakeup)
            for number in _CAUGHT:
                if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                    continue
                self._exit.callback(signal.signal, number, signal.signal(number, _nothing))
        return self

    def __exit__(self, *exception: object) -> None:
        self._exit.close()
        if self._clock is not None:
            self._clock.cancel()

    def _read(self, reading: socket.socket) -> None:
        while received := reading.recv(64):
            for number in received:
                if number in _CAUGHT:  # other signals write here too
                    self._receive(signal.Signals(number))

    def _receive(self, number: signal.Signals) -> None:
        if number == signal.SIGUSR1:
            self._received_save = True
            self.save = self.save or not self._several
        elif number == signal.SIGQUIT:
            self._quit()
        elif number == signal.SIGINT and self._received == signal.SIGINT:
            self._leave_at_once(number)
        else:
            first, self._received = self._received is None, number
            self.by = self.by if self._several else number
            if first:
                self._start_clock(number, self._grace)

    def _start_clock(self, number: signal.Signals, seconds: float) -> None:
        if self._clock is not None:
            self._clock.cancel()
        self._clock = threading.Timer(seconds, self._end_by_force, args=(number, seconds))
        self._clock.daemon = True
        self._clock.start()

    def _quit(self) -> None:
        line = f"SIGQUIT: ended at once, nothing more is saved; {self._what_is_saved()}"
        if self._folder is not None:
            line += f", stacks in {self._folder / processes.mine(STACKS)}"
            write_stacks(self._folder / processes.mine(STACKS), line)
        print_line(line, error=True)
        self._leave_at_once(signal.SIGQUIT)

    def _end_by_force(self, number: signal.Signals, seconds: float) -> None:
        print_line(
            f"{number.name}: the run did not end within {seconds:g} s and is ended by force; "
            f"{self._what_is_saved()}",
            error=True,
        )
        self._leave_at_once(number)

    def _leave_at_once(self, number: signal.Signals) -> None:
        """Ends the process, and notes why in run.json, if the disk does not keep it waiting."""
        if self._folder is not None and processes.is_first():
            note = threading.Thread(target=note_end, args=(self._folder, number.name), daemon=True)
            note.start()
            note.join(timeout=1.0)
        self._leave(128 + int(number))

    def _what_is_saved(self) -> str:
        """For people: which checkpoint stays; the newest that is complete."""
        steps = [] if self._folder is None else saved_steps(self._folder)
        return f"step {steps[-1]} is saved and intact" if steps else "no step was saved"

    def _send(self) -> Any:
        """Gathers on the devices the greatest [signal, save] of all processes; does not wait."""
        import jax
        from jax.sharding import Mesh, NamedSharding, PartitionSpec

        if self._gather is None:
            mesh = Mesh(np.asarray(jax.devices()), "all")
            cut, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("all",), ()))
            greatest = jax.jit(lambda x: x.max(0), out_shardings=whole)
            self._gather = lambda flags: greatest(
                jax.make_array_from_process_local_data(
                    cut, np.tile(flags, (jax.local_device_count(), 1))
                )
            )
        saving, self._received_save = self._received_save, False
        return self._gather(np.asarray([[int(self._received or 0), int(saving)]], np.int32))


def _nothing(number: int, frame: FrameType | None) -> None:
    """A handler in Python replaces the default one, which would end the process."""
