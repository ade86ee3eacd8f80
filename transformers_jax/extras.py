"""Libraries that only some users need: the extras of this package."""

from __future__ import annotations

import importlib
from typing import Any


def need(module: str, extra: str, what: str) -> Any:
    """A module of an extra of this package.

    Raises:
        ValueError: it is not installed; says what needs it, and how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ValueError(
            f'{what} needs the extra `{extra}` ({error}): pip install "transformers-jax[{extra}]"'
        ) from None
