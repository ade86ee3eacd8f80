"""The one reader and the one writer of JSON: errors name the file or the entry, and what to do."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def errors_of(source: Any) -> Iterator[None]:
    """Every ValueError that is raised inside begins with its source, such as a path."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None


DEEPEST = 100  # levels of lists and objects; the files of models and runs have about ten
MEND = "mend it there, or copy or download it anew"


def parse_json(
    text: str | bytes,
    source: Any,
    *,
    unique: bool = False,
    advice: str = MEND,
) -> Any:
    """The value of JSON in UTF-8; `source` is what messages call it, such as a file or a line of
    one, `advice` what they say to do. Of a key that comes twice in an object the last value counts,
    unless keys must be `unique`.

    Raises:
        ValueError: it is not UTF-8, not JSON, or nested too deeply; a key twice.
    """
    twice: list[str] = []

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            twice.append(Counter(key for key, _ in pairs).most_common(1)[0][0])
        return values

    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text
        value = json.loads(text, object_pairs_hook=once if unique else None)
    except UnicodeDecodeError as error:
        raise ValueError(f"{source} is not UTF-8 (at byte {error.start})") from None
    except RecursionError:
        raise ValueError(f"{source} is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{source} is not JSON ({error}); {advice}") from None
    if twice:
        raise ValueError(f"{source} has the key {twice[0][:100]!r} twice")
    if text.count("[") + text.count("{") > DEEPEST and _is_deeper(value, DEEPEST):
        raise ValueError(f"{source} is nested too deeply")
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects in a value are nested in more than so many levels."""
    inside = [value] if isinstance(value, (dict, list)) else []
    for _ in range(levels):
        lists = [v.values() if isinstance(v, dict) else v for v in inside]
        inside = [v for one in lists for v in one if isinstance(v, (dict, list))]
        if not inside:
            return False
    return True


def read_json(
    file: Path, *, optional: bool = False, unique: bool = False, advice: str = ""
) -> dict[str, Any]:
    """The object in a JSON file; {} where there is no file and it is `optional`; `unique` as in
    `parse_json`.

    Raises:
        ValueError: the file is missing (`advice` says what to do then), cannot be read, or holds no
            JSON object; a key twice.
    """
    if optional and not file.is_file():
        return {}
    try:
        values = parse_json(file.read_bytes(), file, unique=unique)
    except FileNotFoundError:
        raise ValueError(f"{file} does not exist{'; ' if advice else ''}{advice}") from None
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror})") from None
    if not isinstance(values, dict):
        raise ValueError(f"{file} holds {type(values).__name__}, not a JSON object")
    return values


def with_digest(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record as JSON gives it back, with a digest of itself."""
    record = as_json(record)
    return {**record, "digest": digest_of(record)}


def digest_of(record: Mapping[str, Any]) -> str:
    """32 hex digits of a record, however it is written; its own digest is no part of it."""
    rest = {name: value for name, value in record.items() if name != "digest"}
    text = json_text(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def json_text(values: Any, **options: Any) -> str:
    """JSON that every reader takes; `options` are those of `json.dumps`.

    Raises:
        ValueError: numbers that are not finite, for which JSON has no word, by their entries.
    """
    try:
        return json.dumps(values, allow_nan=False, **options)
    except ValueError:
        wrong = list(_nonfinite(values, ""))
        if not wrong:
            raise
    raise ValueError(f"JSON has no word for {', '.join(wrong)}; give a finite number or null")


def _nonfinite(values: Any, name: str) -> Iterator[str]:
    """ "clip = inf" of each number that is not finite."""
    if isinstance(values, float) and not math.isfinite(values):
        yield f"{name or 'a number'} = {values}"
    parts: Any = values.items() if isinstance(values, dict) else ()
    parts = enumerate(values) if isinstance(values, (list, tuple)) else parts
    for key, part in parts:
        yield from _nonfinite(part, f"{name}.{key}" if name else str(key))


def finite_or_null(values: Mapping[str, Any]) -> dict[str, Any]:
    """Figures as JSON can hold them: one that is not finite is null, and its `NAME_hex` says which
    of nan, inf and -inf it is. `with_nonfinite` is the way back."""
    written: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            written |= {name: None, f"{name}_hex": value.hex()}
        else:
            written[name] = value
    return written


def with_nonfinite(written: Mapping[str, Any]) -> dict[str, Any]:
    """Figures that `finite_or_null` wrote; a null without its word is NaN."""
    values = dict(written)
    for name in [name for name, value in written.items() if value is None]:
        word = values.get(f"{name}_hex", "nan")
        values[name] = float.fromhex(word)
    return values


def as_json(values: Any) -> Any:
    """Values as JSON gives them back: tuples are lists, keys are strings."""
    return json.loads(json_text(values))


def json_or_empty(file: Path) -> dict[str, Any]:
    """The object in a JSON file; {} where there is none that can be read."""
    try:
        return read_json(file)
    except ValueError:
        return {}
