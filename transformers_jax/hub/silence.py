"""Ends a download from a hub that falls silent, which the hub's client would try again for minutes.

The client's requests are watched from beside: a hook notes each request and its answer, and the
bytes of all answers are counted. What the client fetches by another way (Xet storage has a client
of its own, with its own limits) is not judged, nor is its waiting for a lock or for a rate limit.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

METADATA = 4.0  # seconds; HF_HUB_ETAG_TIMEOUT says another number
BODY = 8.0  # seconds; HF_HUB_DOWNLOAD_TIMEOUT says another number
HEADER = "X-Download"  # by which requests of one download are told from others of the same client
PAUSE = 0.05  # seconds between two looks
MARGIN = 0.5  # seconds by which the client gives up later than the verdict


class Silent(ConnectionError):
    """The hub has sent nothing for too long, although something was asked of it."""


@dataclass
class _Exchange:
    """A request, when it began, how long the hub may be silent, and the answer if there is one."""

    request: Any
    began: float
    limit: float
    setting: str
    response: Any = None

    @property
    def is_open(self) -> bool:
        return self.response is None or not self.response.is_closed


def call_while_it_speaks(download: Callable[[dict[str, str]], Path]) -> Path:
    """What `download` returns, which asks the hub by its client, with these headers.

    Raises:
        Silent: the hub has not answered a request for `METADATA` seconds, or has not sent a byte of
            a file for `BODY` seconds.
    """
    watch, results, errors = _Watch(), list[Path](), list[BaseException]()

    def work() -> None:
        try:
            results.append(download({HEADER: watch.name}))
        except BaseException as error:
            errors.append(error)
        finally:
            watch.detach()

    # Beside the caller, because looking up a name and a trickle have no limit of their own.
    watch.attach()
    thread = threading.Thread(target=work, name="download", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(PAUSE)
            watch.attach()
            if problem := watch.silence():
                raise Silent(problem)
    except BaseException as error:  # Ctrl-C as well: no thread goes on to load what nobody awaits
        watch.stop(str(error))
        raise
    if errors:
        raise errors[0]
    return results[0]


class _Watch:
    """The open requests of the hub's client, and when anything last came."""

    def __init__(self) -> None:
        from huggingface_hub.utils import get_session  # which makes the handlers of its messages

        self._session = get_session
        self.name = uuid.uuid4().hex
        self._exchanges: dict[int, _Exchange] = {}  # of each thread: it asks one thing at a time
        self._clients: list[Any] = []
        self._bytes, self._last = 0, time.monotonic()
        self._finished = 0  # bytes of the answers that are forgotten
        self._stopped: str | None = None
        self._over = False
        self._lock = threading.RLock()
        loggers = (logging.getLogger("huggingface_hub"), logging.getLogger())
        self._handlers = [handler for logger in loggers for handler in logger.handlers]
        for handler in self._handlers:
            handler.addFilter(self._lets_pass)

    # ------------------------------------------------------------ the client's hooks

    def attach(self) -> None:
        """Watches the client's session, which is another one after an error of a connection."""
        client = self._session()
        with self._lock:
            if not self._over and all(client is not known for known in self._clients):
                self._clients.append(client)
                client.event_hooks["request"].append(self._ask)
                client.event_hooks["response"].append(self._answer)

    def detach(self) -> None:
        """Leaves the client as it was."""
        with self._lock:
            for client in self._clients:
                client.event_hooks["request"].remove(self._ask)
                client.event_hooks["response"].remove(self._answer)
            self._clients.clear()
            self._over = True
        for handler in self._handlers:
            handler.removeFilter(self._lets_pass)

    def _ask(self, request: Any) -> None:
        if request.headers.get(HEADER) == self.name:
            del request.headers[HEADER]
            request.extensions[HEADER] = self.name  # which a redirection keeps
        if request.extensions.get(HEADER) != self.name:
            return
        if self._stopped is not None:
            raise Silent(self._stopped)
        metadata = request.method != "GET" or "/api/" in request.url.path
        limit, setting = _limit_of(metadata)
        # Else the client's threads, which Python waits for at its end, would wait for longer; where
        # only one of several files stalls, the client tries that one again.
        waits = ("connect", "read", "write", "pool")
        request.extensions["timeout"] = dict.fromkeys(waits, limit + MARGIN)
        with self._lock:
            before = self._exchanges.get(threading.get_ident())
            if before is not None and before.response is not None:
                self._finished += before.response.num_bytes_downloaded
            exchange = _Exchange(request, time.monotonic(), limit, setting)
            self._exchanges[threading.get_ident()] = exchange

    def _answer(self, response: Any) -> None:
        if response.request.extensions.get(HEADER) != self.name:
            return
        with self._lock:
            self._last = time.monotonic()
            self._exchanges[threading.get_ident()].response = response

    def _lets_pass(self, record: logging.LogRecord) -> bool:
        """All but the client's announcements of another attempt where there will not be any."""
        return self._stopped is None or not record.name.startswith("huggingface_hub")

    # ------------------------------------------------------------ the verdict

    def silence(self) -> str:
        """That nothing has come for as long as the limit, and what was asked; "" otherwise."""
        with self._lock:
            known = [x.response for x in self._exchanges.values() if x.response is not None]
            count = self._finished + sum(answer.num_bytes_downloaded for answer in known)
            if count != self._bytes:
                self._bytes, self._last = count, time.monotonic()
            for exchange in self._exchanges.values():
                since = max(self._last, exchange.began)
                if exchange.is_open and time.monotonic() - since >= exchange.limit:
                    request, path = exchange.request, exchange.request.url.path
                    what = "no answer to" if exchange.response is None else "no more of"
                    asked = path if exchange.response is None else path.rsplit("/", 1)[-1]
                    return (
                        f"{request.url.host} has sent {what} {asked} for {exchange.limit:g} s "
                        f"({exchange.setting} sets another limit)"
                    )
        return ""

    def stop(self, why: str) -> None:
        """No further request is made, and those that are open end."""
        with self._lock:
            self._stopped = why
            answers = [
                x.response for x in self._exchanges.values() if x.is_open and x.response is not None
            ]
        for answer in answers:
            with contextlib.suppress(Exception):  # closed meanwhile
                stream = answer.extensions["network_stream"]
                stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


def _limit_of(metadata: bool) -> tuple[float, str]:
    """Seconds of silence, and the client's own setting that asks for another number of them."""
    setting = "HF_HUB_ETAG_TIMEOUT" if metadata else "HF_HUB_DOWNLOAD_TIMEOUT"
    text = os.environ.get(setting, "")
    asked = float(text) if text.isascii() and text.isdigit() else 0.0
    return asked or (METADATA if metadata else BODY), setting
