"""Facts about every family: read from the code, and from measured results.

`tests/conformance/results.json` holds the measured part; `python -m tests.docs.measure_zoo` writes
it anew for cases that are new or have changed.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import io
import json
import re
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers_jax.models import DIFFUSERS, FAMILIES, MODULES, TIMM
from transformers_jax.models.base import Plan
from transformers_jax.models.electra import ElectraConfig
from transformers_jax.objectives import OBJECTIVES

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests" / "conformance" / "cases"
FIXTURES = ROOT / "tests" / "families" / "fixtures"
RESULTS = ROOT / "tests" / "conformance" / "results.json"
MODELS = ROOT / "transformers_jax" / "models"

TIMM_KINDS = {f"timm {start}*": address for start, address in TIMM.items()}
KINDS = {**FAMILIES, **MODULES, **DIFFUSERS, **TIMM_KINDS}
"""All families: by `model_type`, module or class of diffusers, and those of timm by how their
architectures begin."""
SAVED = ("same bytes", "current names")
NAMES = {
    "blip": "BLIP",
    "blip-2": "BLIP-2",
    "blip_2_qformer": "Q-Former",
    "dinov2_with_registers": "DINOv2 with registers",
    "llava": "LLaVA",
    "paligemma": "PaliGemma",
    "siglip": "SigLIP",
    "siglip2": "SigLIP 2",
    "speech-encoder-decoder": "speech encoder-decoder",
    "timm mixer_*": "timm's MLP-Mixer",
    "timm vit_*": "timm's ViT and hybrids",
    "vision-encoder-decoder": "vision encoder-decoder",
    "vision-text-dual-encoder": "vision-text dual encoder",
}
"""Of families whose configs do not say it."""
OF_SENSES = ("images, and images with texts", "sound", "actions")
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
    """The kind of the config.json of a case."""
    config = json.loads((CASES / case / "config.json").read_text())
    if "architecture" in config and not {"module", "model_type"} & set(config):
        return next(f"timm {s}*" for s in TIMM if config["architecture"].startswith(s))
    return config.get("_class_name", config.get("module", config.get("model_type")))


def towers_of_cases() -> set[str]:
    """The `model_type` of every config that stands in the config.json of a case."""
    configs = [json.loads((case / "config.json").read_text()) for case in CASES.iterdir()]
    parts = [part for config in configs for part in config.values() if isinstance(part, dict)]
    return {str(part.get("model_type")) for part in parts}


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
        if self.kind in NAMES:
            return NAMES[self.kind]
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
        if {"pixel_values", "x", "timestep"} & self.arguments:
            return "images, and images with texts"
        if "input_values" in self.arguments:
            return "sound"
        if "returns_to_go" in self.arguments:
            return "actions"
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
        """Whether what is embedded first are ids, and nothing else is."""
        return "input_ids" in self.arguments and self.shape not in OF_SENSES

    @functools.cached_property
    def arguments(self) -> frozenset[str]:
        """Those of a call of its first case."""
        config = self.config.from_pretrained(CASES / next(iter(self.cases)))
        head = next((head for head in self.heads), "none")
        return frozenset(Plan(config, head).build().arguments())

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
    """All of them: by shape, then by `model_type`. The towers of a family that have no case of
    their own (SigLIP's) are measured with it."""
    measured, entries = results(), []
    inside = towers_of_cases()
    for kind, home in KINDS.items():
        file, attribute = home.split(":")
        config = getattr(importlib.import_module(f"transformers_jax.models.{file}"), attribute)
        own = {
            part: {n: r for n, r in measured[part].items() if r["family"] == kind}
            for part in ("cases", "steps")
        }
        if kind in inside and not own["cases"]:
            continue
        entries.append(Family(kind, config, MODELS / f"{file}.py", **own))
    order = ("encoders", "decoders", "encoder-decoders", *OF_SENSES, "modules of PyTorch code")
    return sorted(entries, key=lambda f: (order.index(f.shape), f.kind))
