"""Finds the directory of a model: a local one, the hub's cache, or a download.

The hub's own client does the work (cache layout, tokens, revisions, proxies); what is added is that
a cached model needs no network at all, and that a hub that is not reached or falls silent is one
sentence within seconds.
"""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import Any

from transformers_jax.hub.contents import STEMS
from transformers_jax.hub.silence import Silent, call_while_it_speaks

PATTERNS = ("*.json", "*.safetensors", "*.txt", "*.model", "*.spm", "*.jinja")
FLAX = ("flax_model*.msgpack",)  # fetched where there are no safetensors
_Where = tuple[str | None, str | None]  # revision, cache directory

TIMEOUT = 3.0  # seconds until the hub's first answer; its own client waits and retries for minutes


def resolve(
    path_or_id: str | os.PathLike[str],
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    subfolder: str = "",
) -> Path:
    """The directory (or file) with a model's files.

    What exists locally wins. Otherwise the id is looked for in the hub's cache, then downloaded
    (config, tokenizer and safetensors files only, never pickles). `HF_HUB_OFFLINE=1` or
    `TRANSFORMERS_OFFLINE=1`, like `local_files_only`, keeps to the cache.

    Raises:
        ValueError: a path that does not exist, a malformed id, or a model that the hub does
            not have or show to this token.
        ConnectionError: it is not cached, and the hub is not reached or not to be used.
    """
    if not isinstance(path_or_id, (str, os.PathLike)):
        raise ValueError(
            f"expected a directory, a file or a hub id; {type(path_or_id).__name__} came"
        )
    text = os.fspath(path_or_id)
    local = Path(text).expanduser()
    if text and local.exists():
        return _folder(local, subfolder)
    if not re.fullmatch(r"[\w.-]{1,96}(/[\w.-]{1,96})?", text) or text.strip(".") == "":
        raise ValueError(
            f"{text or repr(text)} does not exist, and it is not a hub id (name or owner/name)"
        )
    if text.count("/") and text.split("/")[0] in (".", "..", "~"):
        raise ValueError(f"{text} does not exist (from {Path.cwd()})")
    where = (revision, None if cache_dir is None else str(cache_dir))
    cached = _cached(text, where, subfolder)
    if cached is not None:
        return _folder(cached, subfolder)
    remedy = f"the cache is {_cache_path(cache_dir)}; a local directory works too"
    if local_files_only or _offline():
        raise ConnectionError(
            f"{text} is neither a local directory nor completely in the cache, and the network is "
            f"not to be used (HF_HUB_OFFLINE or local_files_only); {remedy}"
        )
    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    if problem := _without_answer(f"{endpoint.rstrip('/')}/api/models/{text}"):
        raise ConnectionError(
            f"{text} is not a local directory and {endpoint} cannot be reached ({problem}); "
            f"HF_HUB_OFFLINE=1 keeps to what is cached; {remedy}"
        )
    return _folder(_download(text, where, token), subfolder)


def is_id(path_or_id: Any) -> bool:
    """Whether this is no path here, but looks like "owner/name"."""
    if not isinstance(path_or_id, str) or Path(path_or_id).expanduser().exists():
        return False
    return re.fullmatch(r"\w[\w.-]{0,95}/\w[\w.-]{0,95}", path_or_id) is not None


def _snapshot(model: str, where: _Where, patterns: tuple[str, ...], **options: Any) -> Path:
    from huggingface_hub import snapshot_download

    revision, cache_dir = where
    options |= {"allow_patterns": list(patterns), "library_name": "transformers_jax"}
    return Path(snapshot_download(model, revision=revision, cache_dir=cache_dir, **options))


def _download(model: str, where: _Where, token: str | bool | None) -> Path:
    from huggingface_hub import errors

    def fetch(headers: dict[str, str]) -> Path:
        options = {"token": token, "headers": headers}
        snapshot = _snapshot(model, where, PATTERNS, **options)
        if not _has_weights(snapshot):
            snapshot = _snapshot(model, where, (*PATTERNS, *FLAX), **options)
        return snapshot

    try:
        return call_while_it_speaks(fetch)
    except Silent as error:
        raise ConnectionError(
            f"{model} could not be downloaded: {error}; files that are complete are kept, the "
            f"same call fetches the others; HF_HUB_OFFLINE=1 keeps to {_cache_path(where[1])}"
        ) from None
    except errors.GatedRepoError:
        raise ValueError(f"{model}: ask for access on the hub, then pass token=") from None
    except errors.RevisionNotFoundError:
        raise ValueError(f"{model} has no revision {where[0]!r} on the hub") from None
    except (errors.RepositoryNotFoundError, errors.HFValidationError):
        raise ValueError(
            f"{model} is neither a local directory nor a model on the hub (if it is private, "
            "pass token=)"
        ) from None
    except Exception as error:  # of the network, or of answers that are none of a hub
        raise ConnectionError(
            f"{model} could not be downloaded ({_line(error)}); HF_HUB_OFFLINE=1 keeps to what is "
            f"cached in {_cache_path(where[1])}"
        ) from error


def _line(error: BaseException) -> str:
    """The kind of an error and the first line of its message."""
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])


def _cached(model: str, where: _Where, subfolder: str) -> Path | None:
    """The snapshot in the cache, if everything that a model needs is there."""
    from huggingface_hub import errors

    try:
        snapshot = _snapshot(model, where, (*PATTERNS, *FLAX), local_files_only=True)
    except errors.LocalEntryNotFoundError as error:
        partial = getattr(error, "snapshot_path", None)  # some files are there: perhaps enough
        if partial is None:
            return None
        snapshot = Path(partial)
    except errors.HFValidationError:
        return None
    folder = snapshot / subfolder
    return snapshot if (folder / "config.json").exists() and _has_weights(folder) else None


def _has_weights(folder: Path) -> bool:
    """Whether the weights are there, in one file or in all the shards that an index names."""
    named = [(f"{stem}.safetensors", "safetensors") for stem in STEMS]
    for single, kind in (*named, ("flax_model.msgpack", "msgpack")):
        index = folder / f"{single}.index.json"
        text = index.read_text(errors="replace") if index.exists() else ""
        shards = set(re.findall(rf'"([^"]+\.{kind})"', text))
        whole = shards and all("/" not in name and (folder / name).exists() for name in shards)
        if whole or (folder / single).exists():
            return True
    return False


def _folder(path: Path, subfolder: str) -> Path:
    if not subfolder:
        return path
    folder = path / subfolder
    if not folder.resolve().is_relative_to(path.resolve()) or not folder.is_dir():
        raise ValueError(f"{path} has no subfolder {subfolder!r}")
    return folder


def _offline() -> bool:
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(n, "").upper() in ("1", "ON", "YES", "TRUE") for n in names)


def _cache_path(cache_dir: str | os.PathLike[str] | None) -> Path:
    if cache_dir is not None:
        return Path(cache_dir)
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _without_answer(url: str) -> str:
    """Why the hub (or the proxy before it) gives no answer to a request, whatever the answer; ""
    where it does. Asks once, briefly, and reads no more than the answer's first lines."""
    from huggingface_hub.utils import get_session

    problems = [f"no answer within {TIMEOUT:g} s"]

    def ask() -> None:
        try:
            with get_session().stream("GET", url, timeout=TIMEOUT):
                problems.append("")
        except Exception as error:
            if "Timeout" not in type(error).__name__:
                problems.append(_line(error))

    # In a thread, because looking up a name and an answer that trickles have no limit of their own.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(TIMEOUT + 0.5)
    return problems[-1]
