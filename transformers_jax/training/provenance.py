"""run.json: the command, versions and devices of a run, when it began and how it ended."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from transformers_jax.json_files import json_or_empty
from transformers_jax.publish import publish_json

FILE = "run.json"
DECISIVE = "transformers_jax jax jaxlib flax optax orbax-checkpoint grain numpy".split()
State = Literal["running", "finished", "stopped", "failed"]


def start_run(
    folder: Path, command: str, *, start: int = 0, about: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Writes run.json when a process is about to make its first step; returns its content.

    `about` describes the run: `model_type`, `parameters`, `objective`, `steps` (of the
    config), `tokens_per_step`, `data` ({"origin", "fingerprint", ...}) and more. What an earlier
    process wrote stays: its start is the run's start.
    """
    from transformers_jax.inspection.environment import devices, packages, system

    before = read_run(folder)
    process = {"host": platform.node(), "process": os.getpid()}
    starts = before.get("starts", [])
    starts = [*starts, {"at": now(), "step": start, "command": command, **process}]
    run = {
        **before,
        "format": 1,
        "name": folder.resolve().name,
        "state": "running",
        "why": "",
        "command": command,
        "started": starts[0]["at"],
        "ended": None,
        "resumed": len(starts) - 1,
        "step": start,
        **(about or {}),
        "python": platform.python_version(),
        "system": system(),
        "packages": packages(),
        "devices": devices(),
        "git": git(),
        "starts": starts,
    }
    publish_json(folder / FILE, run, default=str)
    return run


def end_run(folder: Path, state: State, step: int, why: str = "") -> dict[str, Any]:
    """Notes in run.json how the process ended: "finished", "stopped" by a signal, or "failed"."""
    run = {**read_run(folder), "state": state, "step": step, "why": why, "ended": now()}
    publish_json(folder / FILE, run, default=str)
    return run


def note_end(folder: Path, signal: str) -> None:
    """Notes in run.json that a signal ended the process before it could save, if it has begun."""
    run = read_run(folder)
    if run.get("state") == "running":
        why = f"{signal}, ended at once"
        publish_json(
            folder / FILE, {**run, "state": "stopped", "why": why, "ended": now()}, default=str
        )


def note_export(folder: Path, step: int, why: str) -> None:
    """Notes in run.json of which step the model in the folder is."""
    run = {**read_run(folder), "exported": {"step": step, "why": why}}
    publish_json(folder / FILE, run, default=str)


def read_run(folder: Path) -> dict[str, Any]:
    """The content of run.json; {} if there is none, or none that can be read."""
    return json_or_empty(folder / FILE)


def versions(run: Mapping[str, Any]) -> str:
    """The packages that decide what is computed, of run.json, in a line; "" if not known."""
    packages = run.get("packages") or {}
    known = [f"{name} {packages[name].split(' ')[0]}" for name in DECISIVE if name in packages]
    return ", ".join(known)


def commit(run: Mapping[str, Any]) -> str:
    """The commit of run.json, with a word if files differed from it; "" if not known."""
    code = run.get("git") or {}
    return f"{code.get('commit', '')}{' and changes' * bool(code.get('changed'))}"


def git(folder: str | Path = ".") -> dict[str, Any] | None:
    """{"commit", "changed"} of a folder under git, where `changed` says that files differ from the
    commit; None if there is no commit or no git."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return None
    return {"commit": commit, "changed": bool(_git(folder, "status", "--porcelain", "-uno"))}


def now() -> str:
    """The time, in UTC, to the second: "2026-01-31T23:59:59+00:00"."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _git(folder: str | Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), "--no-optional-locks", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
