"""Makes a tiny GPT-2, a reference for it, and what TRL's DPOTrainer computes of both.

python tests/tasks/make_dpo.py       (needs the extra `parity`, and trl)

Of each format of records and each loss: the ids of the first batch, the loss, the figures, and of
one case the gradient, in the layout of a checkpoint.
"""

import json
import shutil
from pathlib import Path

import datasets
import numpy as np
import safetensors.torch
import tokenizers
import torch
import transformers
from trl import DPOConfig, DPOTrainer

FIXTURES = Path(__file__).parent / "dpo"
WORDS = (
    "<pad> <eos> <unk> user assistant : say it well why not yes no maybe so and then . !".split()
)
TEMPLATE = (
    "{% for m in messages %} {{ m.role }} : {{ m.content }} <eos>{% endfor %}"
    "{% if add_generation_prompt %} assistant :{% endif %}"
)
TALKS = [("say it", "yes .", "no maybe so !"), ("why not", "so then .", "no")]
USER = lambda text: {"role": "user", "content": text}
ASSISTANT = lambda text: {"role": "assistant", "content": text}
FORMATS = {
    "texts": [{"prompt": p, "chosen": f" {a}", "rejected": f" {b}"} for p, a, b in TALKS],
    "implicit": [{"chosen": f"{p} {a}", "rejected": f"{p} {b}"} for p, a, b in TALKS],
    "messages": [
        {"prompt": [USER(p)], "chosen": [ASSISTANT(a)], "rejected": [ASSISTANT(b)]}
        for p, a, b in TALKS
    ],
    "implicit_messages": [
        {"chosen": [USER(p), ASSISTANT(a)], "rejected": [USER(p), ASSISTANT(b)]}
        for p, a, b in TALKS
    ],
}
LOSSES = {
    "sigmoid": {"loss_type": "sigmoid", "beta": 0.1},
    "ipo": {"loss_type": "ipo", "beta": 0.4},
    "hinge": {"loss_type": "hinge", "beta": 0.3},
}
FIGURES = {
    "rewards/chosen": "chosen_reward",
    "rewards/rejected": "rejected_reward",
    "rewards/accuracies": "accuracy",
    "rewards/margins": "margin",
    "logps/chosen": "chosen_log_prob",
    "logps/rejected": "rejected_log_prob",
}


def tokenizer():
    inner = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unk>")
    )
    inner.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>",
        chat_template=TEMPLATE,
    )  # fmt: skip


def model(seed):
    torch.manual_seed(seed)
    config = transformers.GPT2Config(
        vocab_size=len(WORDS), n_positions=24, n_embd=8, n_layer=2, n_head=2, bos_token_id=None,
        eos_token_id=1, initializer_range=0.4,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config)


def computed(records, settings, work):
    """(the batch, loss and figures, the model with its gradient) of TRL."""
    arguments = DPOConfig(
        output_dir=str(work), per_device_train_batch_size=2, report_to=[], use_cpu=True,
        bf16=False, gradient_checkpointing=False, **settings,
    )  # fmt: skip
    trainer = DPOTrainer(
        model(0), model(1), args=arguments, train_dataset=datasets.Dataset.from_list(records),
        processing_class=tokenizer(),
    )  # fmt: skip
    batch = trainer.data_collator([trainer.train_dataset[n] for n in range(len(records))])
    trainer.model.train()
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    figures = {ours: trainer._metrics["train"][theirs][-1] for theirs, ours in FIGURES.items()}
    ids = {name: batch[name].tolist() for name in ("input_ids", "completion_mask")}
    return {**ids, "figures": {"loss": loss.item(), **figures}}, trainer.model


def main():
    shutil.rmtree(FIXTURES, ignore_errors=True)
    work = FIXTURES / "work"
    for name, seed in (("model", 0), ("reference", 1)):
        model(seed).save_pretrained(FIXTURES / name)
        tokenizer().save_pretrained(FIXTURES / name)
    cases = {}
    for form, records in FORMATS.items():
        for loss, settings in LOSSES.items():
            if form == "texts" or loss == "sigmoid":
                found, trained = computed(records, settings, work)
                cases[f"{form}-{loss}"] = {"records": records, "settings": settings, **found}
                if form == "texts" and loss == "sigmoid":
                    trained.config.save_pretrained(FIXTURES / "gradient")
                    grads = {n: p.grad.clone() for n, p in trained.named_parameters()}
                    safetensors.torch.save_file(
                        grads, FIXTURES / "gradient" / "model.safetensors", {"format": "pt"}
                    )
    shutil.rmtree(work, ignore_errors=True)
    for file in FIXTURES.rglob("generation_config.json"):
        file.unlink()
    (FIXTURES / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")
    print({name: np.round(case["figures"]["loss"], 6) for name, case in cases.items()})


if __name__ == "__main__":
    main()
