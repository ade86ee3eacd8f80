"""The layers of docs/architecture.md: a file imports from its own layer and from those below."""

import ast
import io
import statistics
import tokenize
from pathlib import Path

import pytest

from transformers_jax.models import FAMILIES
from transformers_jax.models import MODULES as OF_TIMM

PACKAGE = Path(__file__).parent.parent / "transformers_jax"
LAYERS = [
    (
        "allocator",
        "arrays",
        "explicit_axes",
        "extras",
        "face",
        "flags",
        "json_files",
        "processes",
        "printing",
        "publish",
        "settings",
        "shard",
        "sizes",
        "spelling",
    ),
    ("graph", "metrics"),
    ("inputs",),
    ("spec",),
    ("nn", "hub"),
    ("models",),
    (
        *(
            "acting",
            "adapting",
            "pretrained",
            "saving",
            "auto",
            "embedding",
            "scoring",
            "objectives",
            "generation",
            "optim",
        ),
        *("image_sizes", "resize", "student", "together"),
    ),
    ("data", "processing", "proteins", "vision"),
    ("tasks", "speech", "serving"),
    ("training", "inspection", "evaluation"),
    ("runs",),
    ("cli", "__main__"),
]
LAYER = {name: level for level, names in enumerate(LAYERS) for name in names}
FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def module_of(path):
    """transformers_jax.graph.mask of graph/mask.py."""
    dotted = path.with_suffix("").as_posix().replace("/", ".")
    return f"transformers_jax.{dotted}".removesuffix(".__init__")


MODULES = {module_of(path) for path in FILES}


def imports(text):
    """Modules of the package that a file names in an import: at its head, in a function, for type
    checking, or by `importlib`."""
    modules = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            modules.update(names & MODULES)
            if names - MODULES:
                modules.add(node.module)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            modules.update(ast.literal_eval(x) for x in node.args if isinstance(x, ast.Constant))
    return {name for name in modules if name.split(".")[0] == "transformers_jax"}


def hidden(text):
    """The imports of a file that `imports` cannot read: relative ones, and those of a computed name
    or by another name of `importlib.import_module`."""
    lines = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names}
            if node.level or (node.module == "importlib" and "import_module" in names):
                lines.append(node.lineno)
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            literal = len(node.args) == 1 and isinstance(node.args[0], ast.Constant)
            if called == "__import__" or (called == "importlib.import_module" and not literal):
                lines.append(node.lineno)
        elif isinstance(node, ast.Assign) and ast.unparse(node.value).endswith("import_module"):
            lines.append(node.lineno)
    return lines


def edges_of(path):
    """The modules that a file leads to."""
    return imports((PACKAGE / path).read_text()) & MODULES - {module_of(path)}


def layer(module):
    """The layer of "graph.mask", of "spec", ...; None for names that are no module."""
    return LAYER.get(module.removeprefix("transformers_jax.").split(".")[0])


@pytest.mark.parametrize("path", [p for p in FILES if p != Path("__init__.py")], ids=str)
def test_a_file_imports_from_below_only(path):
    mine = layer(module_of(path))
    assert mine is not None, f"{path} has no layer; add it to LAYERS"
    face = layer("inspection")  # from here on, the package is used as a user does
    above = lambda name: (face if name == "transformers_jax" else layer(name) or 0) > mine
    assert not {name for name in edges_of(path) if above(name)}


def test_there_are_no_cycles():
    edges = {module_of(path): edges_of(path) for path in FILES}
    path, done = [], set()

    def walk(name):
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            path.append(name)
            for target in edges[name]:
                walk(target)
            done.add(path.pop())

    for name in edges:
        walk(name)


BY_NAME = {  # imports of a computed name: those of families, by the table of their files, and of
    # packages that are not ours
    *(
        "models/__init__.py",
        "extras.py",
        "data/python_docs/__init__.py",
        "training/trackers.py",
    ),
}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_import_is_dynamic(path):
    if path.as_posix() not in BY_NAME:
        assert not hidden((PACKAGE / path).read_text())


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    from transformers_jax.models import base\n",
        "if TYPE_CHECKING:\n    import transformers_jax.models.base\n",
        "f = lambda: importlib.import_module('transformers_jax.models.base')\n",
    ],
)
def test_an_import_from_above_is_detected_wherever_it_is(text):
    assert layer("transformers_jax.models") > layer("graph.mask")
    assert imports(text) == {"transformers_jax.models.base"}


@pytest.mark.parametrize(
    "text",
    [
        "from .models import base\n",
        "importlib.import_module(f'transformers_jax.{name}')\n",
        "importlib.import_module(name='transformers_jax.models')\n",
        "__import__('transformers_jax.models')\n",
        "from importlib import import_module\n",
        "load = importlib.import_module\n",
    ],
)
def test_a_dynamic_import_is_detected(text):
    assert hidden(text)
    assert not hidden("importlib.import_module('tensorboardX.proto')\nimport jax\n")


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_is_read_in_one_sitting(path):
    """At most 350 lines (CONTRIBUTING.md)."""
    assert (PACKAGE / path).read_text().count("\n") <= 350


def code_lines(text):
    """The lines that are neither blank nor a comment nor part of a docstring."""
    documented = set()
    for node in ast.walk(ast.parse(text)):
        for first in body[:1] if isinstance(body := getattr(node, "body", None), list) else ():
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                documented |= {*range(first.lineno, first.end_lineno + 1)}
    written = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in LAYOUT:
            written |= {*range(token.start[0], token.end[0] + 1)}
    return len(written - documented)


LAYOUT = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE),
    *(tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER),
}


def test_a_family_is_a_short_file():
    """Half of them have at most 60 lines of code: what families share is not written twice."""
    modules = {address.partition(":")[0] for address in (*FAMILIES.values(), *OF_TIMM.values())}
    files = [PACKAGE / "models" / f"{name.rpartition('.')[2]}.py" for name in modules]
    assert statistics.median(code_lines(file.read_text()) for file in files) <= 60


def test_lines_of_code_are_counted():
    text = (
        '"""What."""\n\n# why\nx = (\n    1,  # one\n)\n\ndef f():\n    """That."""\n    return x\n'
    )
    assert code_lines(text) == 5
