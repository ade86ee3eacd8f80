"""How the checker calls the package: only through its public interface."""

import numpy as np

import transformers_jax as tj


def run(case_dir, case, inputs):
    """All outputs that case.json describes."""
    model = tj.from_pretrained(case_dir, head=case["architecture"])
    model_inputs = {name: inputs[name] for name in case["forward"]["inputs"]}
    outputs = flat(model(**model_inputs, **case["forward"]["kwargs"]))
    for call in case["calls"]:
        arguments = {name: inputs[key] for name, key in call["inputs"].items()}
        result = getattr(model, call["method"])(**arguments, **call["kwargs"])
        if not hasattr(result, "items"):
            result = {"sequences": result}
        outputs[call["output"]] = np.asarray(result[call.get("field") or "sequences"])
        if "sequences_scores" in result:
            outputs[call["output"] + "_scores"] = np.asarray(result["sequences_scores"])
    return outputs


def flat(fields, prefix=""):
    """Fields by name, tuples numbered: hidden_states_0, ..."""
    outputs = {}
    for name, value in fields.items():
        if isinstance(value, tuple):
            outputs |= {f"{prefix}{name}_{i}": np.asarray(part) for i, part in enumerate(value)}
        elif hasattr(value, "items"):
            outputs |= flat(value, f"{prefix}{name}.")
        else:
            outputs[prefix + name] = np.asarray(value)
    return outputs
