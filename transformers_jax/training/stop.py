"""Signals: SIGTERM and SIGINT ask a run to save and to end, SIGUSR1 to save and go on."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any


class Stop:
    """What has been asked for; read between steps, between batches of evaluation, before a save.

    A second SIGINT ends the process at once. Outside the main thread signals are left alone.
    """

    def __init__(self) -> None:
        self.by: signal.Signals | None = None
        self.save = False
        self._before: dict[signal.Signals, Any] = {}

    @property
    def exit_code(self) -> int:
        """128 + the number of the signal, as shells report it; 0 if there was none."""
        return 0 if self.by is None else 128 + int(self.by)

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGUSR1:
            self.save = True
        elif number == signal.SIGINT and self.by == signal.SIGINT:
            os._exit(130)
        else:
            self.by = signal.Signals(number)
