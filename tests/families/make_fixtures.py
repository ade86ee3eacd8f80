"""Makes the fixtures of test_gradients.py: what PyTorch says of one step of training.

    python tests/families/make_fixtures.py [CASE ...]       (needs the extra `parity`)

For a conformance case of each family: the loss, the gradient of the loss by every parameter, and
every parameter after one step of AdamW, in float32, without dropout. Names are PyTorch's.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import load_file
from torch import nn

HERE = Path(__file__).parent
CASES = HERE.parent / "conformance" / "cases"
CHOSEN = (
    *("bert-pretraining", "roberta-mlm", "electra-discriminator", "gpt2", "llama"),
    *("t5-v1.1", "bart", "attention-is-all-you-need"),
    *("modernbert-mlm", "longformer-mlm", "big-bird-mlm"),
)
# eps is larger than usual, because key biases have no gradient but rounding, which must not count
ADAMW = dict(lr=1e-3, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.1)


class Translator(nn.Module):
    """The 2017 Transformer in torch's own modules; names as in the checkpoint."""

    def __init__(self, vocab_size, module=None, **settings):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, settings["d_model"])
        self.transformer = nn.Transformer(**settings, batch_first=True)

    def embed(self, ids):
        width = self.embedding.embedding_dim
        pair = torch.arange(0, width, 2) / width
        angle = torch.arange(ids.shape[1])[:, None] / 10000**pair
        waves = torch.stack([angle.sin(), angle.cos()], -1).flatten(1)
        return self.embedding(ids) * math.sqrt(width) + waves

    def forward(self, source_ids, source_mask, target_ids):
        later = torch.ones(target_ids.shape[1], target_ids.shape[1], dtype=torch.bool).triu(1)
        padding = source_mask == 0
        hidden = self.transformer(
            self.embed(source_ids),
            self.embed(target_ids),
            tgt_mask=later,
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
        )
        loss = nn.functional.cross_entropy(
            (hidden @ self.embedding.weight.T).flatten(0, 1), target_ids.flatten()
        )
        return {"loss": loss}


def load(folder, case):
    """The model of a case, without dropout."""
    if case["library"] != "transformers":
        model = Translator(**json.loads((folder / "config.json").read_text()))
        model.load_state_dict(load_file(folder / "model.safetensors"))
        return model.eval()
    found = getattr(transformers, case["architecture"]).from_pretrained(folder, dtype=torch.float32)
    return found.eval()


def main():
    for name in sys.argv[1:] or CHOSEN:
        folder = CASES / name
        case = json.loads((folder / "case.json").read_text())
        model = load(folder, case)
        inputs = dict(np.load(folder / "inputs.npz"))
        given = {key: torch.tensor(inputs[key]) for key in case["forward"]["inputs"]}
        optimizer = torch.optim.AdamW(model.parameters(), **ADAMW)
        loss = model(**given)["loss"]
        loss.backward()
        found = {"loss": loss.detach().numpy()}
        for path, parameter in model.named_parameters():
            if parameter.grad is None:  # read by no loss (BigBird's pooler)
                parameter.grad = torch.zeros_like(parameter)
            found[f"gradient/{path}"] = parameter.grad.numpy().copy()
        optimizer.step()
        for path, parameter in model.named_parameters():
            found[f"after/{path}"] = parameter.detach().numpy()
        np.savez(HERE / "fixtures" / f"{name}.npz", **found)


if __name__ == "__main__":
    main()
