"""Freed memory: kept, so that steps on a CPU find their temporary memory where it was; given back.

XLA frees the temporary memory of a program, often hundreds of megabytes, after every step. The GNU
C library gives such blocks back to the kernel at once, which maps, clears and unmaps them anew in
each step: about a fifth of the step's time.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
from collections.abc import Mapping

OFF = "TRANSFORMERS_JAX_KEEP_MEMORY"
TUNED = ("MALLOC_ARENA_MAX", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
# Parameters of mallopt(3): no block gets a mapping of its own, the heap's end is never given back,
# and threads share the one heap that can hold blocks of any size (others end at 64 MB).
SETTINGS = {"M_MMAP_MAX": (-4, 0), "M_TRIM_THRESHOLD": (-1, -1), "M_ARENA_MAX": (-8, 1)}


def keep_freed_memory() -> bool:
    """Whether the memory that this process frees now stays with it, for what it allocates next.

    For training on a CPU, with glibc (Linux). Threads keep the heap with which they began, so this
    comes first in a program, before JAX and NumPy are imported. The process then holds the most
    memory that it ever needed. Where it would be of no use or comes too late, and where another
    allocator was chosen, it does nothing and says False.
    """
    if not useful(os.environ) or _has_threads():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(ctypes.c_int(name), ctypes.c_int(n)) for name, n in SETTINGS.values())


def give_back() -> None:
    """Gives all memory that was freed back to the system, which maps it anew when it is needed.

    What lives long and what lives shortly lie side by side in the heap, which therefore grows by
    the holes between them. A run does this after each save: often enough that it does not grow, and
    so rarely that the page faults of the step after it do not count.
    """
    if _has_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def useful(environment: Mapping[str, str]) -> bool:
    """Whether this is glibc's own allocator, as it comes, and JAX has no device but CPUs."""
    chosen = any(name in environment for name in TUNED)
    chosen |= "malloc" in environment.get("LD_PRELOAD", "") + environment.get("GLIBC_TUNABLES", "")
    if chosen or environment.get(OFF, "1") == "0" or not _has_glibc():
        return False
    if platforms := environment.get("JAX_PLATFORMS") or environment.get("JAX_PLATFORM_NAME"):
        return platforms == "cpu"
    # The plugins of accelerators: JAX itself, asked for its devices, starts threads.
    return not any(importlib.util.find_spec(name) for name in ("jax_plugins", "libtpu"))


def _has_glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, OSError, ValueError):  # another system, another C library
        return False


def _has_threads() -> bool:
    try:
        return len(os.listdir("/proc/self/task")) > 1
    except OSError:
        return True
