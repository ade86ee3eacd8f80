"""Makes grid.npz: grids of other sizes, as torch.nn.functional.interpolate computes them.

python tests/nn/make_grid.py       (needs the extra `parity`)
"""

from pathlib import Path

import numpy as np
import torch

SIZES = [(4, 3), (7, 7), (2, 5), (1, 1), (3, 4), (9, 2), (5, 6)]
KERNELS = [(kernel, alias) for kernel in ("bicubic", "bilinear") for alias in (False, True)]


def main():
    points = np.random.default_rng(0).normal(size=(5, 4, 2)).astype(np.float32)
    outputs = {"points": points}
    grid = torch.tensor(points).permute(2, 0, 1)[None]
    for size in SIZES:
        for kernel, antialias in KERNELS:
            resized = torch.nn.functional.interpolate(
                grid, size=size, mode=kernel, align_corners=False, antialias=antialias
            )
            name = f"{kernel}/{int(antialias)}/{size[0]}x{size[1]}"
            outputs[name] = resized[0].permute(1, 2, 0).numpy()
    np.savez(Path(__file__).parent / "grid.npz", **outputs)


if __name__ == "__main__":
    main()
