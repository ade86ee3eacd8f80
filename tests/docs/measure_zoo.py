"""Measures what docs/zoo.md says: every conformance case, its export, every step of training.

    python -m tests.docs.measure_zoo [--all | CASE ...]

Without a name the cases and fixtures that are new, changed or without a good result; then
`TRANSFORMERS_JAX_WRITE_DOCS=1 python -m pytest tests/docs/test_zoo_docs.py` writes the page.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.conformance import precision
from tests.conformance.test_conformance import load
from tests.docs import zoo
from tests.families import test_gradients, test_round_trip
from transformers_jax.pretrained import from_pretrained


def case_result(name: str) -> dict[str, Any]:
    """How a case conforms: status, worst output, its share of the tolerance and its error."""
    folder = zoo.CASES / name
    case = json.loads((folder / "case.json").read_text())
    report = load("check").check(folder, case, load("adapter"), slack=1.0)
    result = {key: report[key] for key in ("status", "key", "used", "relative") if key in report}
    if report["status"] != "ok":
        result["why"] = report["why"]
    if name in precision.pytorch_errors():
        result["bfloat16"] = precision_result(name)
    return {"architecture": case["architecture"], **result, "export": export_result(name)}


def precision_result(name: str) -> float:
    """The error of bfloat16, divided by PyTorch's."""
    folder, logits = zoo.CASES / name, []
    ids = precision.ids_of(json.loads((folder / "config.json").read_text()))
    for dtype in ("bfloat16", "float32"):
        model = from_pretrained(folder, dtype=dtype, head="causal_lm")
        logits.append(np.asarray(model(input_ids=ids).logits).astype(np.float32))
    return precision.error(*logits) / precision.pytorch_errors()[name]


def export_result(name: str) -> str:
    """What becomes of a case that is loaded and saved: "same bytes" or "current names"."""
    case = zoo.CASES / name
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder) / "first", Path(folder) / "second"
        try:
            test_round_trip.load(name).save_pretrained(first)
            written = test_round_trip.tensors(first)
            if written == test_round_trip.tensors(case):
                return "same bytes"
            from_pretrained(first, dtype="auto").save_pretrained(second)
            same = test_round_trip.tensors(second) == written
        except Exception as error:  # a failure is a result, not the end
            return f"{type(error).__name__}: {error}"[:200]
    return "current names" if same and name in test_round_trip.OLDER else "differs"


def step_result(name: str) -> dict[str, Any]:
    """The relative error of the loss, of the worst gradient and of the worst parameter."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            errors = test_gradients.errors(zoo.FIXTURES / f"{name}.npz", Path(folder))
        except Exception as error:  # a failure is a result, not the end
            return {"status": f"{type(error).__name__}: {error}"[:200]}
    return {kind: float(error) for kind, (error, _) in errors.items()}


def rounded(values: dict[str, Any]) -> dict[str, Any]:
    """Numbers with two digits: more is not reproducible."""
    return {k: float(f"{v:.1e}") if isinstance(v, float) else v for k, v in values.items()}


def main(arguments: list[str]) -> None:
    """See the head of the file."""
    there, measured = zoo.present(), zoo.results()
    old = {f"{kind}/{name}" for kind, names in there.items() for name in names}
    if arguments != ["--all"]:
        named = {key for key in old if key.split("/")[1] in arguments}
        old = named if arguments else set(zoo.unmeasured(measured, there))
    for kind, measure in (("cases", case_result), ("steps", step_result)):
        removed = set(measured[kind]) - set(there[kind])
        measured[kind] = {n: r for n, r in sorted(measured[kind].items()) if n not in removed}
        for name, content in there[kind].items():
            if f"{kind}/{name}" in old and zoo.family_of(name) in zoo.KINDS:
                known = {"family": zoo.family_of(name), "digest": content}
                measured[kind][name] = known | rounded(measure(name))
                print(kind, name, measured[kind][name], flush=True)
            zoo.RESULTS.write_text(json.dumps(measured, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
