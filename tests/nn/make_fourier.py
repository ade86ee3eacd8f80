"""Makes fourier.npz: Fourier features of grids and of points of them, as transformers has them.

python tests/nn/make_fourier.py       (needs the extra `parity`)
"""

from pathlib import Path

import numpy as np
import torch
from transformers.models.perceiver.modeling_perceiver import PerceiverFourierPositionEncoding

CASES = {  # bands, resolution, grid
    "pixels": (64, (224, 224), (4, 5)),
    "sound": (192, (30720,), (1920,)),
    "video": (32, (16, 56, 56), (3, 2, 5)),
    "one": (3, (7, 9), (1, 2)),
}
POINTS = np.array([0, 3, 1, 1])


def main():
    made = {"points": POINTS}
    for name, (bands, resolution, grid) in CASES.items():
        encode = PerceiverFourierPositionEncoding(bands, resolution)
        options = dict(batch_size=1, device=torch.device("cpu"), dtype=torch.float32)
        features = encode(list(grid), **options)[0]
        made[f"{name}/grid"] = features[:: max(1, len(features) // 24)].numpy()
        points = torch.tensor(POINTS % np.prod(grid))
        places = torch.stack(torch.unravel_index(points, grid), 1)
        places = -1 + 2 * places / torch.tensor(grid)  # as PerceiverBasicDecoder has them
        made[f"{name}/points"] = encode(list(grid), pos=places[None], **options)[0].numpy()
    np.savez_compressed(Path(__file__).parent / "fourier.npz", **made)


if __name__ == "__main__":
    main()
