"""The public functions of the package, for methods that call them.

`model.generate(...)` is `tj.generate(model, ...)`, which is defined in a higher layer than models.
The package gives its own lookup of public names here when it is imported, so that no file imports
from above.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_lookup: Callable[[str], Any] | None = None


def provide(lookup: Callable[[str], Any]) -> None:
    """Sets the function that finds a public name; called once, by the package itself."""
    global _lookup
    _lookup = lookup


def public(name: str) -> Any:
    """What `transformers_jax.<name>` is."""
    assert _lookup is not None  # whoever imports a module has imported its package before
    return _lookup(name)
