"""Makes ctc.npz: what torch says of the loss of connectionist temporal classification.

python tests/nn/make_ctc.py       (needs the extra `parity`)
"""

from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import ctc_loss, log_softmax

FILE = Path(__file__).parent / "ctc.npz"
TEXTS = ([1, 2, 3], [], [2, 2, 2], [4], [1, 1, 2, 2, 3, 3, 4], [3, 4, 3])
LENGTHS = (9, 9, 5, 1, 9, 4)  # three equal symbols need five frames; seven with three pairs, ten


def main():
    rng = np.random.default_rng(0)
    logits = torch.tensor(2 * rng.normal(size=(len(TEXTS), 9, 5)), requires_grad=True)
    scores = log_softmax(logits, -1).transpose(0, 1)
    counts = torch.tensor([len(text) for text in TEXTS])
    flat = torch.tensor([symbol for text in TEXTS for symbol in text])
    arguments = (scores, flat, torch.tensor(LENGTHS), counts)
    each = ctc_loss(*arguments, blank=0, reduction="none")
    arrays = {"logits": logits.detach().numpy(), "lengths": np.array(LENGTHS)}
    arrays["labels"] = np.full((len(TEXTS), 7), -100)
    for row, text in zip(arrays["labels"], TEXTS):
        row[: len(text)] = text
    arrays["each"] = each.detach().numpy()
    for reduction in ("sum", "mean"):
        loss = ctc_loss(*arguments, blank=0, reduction=reduction, zero_infinity=True)
        (gradient,) = torch.autograd.grad(loss, logits, retain_graph=True)
        arrays |= {reduction: loss.detach().numpy(), f"{reduction}_gradient": gradient.numpy()}
    np.savez(FILE, **arrays)


if __name__ == "__main__":
    main()
