"""Masks from their text: the inverse of `str(mask)`, which is how config.json stores them.

Only names of the mask algebra are read; nothing is evaluated.
"""

from __future__ import annotations

import ast
import inspect
from typing import Any

from transformers_jax.graph import mask as algebra
from transformers_jax.graph import primitives
from transformers_jax.graph.blocks import Block, Scattered
from transformers_jax.graph.listed import Listed
from transformers_jax.graph.mask import OWN, Mask
from transformers_jax.graph.primitives import CAUSAL, FULL
from transformers_jax.spelling import nearest

NAMED = {"CAUSAL": CAUSAL, "FULL": FULL, "OWN": OWN}
MAKERS: dict[str, type[Mask]] = {
    kind.__name__: kind
    for kind in (
        *(primitives.Before, primitives.Dense, primitives.Full, primitives.Near, primitives.Same),
        *(primitives.Holds, primitives.Strided, primitives.Where, Block, Scattered, Listed),
    )
}
LONGEST = 10_000  # letters: Python's parser is not safe for untrusted texts of any length


def parse(text: str) -> Mask:
    """The mask that prints as `text`: `parse(str(mask)) == mask`.

    Raises:
        ValueError: anything but masks of the algebra, combined by `&`, `|`, `~` and parentheses.
    """
    if not isinstance(text, str) or len(text) > LONGEST:
        shown = f"{len(text)} letters" if isinstance(text, str) else repr(text)
        raise ValueError(f"a mask is written in at most {LONGEST} letters, {shown} came")
    try:
        return _mask(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise _refused(text, f"it is no expression ({error})") from None
    except (ValueError, TypeError) as error:
        raise _refused(text, str(error)) from None


def _mask(node: ast.AST) -> Mask:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd):
        return algebra.All(_mask(node.left), _mask(node.right))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return algebra.Any(_mask(node.left), _mask(node.right))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert):
        return algebra.Not(_mask(node.operand))
    if isinstance(node, ast.List):
        return algebra.PerLayer(tuple(_mask(part) for part in node.elts))
    if isinstance(node, ast.Name):
        return NAMED[_known(node.id, NAMED)]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return _leaf(MAKERS[_known(node.func.id, MAKERS)], node)
    raise ValueError(f"{ast.unparse(node)!r} is no mask")


def _leaf(kind: type[Mask], call: ast.Call) -> Mask:
    """A leaf of the algebra, from numbers and names of tags."""
    names = {keyword.arg or "**": _plain(keyword.value) for keyword in call.keywords}
    values = [_plain(value) for value in call.args]
    arguments = inspect.signature(kind).bind(*values, **names).arguments
    fields = {f.name: str(f.type) for f in kind.__dataclass_fields__.values()}  # type: ignore[attr-defined]
    for name, value in arguments.items():
        whole = "int" in fields[name]
        if value is None and "None" in fields[name]:
            continue
        if isinstance(value, bool) or not isinstance(value, int if whole else str):
            raise ValueError(f"{kind.__name__}({name}={value!r}) is not {fields[name]}")
    return kind(**arguments)


def _plain(node: ast.AST) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | str | None):
        return node.value
    raise ValueError(f"{ast.unparse(node)!r} is no number and no name of a tag")


def _known(name: str, names: Any) -> str:
    if name not in names:
        every = (*NAMED, *MAKERS)
        raise ValueError(f"{name!r} is unknown{nearest(name, every)}; known are {', '.join(every)}")
    return name


def _refused(text: str, why: str) -> ValueError:
    return ValueError(f"the mask {text[:200]!r} cannot be read: {why}")
