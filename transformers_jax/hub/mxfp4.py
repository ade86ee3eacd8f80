"""Weights in MXFP4, as gpt-oss was released: read as the bfloat16 numbers that they are.

Two tensors of a file are one matrix for each expert, [E F D]. `X_blocks`, [E F D/32 16], holds two
numbers of four bits a byte, the lower half first; `X_scales`, [E F D/32], the power of two of 32
numbers that follow one another (Open Compute Project 2023, Microscaling Formats, section 5). Every
product is a bfloat16 number. Files in bfloat16 hold `X` as [E D F].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from transformers_jax.hub.header import Tensor

MAGNITUDES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
NUMBERS = np.array([*MAGNITUDES, *(-x for x in MAGNITUDES)], np.float32)
"""The number of each code of four bits, of which the first is the sign."""

BLOCK, BIAS, NAN = 32, 127, 255
_BLOCKS, _SCALES = "_blocks", "_scales"


def unpacked(stored: Mapping[str, Tensor], path: Path) -> Mapping[str, Tensor]:
    """The tensors of the file at `path`, in which each pair of blocks and scales is the tensor that
    it stands for. Nothing is read until that is.

    Raises:
        ValueError: blocks without scales, scales without blocks, or of shapes that do not fit.
    """
    tensors, pairs = dict(stored), dict[str, tuple[Tensor, Tensor]]()
    for name, tensor in stored.items():
        for ending, other in ((_BLOCKS, _SCALES), (_SCALES, _BLOCKS)):
            if not name.endswith(ending) or tensor.dtype != np.uint8:
                continue
            stem = name.removesuffix(ending)
            if stem + other not in tensors:
                raise ValueError(
                    f"{path}: {name} is half of a tensor in MXFP4, whose other half, "
                    f"{stem + other}, is missing; get the file again"
                )
            pairs[stem] = tensors[stem + _BLOCKS], tensors[stem + _SCALES]
    for stem, (blocks, scales) in pairs.items():
        if blocks.shape != (*scales.shape, BLOCK // 2) or len(scales.shape) != 3:
            raise ValueError(
                f"{path}: {stem}{_BLOCKS} is {list(blocks.shape)} and {stem}{_SCALES} "
                f"{list(scales.shape)}; expected [E F N {BLOCK // 2}] and [E F N]"
            )
        del tensors[stem + _BLOCKS], tensors[stem + _SCALES]
        tensors[stem] = PackedTensor.of(blocks, scales)
    return tensors


@dataclass(frozen=True, eq=False)
class PackedTensor(Tensor):
    """A tensor [E D F] of bfloat16 that a file holds as blocks and scales."""

    halves: tuple[Tensor, ...] = ()

    @staticmethod
    def of(blocks: Tensor, scales: Tensor) -> PackedTensor:
        """The tensor that blocks [E F N 16] and scales [E F N] stand for."""
        E, F, N = scales.shape
        dtype = np.dtype(jnp.bfloat16)
        return PackedTensor((E, BLOCK * N, F), dtype, blocks.path, (), halves=(blocks, scales))

    def read(self, start=0, stop=None, memory=None):
        blocks, scales = (half.read(start, stop) for half in self.halves)
        return np.ascontiguousarray(numbers(blocks, scales).swapaxes(1, 2)).astype(self.dtype)


def numbers(blocks: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """The float32 numbers [... 32 N] of blocks [... N 16] and scales [... N]; a scale may say that
    they are none (NaN)."""
    halves = NUMBERS[np.stack([blocks & 15, blocks >> 4], -1)]
    power = scales.astype(np.int32)[..., None] - BIAS
    with np.errstate(over="ignore"):  # infinity, which is refused by the name of its tensor
        values = np.ldexp(halves.reshape(*scales.shape, BLOCK), power)
    values = np.where(scales[..., None] == NAN, np.float32("nan"), values)
    return values.reshape(*scales.shape[:-1], BLOCK * scales.shape[-1])
