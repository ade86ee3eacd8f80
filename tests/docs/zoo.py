"""Facts about every family: read from the code, and from measured results.

`tests/conformance/results.json` holds the measured part; `python -m tests.docs.measure_zoo` writes
it anew for cases that are new or have changed.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import io
import json
import re
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers_jax.models import FAMILIES, MODULES
from transformers_jax.models.base import Plan
from transformers_jax.models.electra import ElectraConfig
from transformers_jax.objectives import OBJECTIVES

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests" / "conformance" / "cases"
FIXTURES = ROOT / "tests" / "families" / "fixtures"
RESULTS = ROOT / "tests" / "conformance" / "results.json"
MODELS = ROOT / "transformers_jax" / "models"

SAVED = ("same bytes", "current names")
SPACE = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
    *(tokenize.ENCODING, tokenize.ENDMARKER),
}


def code_lines(text: str) -> int:
    """How many lines of a file are code, imports and the rows of tables among them: no comment,
    docstring or blank line."""
    lines = text.splitlines()
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in SPACE:
            code |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if is_docstring(node):
            code -= set(range(node.lineno, node.end_lineno + 1))
    return sum(1 for number in code if lines[number - 1].strip())


def is_docstring(node: ast.AST) -> bool:
    """Whether a node is a text that stands by itself."""
    text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return text and isinstance(node.value.value, str)


def digest(files: list[Path]) -> str:
    """A short name of the content of files."""
    checksum = hashlib.sha256()
    for file in files:
        checksum.update(file.name.encode() + b"\0" + file.read_bytes())
    return checksum.hexdigest()[:12]


def present() -> dict[str, dict[str, str]]:
    """{"cases": {name: digest}, "steps": {name: digest}} of the cases and fixtures that exist."""
    cases = sorted(path.parent for path in CASES.glob("*/case.json"))
    return {
        "cases": {c.name: digest([f for f in sorted(c.rglob("*")) if f.is_file()]) for c in cases},
        "steps": {file.stem: digest([file]) for file in sorted(FIXTURES.glob("*.npz"))},
    }


def results() -> dict[str, dict[str, dict[str, Any]]]:
    """What has been measured, by kind and by name."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {"cases": {}, "steps": {}}


def is_good(result: dict[str, Any]) -> bool:
    """Whether a case conforms and is written back, or a step was measured."""
    saved = result.get("export", SAVED[0]) in SAVED
    return saved and result.get("status", "ok") == "ok"


def unmeasured(measured: dict[str, Any], there: dict[str, dict[str, str]]) -> list[str]:
    """Cases and fixtures without a good result of their content, and results of removed ones."""
    missing = []
    for kind, digests in there.items():
        known = {name: r["digest"] for name, r in measured[kind].items() if is_good(r)}
        changed = {name for name in digests.keys() | known if digests.get(name) != known.get(name)}
        missing += sorted(f"{kind}/{name}" for name in changed)
    return missing


def family_of(case: str) -> str:
    """The `model_type` or the `module` in the config.json of a case."""
    config = json.loads((CASES / case / "config.json").read_text())
    return config.get("module", config.get("model_type"))


@dataclass(frozen=True)
class Family:
    """One row of the zoo.

    Attributes:
        kind: the `model_type`, or the module's name.
        cases: results of its conformance cases, by name.
        steps: results of its steps of training, by name.
    """

    kind: str
    config: type
    file: Path
    cases: dict[str, dict[str, Any]]
    steps: dict[str, dict[str, Any]]

    @property
    def name(self) -> str:
        """As people write it: "GPT-2"."""
        text = self.config.__doc__ or ""
        fields, arguments = r"The fields of an? (.+?) config\.json", r"The arguments of (.+?)\.$"
        for form in (fields, arguments, r"(The .+?);"):
            if match := re.match(form, text):
                return match[1]
        return self.kind if self.kind in MODULES else self.config.__name__.removesuffix("Config")

    @property
    def source(self) -> str:
        """The paper: "Radford et al. 2019"."""
        for text in (self.config.__doc__ or "", ast.get_docstring(ast.parse(self.text)) or ""):
            if match := re.search(r"\(([^()]*(?:et al\.| and )[^()]*)\)", text):
                return " ".join(re.sub(r', (section|").*', "", match[1], flags=re.S).split())
        return ""

    @property
    def text(self) -> str:
        """The family's file."""
        return self.file.read_text()

    @property
    def heads(self) -> tuple[str, ...]:
        """Its heads, but for none."""
        return tuple(dict.fromkeys(h for h in self.config.HEADS.values() if h != "none"))

    @property
    def shape(self) -> str:
        """How it differs from the others."""
        if self.kind in MODULES:
            return "modules of PyTorch code"
        if {"image_classification", "contrastive", "projection"} & set(self.heads):
            return "images, and images with texts"
        if self.config.is_encoder_decoder is True or "seq2seq_lm" in self.heads:
            return "encoder-decoders"
        only_decodes = "causal_lm" in self.heads and "masked_lm" not in self.heads
        return "decoders" if only_decodes else "encoders"

    @property
    def objectives(self) -> list[str]:
        """The objectives whose head it has."""
        return [n for n, record in OBJECTIVES.items() if self.can_learn(record) and self.reads_text]

    @property
    def reads_text(self) -> bool:
        """Whether what is embedded first are ids."""
        head = next((head for head in self.heads), "none")
        return "input_ids" in Plan(self.config(), head).build().arguments()

    def can_learn(self, record: Any) -> bool:
        """Whether it has the head of an objective."""
        if record.head == "replaced_token_detection":
            heads = self.config.HEADS.values()
            return issubclass(self.config, ElectraConfig) and "replaced_token" in heads
        return record.head in self.heads

    @property
    def generates(self) -> str:
        """How its cases generate: "greedy, beams"."""
        modes = set()
        for name in self.cases:
            calls = json.loads((CASES / name / "case.json").read_text())["calls"]
            for call in calls:
                if call["method"] in ("generate", "translate"):
                    modes.add("beams" if call["kwargs"].get("num_beams", 1) > 1 else "greedy")
        return ", ".join(sorted(modes, reverse=True))

    @property
    def can_generate(self) -> bool:
        """Whether it has a head that generates."""
        return bool({"causal_lm", "seq2seq_lm"} & set(self.heads))


def families() -> list[Family]:
    """All of them: by shape, then by `model_type`."""
    measured, entries = results(), []
    for kind, home in {**FAMILIES, **MODULES}.items():
        file, attribute = home.split(":")
        config = getattr(importlib.import_module(f"transformers_jax.models.{file}"), attribute)
        own = {
            part: {n: r for n, r in measured[part].items() if r["family"] == kind}
            for part in ("cases", "steps")
        }
        entries.append(Family(kind, config, MODELS / f"{file}.py", **own))
    order = ("encoders", "decoders", "encoder-decoders", "images, and images with texts")
    order += ("modules of PyTorch code",)
    return sorted(entries, key=lambda f: (order.index(f.shape), f.kind))
