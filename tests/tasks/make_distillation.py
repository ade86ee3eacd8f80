"""Makes tiny teachers and students, and the terms of distillation as PyTorch computes them.

python tests/tasks/make_distillation.py       (needs the extra `parity`)

Of a classifier and of a masked language model (BERT): each term of the loss by the formulas of
DistilBERT's distiller (KLDivLoss "batchmean" times T^2, CosineEmbeddingLoss), of MiniLM (KL of
attention) and of TinyBERT (mean squared error of attention), and the gradient of their weighted
sum by the parameters of the student, in the layout of a checkpoint.
"""

import shutil
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
import transformers

FIXTURES = Path(__file__).parent / "distillation"
TEMPERATURE = 2.0
WEIGHTS = {"kl_loss": 5.0, "label_loss": 2.0, "cosine_loss": 1.0, "attention_loss": 0.7}
LAYERS = (0, 2)  # of the teacher, for the two of the student
KINDS = {
    "classes": transformers.BertForSequenceClassification,
    "words": transformers.BertForMaskedLM,
}


def model(kind, depth, seed):
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=depth, num_attention_heads=2,
        intermediate_size=12, max_position_embeddings=12, num_labels=3, initializer_range=0.5,
        attn_implementation="eager",
    )  # fmt: skip
    return KINDS[kind](config).eval()


def batch(kind):
    draw = np.random.default_rng(3)
    ids = torch.tensor(draw.integers(1, 20, (3, 9)))
    mask = (torch.arange(9) < torch.tensor([[9], [5], [7]])).long()
    labels = torch.tensor([2, 0, 1])
    if kind == "words":
        labels = torch.where(torch.tensor(draw.random((3, 9)) < 0.4) & (mask > 0), ids, -100)
    return {"input_ids": ids * mask, "attention_mask": mask, "labels": labels}


def terms(kind, student, teacher, inputs):
    """The terms, not weighted."""
    read = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    options = dict(output_hidden_states=True, output_attentions=True)
    ours = student(**read, **options)
    with torch.no_grad():
        theirs = teacher(**read, **options)
    counted = inputs["attention_mask"] > 0
    rows = counted if kind == "words" else torch.ones(len(counted), dtype=bool)
    kl = torch.nn.KLDivLoss(reduction="batchmean")(
        F.log_softmax(ours.logits[rows] / TEMPERATURE, dim=-1),
        F.softmax(theirs.logits[rows] / TEMPERATURE, dim=-1),
    )
    cosine, attention, squared = [], [], []
    for own, other in enumerate(LAYERS):
        a, b = ours.hidden_states[own + 1][counted], theirs.hidden_states[other + 1][counted]
        cosine.append(torch.nn.CosineEmbeddingLoss()(a, b, torch.ones(len(a))))
        a, b = ours.attentions[own], theirs.attentions[other]
        each = (b * (torch.log(b.clamp(min=1e-12)) - torch.log(a.clamp(min=1e-12)))).sum(-1)
        attention.append(each.mean(1)[counted].mean())
        squared.append(((a - b) ** 2).mean((1, 3))[counted].mean())
    labels = inputs["labels"].reshape(-1)
    return {
        "kl_loss": kl * TEMPERATURE**2,
        "label_loss": F.cross_entropy(ours.logits.reshape(len(labels), -1), labels),
        "cosine_loss": torch.stack(cosine).mean(),
        "attention_loss": torch.stack(attention).mean(),
        "squared": torch.stack(squared).mean(),
    }


def main():
    shutil.rmtree(FIXTURES, ignore_errors=True)
    figures = {}
    for kind in KINDS:
        student, teacher, inputs = model(kind, 2, 0), model(kind, 3, 1), batch(kind)
        for name, one in (("student", student), ("teacher", teacher)):
            one.save_pretrained(FIXTURES / f"{kind}-{name}")
        found = terms(kind, student, teacher, inputs)
        sum(weight * found[name] for name, weight in WEIGHTS.items()).backward()
        folder = FIXTURES / f"{kind}-gradient"
        student.config.save_pretrained(folder)
        grads = {n: p.grad.clone() for n, p in student.named_parameters() if p.grad is not None}
        safetensors.torch.save_file(grads, folder / "model.safetensors", {"format": "pt"})
        figures |= {f"{kind}/{name}": value.detach().numpy() for name, value in found.items()}
        figures |= {f"{kind}/batch/{name}": x.numpy() for name, x in inputs.items()}
    np.savez(FIXTURES / "figures.npz", **figures)
    print({name: float(x) for name, x in figures.items() if x.ndim == 0})


if __name__ == "__main__":
    main()
