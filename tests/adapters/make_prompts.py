"""Makes adapters of PEFT that are virtual tokens, over models of tests/conformance/cases, and what
PyTorch computes of them.

python tests/adapters/make_prompts.py [NAME ...]       (needs the extra `parity`, and peft)
"""

import inspect
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import peft
import torch
import transformers

FIXTURES = Path(__file__).parent / "prompts"
CASES = Path(__file__).parents[1] / "conformance" / "cases"
WORDS = 6  # of the generated text


def prompt(**settings):
    return peft.PromptTuningConfig(num_virtual_tokens=3, **settings)


def prefix(**settings):
    return peft.PrefixTuningConfig(num_virtual_tokens=3, **settings)


CHOSEN = {  # name: (case, config)
    "gpt2-prompt": ("gpt2", prompt(task_type="CAUSAL_LM")),
    "gpt2-prefix": ("gpt2", prefix(task_type="CAUSAL_LM")),
    "gpt2-projection": (
        "gpt2",
        prefix(task_type="CAUSAL_LM", prefix_projection=True, encoder_hidden_size=5),
    ),
    "llama-prompt": ("llama", prompt(task_type="CAUSAL_LM")),
    "llama-prefix": ("llama", prefix(task_type="CAUSAL_LM")),
    "bert-prompt": ("bert-sequence", prompt(task_type="SEQ_CLS")),
    "bert-prefix": ("bert-sequence", prefix(task_type="SEQ_CLS")),
    "roberta-prompt": ("roberta-sequence", prompt(task_type="SEQ_CLS")),
    "modernbert-prompt": ("modernbert-sequence", prompt(task_type="SEQ_CLS")),
    "t5-prompt": ("t5-v1.1", prompt(task_type="SEQ_2_SEQ_LM")),
    "t5-prefix": ("t5-v1.1", prefix(task_type="SEQ_2_SEQ_LM", token_dim=32)),
}


def with_prefix(model, inputs):
    """The logits of a classifier with a prefix. PEFT 0.21 looks for an argument that encoders have
    under another name since transformers 5.20; this is what it would call."""
    base = model.get_base_model()
    count = model.active_peft_config.num_virtual_tokens
    ones = torch.ones(len(inputs["input_ids"]), count)
    inputs = dict(inputs, attention_mask=torch.cat([ones, inputs["attention_mask"]], 1))
    out = base.bert(**inputs, cache=model.get_prompt(len(ones)))
    return base.classifier(out.pooler_output)


def make(name):
    case, config = CHOSEN[name]
    folder, source = FIXTURES / name, CASES / case
    shutil.rmtree(folder, ignore_errors=True)
    architecture = json.loads((source / "config.json").read_text())["architectures"][0]
    base = (
        getattr(transformers, architecture)
        .from_pretrained(source, attn_implementation="eager")
        .eval()
    )
    torch.manual_seed(sum(name.encode()))
    model = peft.get_peft_model(base, config).eval()
    takes = {*inspect.signature(base.forward).parameters} - {"labels"}
    with np.load(source / "inputs.npz") as inputs:
        inputs = {n: torch.from_numpy(x) for n, x in inputs.items() if n in takes}
    logits = with_prefix(model, inputs) if name == "bert-prefix" else model(**inputs).logits
    arrays = {"logits": logits[:, -logits.shape[1] + 3 :] if wide(logits, inputs) else logits}
    loss = arrays["logits"] * torch.linspace(-1, 1, arrays["logits"].numel()).reshape(
        arrays["logits"].shape
    )
    with np.load(source / "outputs.npz") as outputs:
        if "logits__valid" in outputs:
            loss = loss * torch.from_numpy(outputs["logits__valid"])[..., None]
    loss.sum().backward()
    if not getattr(config, "prefix_projection", False):
        arrays["gradient"] = model.prompt_encoder["default"].embedding.weight.grad
    if case in ("gpt2", "llama"):
        # PEFT 0.21 does not find the cache of transformers 5.20 and later, so that it puts the
        # tokens in front anew at each step of `generate`: the best word of whole rows instead
        text = inputs["input_ids"][:, :7]
        for _ in range(WORDS):
            best = model(input_ids=text).logits[:, -1].argmax(-1, keepdim=True)
            text = torch.cat([text, best], 1)
        arrays["text"] = text[:, -WORDS:]
    for config in model.peft_config.values():  # no path of the machine
        config.base_model_name_or_path = f"tests/conformance/cases/{case}"
    model.save_pretrained(folder)
    (folder / "README.md").unlink()
    np.savez_compressed(
        folder / "outputs.npz", **{n: x.detach().numpy() for n, x in arrays.items()}
    )
    (folder / "case.json").write_text(json.dumps({"case": case}) + "\n")
    print(name, {n: tuple(x.shape) for n, x in arrays.items()})


def wide(logits, inputs):
    """Whether logits are those of virtual tokens as well."""
    tokens = inputs.get("decoder_input_ids", inputs["input_ids"]).shape[1]
    return logits.ndim == 3 and logits.shape[1] == tokens + 3


if __name__ == "__main__":
    for chosen in sys.argv[1:] or CHOSEN:
        make(chosen)
