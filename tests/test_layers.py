"""The layers of docs/architecture.md: a file imports from its own layer and from those below."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "transformers_jax"
LAYERS = [
    ("arrays", "publish", "shard", "sizes", "spelling"),
    ("graph",),
    ("spec",),
    ("nn", "hub"),
    ("models",),
    (
        *("pretrained", "auto", "embedding", "scoring", "objectives", "generation", "optim"),
        *("resize", "together"),
    ),
    ("data",),
    ("training", "inspection"),
    ("cli", "__main__"),
]
LAYER = {name: level for level, names in enumerate(LAYERS) for name in names}
FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def module_of(path):
    """transformers_jax.graph.mask of graph/mask.py."""
    dotted = path.with_suffix("").as_posix().replace("/", ".")
    return f"transformers_jax.{dotted}".removesuffix(".__init__")


MODULES = {module_of(path) for path in FILES}


def imports(text, at_import_only=False):
    """Modules of the package that a file imports, but for those imported for type checking."""
    found = set()

    def visit(node):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if at_import_only and isinstance(child, (ast.FunctionDef, ast.Lambda)):
                continue
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module and not child.level:
                names = {f"{child.module}.{alias.name}" for alias in child.names}
                found.update(names & MODULES)
                if names - MODULES:
                    found.add(child.module)
            visit(child)

    visit(ast.parse(text))
    return {name for name in found if name.startswith("transformers_jax.")}


def layer(module):
    """The layer of "graph.mask", of "spec", ...; None for names that are no module."""
    return LAYER.get(module.removeprefix("transformers_jax.").split(".")[0])


@pytest.mark.parametrize("path", [p for p in FILES if p != Path("__init__.py")], ids=str)
def test_a_file_imports_from_below_only(path):
    mine = layer(module_of(path))
    assert mine is not None, f"{path} has no layer; add it to LAYERS"
    wrong = {
        name
        for name in imports((PACKAGE / path).read_text())
        if layer(name) is not None and layer(name) > mine
    }
    assert not wrong


def test_there_are_no_cycles():
    edges = {
        module_of(path): imports((PACKAGE / path).read_text(), at_import_only=True) & MODULES
        for path in FILES
    }
    seen, done = [], set()

    def walk(name):
        assert name not in seen, " -> ".join([*seen[seen.index(name) :], name])
        if name not in done:
            seen.append(name)
            for target in edges[name]:
                walk(target)
            done.add(seen.pop())

    for name in edges:
        walk(name)


def test_an_import_from_above_is_seen():
    text = "def f():\n    from transformers_jax.models import base\n"
    assert layer("transformers_jax.models") > layer("graph.mask")
    assert imports(text) == {"transformers_jax.models.base"}
    assert imports(text, at_import_only=True) == set()
