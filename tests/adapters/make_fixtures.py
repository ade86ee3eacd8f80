"""Makes adapters of PEFT over models of tests/conformance/cases, and what PyTorch computes of them.

python tests/adapters/make_fixtures.py [NAME ...]       (needs the extra `parity`, and peft)
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

FIXTURES = Path(__file__).parent / "fixtures"
CASES = Path(__file__).parents[1] / "conformance" / "cases"
EXPERTS = r".*\.expert_\d+\.(wi|wo)"


def lora(targets, **settings):
    return peft.LoraConfig(r=3, lora_alpha=6, target_modules=targets, **settings)


CHOSEN = {  # name: (case, config)
    "gpt2-lora": ("gpt2", lora(["c_attn", "c_proj"], fan_in_fan_out=True, task_type="CAUSAL_LM")),
    "gpt2-dora": ("gpt2", lora(["c_attn", "c_fc"], fan_in_fan_out=True, use_dora=True)),
    "gpt2-table": ("gpt2", lora(["wte", "attn.c_proj"], fan_in_fan_out=True)),
    "gpt2-ia3": (
        "gpt2",
        peft.IA3Config(
            target_modules=["c_attn", "mlp.c_proj"],
            feedforward_modules=["mlp.c_proj"],
            fan_in_fan_out=True,
        ),
    ),
    "bert-lora": ("bert-sequence", lora(["query", "value"], lora_dropout=0.1, task_type="SEQ_CLS")),
    "bert-ia3": (
        "bert-sequence",
        peft.IA3Config(
            target_modules=["key", "value", "output.dense"], feedforward_modules=["output.dense"]
        ),
    ),
    "llama-lora": ("llama", lora(["q_proj", "v_proj"], layers_to_transform=[1], bias="none")),
    "llama-rslora": (
        "llama",
        lora(
            "all-linear",
            use_rslora=True,
            rank_pattern={"layers.1.self_attn.q_proj": 5, "down_proj": 2},
            alpha_pattern={"layers.0.mlp.gate_proj": 9},
            task_type="CAUSAL_LM",
        ),
    ),
    "llama-dora": ("llama", lora(["q_proj", "down_proj"], use_dora=True)),
    "llama-tables": ("llama", lora(["embed_tokens", "lm_head", "up_proj"])),
    "llama-parameters": ("llama", lora([], target_parameters=["k_proj.weight", "o_proj.weight"])),
    "t5-lora": ("t5-v1.1", lora(["q", "v", "wi_0", "wo"], task_type="SEQ_2_SEQ_LM")),
    "bart-lora": ("bart", lora(["q_proj", "fc1"], bias="lora_only")),
    "switch-experts": ("switch", lora(EXPERTS)),
    "switch-parameters": (
        "switch",
        lora(["q"], target_parameters=["expert_1.wi.weight", "expert_2.wo.weight"]),
    ),
    "deberta-v2-lora": ("deberta-v2-tokens", lora(["query_proj", "key_proj", "dense"])),
    "modernbert-lora": ("modernbert-mlm", lora(["Wqkv", "Wi", "Wo"])),
    "vit-lora": ("vit-classify", lora(["projection", "classifier"])),
}


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
    for path, parameter in model.named_parameters():
        if parameter.requires_grad:
            around = 1.0 if "ia3_l" in path or "magnitude" in path else 0.0
            noise = torch.randn_like(parameter) * (0.3 if around else 0.2)
            parameter.data = (parameter.data if "magnitude" in path else around) + noise
    takes = inspect.signature(base.forward).parameters
    with np.load(source / "inputs.npz") as inputs:
        inputs = {n: torch.from_numpy(x) for n, x in inputs.items() if n in takes}
    output = model(**inputs)
    logits = output.logits
    # a loss of the logits alone, which needs no labels; those of padding do not count
    loss = logits * torch.linspace(-1, 1, logits.numel()).reshape(logits.shape)
    with np.load(source / "outputs.npz") as outputs:
        if "logits__valid" in outputs:
            loss = loss * torch.from_numpy(outputs["logits__valid"])[..., None]
    loss.sum().backward()
    gradients = {}
    for path, parameter in model.named_parameters():
        if parameter.requires_grad:
            gradients[path.replace(".default", "").replace(".modules_to_save", "")] = parameter.grad
    for config in model.peft_config.values():  # no path of the machine
        config.base_model_name_or_path = f"tests/conformance/cases/{case}"
    model.save_pretrained(folder)
    (folder / "README.md").unlink()
    merged = model.merge_and_unload()(**inputs).logits
    arrays = {"logits": logits, "merged": merged}
    arrays |= {f"gradient {path}": value for path, value in gradients.items() if value is not None}
    np.savez_compressed(
        folder / "outputs.npz", **{n: x.detach().numpy() for n, x in arrays.items()}
    )
    (folder / "case.json").write_text(json.dumps({"case": case}) + "\n")
    print(name, float((logits - merged).abs().max()), len(gradients))


if __name__ == "__main__":
    for chosen in sys.argv[1:] or CHOSEN:
        make(chosen)
