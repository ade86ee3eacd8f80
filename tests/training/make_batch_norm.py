"""Makes batch_norm.npz: some steps of SGD of a small ResNet in PyTorch, in training mode.

    python tests/training/make_batch_norm.py     (the extra `parity`)

Of each way to cut a batch into micro-batches, after which there is one step: the losses, and the
statistics of every batch norm behind the last step.
"""

from pathlib import Path

import numpy as np

MODEL = Path(__file__).parent.parent / "conformance" / "cases" / "resnet-classify"
FILE = Path(__file__).parent / "batch_norm.npz"
STEPS, ROWS, SIZE, RATE, CLASSES = 5, 6, 32, 0.05, 5
CUTS = (1, 3)
COUNTED = ("running_mean", "running_var", "num_batches_tracked")


def batches():
    """(images, labels) of each step."""
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        images = rng.normal(0.3, 1.5, size=(ROWS, 3, SIZE, SIZE)).astype(np.float32)
        yield images, rng.integers(CLASSES, size=ROWS)


def main():
    import torch
    from transformers import ResNetForImageClassification

    arrays = {}
    for cut in CUTS:
        model = ResNetForImageClassification.from_pretrained(MODEL).train()
        optimizer = torch.optim.SGD(model.parameters(), RATE)
        losses = []
        for images, labels in batches():
            optimizer.zero_grad()
            total = 0.0
            for part in range(cut):  # micro-batch n has rows n, n + cut, ...
                rows = slice(part, None, cut)
                given = torch.tensor(images[rows]), torch.tensor(labels[rows])
                loss = model(pixel_values=given[0], labels=given[1]).loss / cut
                loss.backward()
                total += loss.item()
            optimizer.step()
            losses.append(total)
        arrays[f"losses/{cut}"] = np.array(losses, np.float32)
        for name, value in model.state_dict().items():
            if name.endswith(COUNTED):
                arrays[f"{name}/{cut}"] = value.numpy()
    np.savez_compressed(FILE, **arrays)


if __name__ == "__main__":
    main()
