"""Several processes of one run: how they find each other, what they agree on, who writes.

Every process runs the same program on its own devices. What is said of *the first* is said of
process 0, which writes for all. Values that processes compare travel through the key-value store of
JAX's coordination service, which process 0 holds; arrays travel between the devices.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import functools
import itertools
import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from transformers_jax.shard import batch_sharding, replicated

PEER_TIMEOUT = 20.0
"""Seconds after which a process that gives no sign of life, or that all others wait for, is
given up."""

MARGIN = 16.0  # seconds more until JAX itself, a little early, ends what is left of a run
PATIENCE = 3600.0  # seconds to wait for another process where it may have much to do
FORM = "HOST:PORT,N,I (the address of process 0, how many there are, and which this one is from 0)"

T = TypeVar("T")

_numbers = itertools.count()


# ---------------------------------------------------------------- joining


def connect(where: str, timeout: float = PEER_TIMEOUT) -> None:
    """Joins this process to the others of its run. Call it before JAX starts a backend.

    Args:
        where: "auto", for what JAX detects by itself (SLURM, Open MPI, GKE and Cloud TPU), or
            "HOST:PORT,N,I": the address of process 0, their number, and which one this is.
        timeout: seconds without a sign of life after which a process counts as lost; 0: JAX's own.

    Raises:
        ValueError: text of another form, no cluster, or processes that cannot be reached.
    """
    if timeout < 0:
        raise ValueError(f"--peer-timeout {timeout}: expected seconds, or 0 for none")
    address = {} if where == "auto" else _parse(where)
    faulthandler.enable(all_threads=True)  # JAX aborts a process that has lost process 0
    heartbeat: dict[str, Any] = (
        {"heartbeat_timeout_seconds": int(timeout + MARGIN)} if timeout else {}
    )
    try:
        jax.distributed.initialize(**address, **heartbeat, shutdown_timeout_seconds=60)
    except Exception as error:
        if where == "auto" and "should be defined" in str(error):
            raise ValueError(
                "--distributed auto: no cluster was found (SLURM by srun, Open MPI by mpirun, GKE "
                f"or Cloud TPU); start each process with --distributed {FORM}"
            ) from None
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"--distributed {where}: the processes did not find each other: {reason}. Each must be "
            "started, reach the address of process 0, and have a number of its own"
        ) from error


def _parse(where: str) -> dict[str, Any]:
    match = re.fullmatch(r"([^,\s]+:(\d+)),(\d+),(\d+)", where)
    if match is None:
        raise ValueError(f"--distributed {where!r}: expected auto, or {FORM}")
    port, count, index = (int(match[group]) for group in (2, 3, 4))
    if not (0 < port < 2**16 and index < count):
        raise ValueError(
            f"--distributed {where!r}: expected a port of 1 to 65535, and I from 0 to N - 1"
        )
    return {
        "coordinator_address": match[1],
        "num_processes": count,
        "process_id": index,
        "cluster_detection_method": "deactivate",  # which would hide devices from this process
    }


def disconnect() -> None:
    """Leaves the others, once all are here."""
    if jax.distributed.is_initialized():
        jax.distributed.shutdown()


def abandon(code: int) -> None:
    """Ends a process that is connected with an exit code: after a failure nobody can be waited
    for."""
    if not jax.distributed.is_initialized():
        return
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None: it was closed
        stream.flush()
    if jax.process_index() == 0:
        time.sleep(2.0)  # the others, if they fail as well, are ended by JAX once this one is gone
    os._exit(code)


def delay_abort() -> None:
    """Gives other threads six seconds when a thread aborts the process.

    JAX's client aborts within milliseconds after its connection to process 0 broke, before anything
    could be said of it. The callback it has for this cannot be written in Python: jaxlib has no
    Python type for the argument. But a thread that aborts first runs the handler of SIGABRT, with
    the number of the signal, 6; the handler is made C's `sleep`. Where nobody ends the process
    meanwhile it aborts as ever, with the stacks on standard error.
    """
    if os.name != "posix":
        return
    library = ctypes.CDLL(None)
    library.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
    library.signal.restype = ctypes.c_void_p
    faulthandler.disable()  # its handler prints the stacks, and then calls the one before
    library.signal(signal.SIGABRT, ctypes.cast(library.sleep, ctypes.c_void_p))
    with contextlib.suppress(OSError, ValueError, AttributeError, RuntimeError):  # no such stream
        faulthandler.enable(all_threads=True)


def is_closed(address: str, timeout: float = 1.0) -> bool:
    """Whether the host of HOST:PORT says that nobody listens there. A host that does not answer,
    and one that is not found, may do so later."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout).close()
    except ConnectionRefusedError:
        return True
    except (OSError, ValueError):
        return False
    return False


def several() -> bool:
    """Whether the run has more than one process.

    Raises:
        ValueError: it has, and they are not connected.
    """
    if jax.process_count() == 1:
        return False
    if not jax.distributed.is_initialized():
        raise ValueError(
            f"JAX has {jax.process_count()} processes, which are not connected; start each with "
            "--distributed auto, or call jax.distributed.initialize() first"
        )
    return True


def is_first() -> bool:
    """Whether this is the process that writes for all."""
    return jax.process_index() == 0


def mine(name: str) -> str:
    """The name of a file that every process writes: "stacks.txt" of the first, "stacks-1.txt"."""
    stem, dot, suffix = name.partition(".")
    return name if is_first() else f"{stem}-{jax.process_index()}{dot}{suffix}"


# ---------------------------------------------------------------- agreeing


def store() -> Any:
    """The client of the coordination service, whose key-value store has no public name in JAX."""
    from jax._src import distributed

    return distributed.global_state.client


def coordinator() -> str:
    """The address of the coordination service, HOST:PORT, as JAX knows it."""
    from jax._src import distributed

    return distributed.global_state.coordinator_address or ""


def fresh(what: str) -> str:
    """A key of the store that was not used before; every process asks for the same ones in turn."""
    return f"transformers_jax/{what}/{next(_numbers)}"


def from_first(value: Any) -> Any:
    """What process 0 has for a value of JSON, in every process."""
    if not several():
        return value
    client, name = store(), fresh("value")
    if is_first():
        client.key_value_set(name, json.dumps(value))
        return value
    return json.loads(client.blocking_key_value_get(name, int(PATIENCE * 1000)))


def agree(what: str, values: Mapping[str, Any], advice: str = "start all of them alike") -> None:
    """Returns if every process has the same values of JSON under the same names.

    Raises:
        ValueError: in every process, with each name that differs, its values, and whose they are.
    """
    if not several():
        return
    records = _to_first(dict(values))
    difference = from_first(_difference(records))
    if difference:
        raise ValueError(f"the processes differ in {what}: {difference}; {advice}")


def _to_first(value: Any) -> list[Any]:
    """In process 0 the values of JSON of all processes; in the others none."""
    client, name = store(), fresh("values")
    client.key_value_set(f"{name}/{jax.process_index()}", json.dumps(value))
    if not is_first():
        return []
    read = lambda index: client.blocking_key_value_get(f"{name}/{index}", int(PATIENCE * 1000))
    return [json.loads(read(index)) for index in range(jax.process_count())]


def _difference(records: list[dict[str, Any]]) -> str:
    """ "steps is 10 in processes 0, 2 and 20 in process 1", of all that differ; "" if nothing."""
    lines = []
    for name in dict.fromkeys(name for record in records for name in record):
        owners: dict[str, list[int]] = {}
        for index, record in enumerate(records):
            text = json.dumps(record[name]) if name in record else "not there"
            owners.setdefault(text, []).append(index)
        if len(owners) > 1:
            groups = [f"{text} in {_listed(numbers)}" for text, numbers in owners.items()]
            lines.append(f"{name} is {' and '.join(groups)}")
    more = f"; and {len(lines) - 5} more" if len(lines) > 5 else ""
    return "; ".join(lines[:5]) + more


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else "")
    return f"process{'es' if len(numbers) > 1 else ''} {shown}"


def together(make: Callable[[], T]) -> T:
    """What a function returns, once it has returned in every process.

    Raises:
        Exception: what it raises here.
        ValueError: it failed in others only, with the number and the error of the first of them.
    """
    if not several():
        return make()
    try:
        value, error = make(), None
    except Exception as failure:
        value, error = None, failure
    texts = _to_first("" if error is None else " ".join(str(error).split())[:2000])
    failed = from_first([f"process {n}: {text}" for n, text in enumerate(texts) if text][:1])
    if error is not None:
        raise error
    if failed:
        raise ValueError(failed[0])
    return cast("T", value)


def all_agree(good: bool) -> bool:
    """Whether it is so in every process."""
    return from_first(all(_to_first(good))) if several() else good


def wait_for_all(what: str) -> None:
    """Returns once every process is here."""
    if several():
        store().wait_at_barrier(fresh(what), int(PATIENCE * 1000))


# ---------------------------------------------------------------- arrays


def replicate(array: Any, mesh: Mesh) -> Any:
    """The array whole on every device; processes, if there are several, pass the same one."""
    if jax.process_count() == 1:
        return jax.device_put(array, replicated(mesh))
    here = np.asarray(array)
    return jax.make_array_from_callback(here.shape, replicated(mesh), here.__getitem__)


def own_rows(count: int, mesh: Mesh | None) -> Sequence[int]:
    """The rows, of so many of a batch, that the devices of this process hold, ascending."""
    if mesh is None or jax.process_count() == 1:
        return range(count)
    cuts = batch_sharding(mesh).addressable_devices_indices_map((count,)).values()
    return sorted({row for cut in cuts if cut for row in range(count)[cut[0]]})


def to_devices(batch: Any, mesh: Mesh | None, count: int | None = None) -> Any:
    """The batch on the devices.

    Args:
        batch: all of its rows, or, of several processes, those of `own_rows`.
        count: how many rows the whole batch has, if these are only this process's own.
    """
    sharding = None if mesh is None else batch_sharding(mesh)
    if sharding is None or jax.process_count() == 1:
        return jax.device_put(batch, sharding)

    def put(rows: Any) -> Any:
        whole = len(rows) if count is None else count
        place = dict(zip(range(whole) if count is None else own_rows(whole, mesh), range(whole)))
        here = lambda index: rows[[place[row] for row in range(whole)[index[0]]]]
        return jax.make_array_from_callback((whole, *rows.shape[1:]), sharding, here)

    return jax.tree.map(put, batch)


def on_host(array: Any) -> np.ndarray:
    """The whole array in the memory of this host. Every process calls it for the same arrays, in
    the same order, where they lie on the devices of several."""
    if getattr(array, "is_fully_addressable", True) or array.is_fully_replicated:
        return np.asarray(array)
    whole = NamedSharding(array.sharding.mesh, PartitionSpec())
    return np.asarray(_copied(array, whole))


@functools.partial(jax.jit, static_argnums=1)
def _copied(array: Any, sharding: Any) -> Any:
    return jax.lax.with_sharding_constraint(array, sharding)
