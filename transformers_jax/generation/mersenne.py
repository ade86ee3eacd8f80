"""The random numbers of PyTorch's generator on CPUs, in NumPy.

Both are MT19937 with the same seeding (Matsumoto and Nishimura 1998). Watermarks of transformers
are drawn from it, so that lists of tokens are the same here and there. (Those that PyTorch draws on
a GPU come from another generator, and are others.)
"""

from __future__ import annotations

import functools

import numpy as np

from transformers_jax.arrays import Int


def raw(seed: int, count: int) -> Int[np.ndarray, " N"]:
    """The first numbers of `torch.Generator().manual_seed(seed)`, of 32 bits each."""
    bits = np.random.MT19937()
    bits._legacy_seeding(seed & 0xFFFFFFFF)  # of a seed of 64 bits PyTorch takes the lower half
    return bits.random_raw(count).astype(np.int64)


@functools.lru_cache(maxsize=256)
def permutation_start(seed: int, size: int, count: int) -> Int[np.ndarray, " count"]:
    """The first `count` numbers of `torch.randperm(size)`: each is drawn from those that are left
    (Fisher and Yates)."""
    drawn = raw(seed, count) % (size - np.arange(count))
    order = list(range(size))
    for place, other in enumerate((drawn + np.arange(count)).tolist()):
        order[place], order[other] = order[other], order[place]
    return np.array(order[:count])


@functools.lru_cache(maxsize=2)
def permutation(seed: int, size: int) -> Int[np.ndarray, " size"]:
    """`torch.randperm(size)`."""
    return permutation_start.__wrapped__(seed, size, size)


def bits(seed: int, count: int) -> Int[np.ndarray, " count"]:
    """`torch.randint(2, (count,))`."""
    return (raw(seed, count) % 2).astype(np.int32)
