"""Files that others wrote: errors that name them, and the one reader of JSON, whose errors say the
line and what to do."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def errors_of(source: Any) -> Iterator[None]:
    """Every ValueError that is raised inside begins with its source, such as a path."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None


MEND = "mend it there, or copy or download it anew"


def parse_json(
    text: str | bytes,
    source: Any,
    *,
    pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None,
    advice: str = MEND,
) -> Any:
    """The value of JSON in UTF-8; `source` is what messages call it, such as a file or a line of
    one, `advice` what they say to do, `pairs_hook` is json's.

    Raises:
        ValueError: it is not UTF-8, not JSON, or nested too deeply.
    """
    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text
        return json.loads(text, object_pairs_hook=pairs_hook)
    except UnicodeDecodeError as error:
        raise ValueError(f"{source} is not UTF-8 (at byte {error.start})") from None
    except RecursionError:
        raise ValueError(f"{source} is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{source} is not JSON ({error}); {advice}") from None


def read_json(file: Path, *, optional: bool = False, advice: str = "") -> dict[str, Any]:
    """The object in a JSON file; {} where there is no file and it is `optional`.

    Raises:
        ValueError: the file is missing (`advice` says what to do then), cannot be read, or holds no
            JSON object.
    """
    if optional and not file.is_file():
        return {}
    try:
        values = parse_json(file.read_bytes(), file)
    except FileNotFoundError:
        raise ValueError(f"{file} does not exist{'; ' if advice else ''}{advice}") from None
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror})") from None
    if not isinstance(values, dict):
        raise ValueError(f"{file} holds {type(values).__name__}, not a JSON object")
    return values


def as_json(values: Any) -> Any:
    """Values as JSON gives them back: tuples are lists, keys are strings."""
    return json.loads(json.dumps(values))


def json_or_empty(file: Path) -> dict[str, Any]:
    """The object in a JSON file; {} where there is none that can be read."""
    try:
        return read_json(file)
    except ValueError:
        return {}
