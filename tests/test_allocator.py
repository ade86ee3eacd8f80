"""Freed memory is kept where that saves the time of mapping it again, and nowhere else."""

import os
import subprocess
import sys
import textwrap

import pytest

from transformers_jax import allocator

# The page faults of a thread that takes, fills and frees 100 MB for the second time.
PROGRAM = """
    import ctypes, os, resource, sys, threading
    import transformers_jax as tj

    kept = tj.keep_freed_memory()
    assert not {"jax", "numpy"} & set(sys.modules)
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p

    def use():
        for _ in range(2):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            memory = ctypes.c_void_p(libc.malloc(ctypes.c_size_t(100 * 2**20)))
            ctypes.memset(memory, 1, 100 * 2**20)
            libc.free(memory)
        print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
"""


@pytest.mark.skipif(not allocator.useful({"JAX_PLATFORMS": "cpu"}), reason="needs glibc")
def test_what_was_freed_is_found_again_without_page_faults():
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC", "GLIBC"))}
    faults = {}
    for off in ("1", "0"):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(PROGRAM)],
            env=environment | {allocator.OFF: off, "JAX_PLATFORMS": "cpu"},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        kept, count = done.stdout.split()[:2]
        assert kept == str(off == "1")
        faults[off] = int(count)
    assert faults["1"] < 100 < 2000 < faults["0"]


@pytest.mark.skipif(not allocator.useful({"JAX_PLATFORMS": "cpu"}), reason="needs glibc")
def test_memory_is_given_back_from_between_what_is_in_use():
    blocks = [bytearray(b"1") * 60_000 for _ in range(2000)]  # 120 MB, below a mapping of its own
    del blocks[::2], blocks[::2], blocks[::2]  # what is left lies on every eighth place
    before = resident()
    allocator.give_back()
    assert resident() < before - 50e6


def resident() -> int:
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    "environment",
    [
        {"JAX_PLATFORMS": "cuda"},
        {"JAX_PLATFORMS": "cuda,cpu"},
        {"LD_PRELOAD": "/usr/lib/libjemalloc.so.2"},
        {"LD_PRELOAD": "libtcmalloc_minimal.so.4"},
        {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
        {"MALLOC_ARENA_MAX": "4"},
        {allocator.OFF: "0"},
    ],
)
def test_accelerators_and_other_choices_are_left_alone(environment):
    assert not allocator.useful({"JAX_PLATFORMS": "cpu"} | environment)


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(allocator.os, "confstr", lambda name: None)
    assert not allocator.useful({"JAX_PLATFORMS": "cpu"})


def test_a_process_with_threads_is_left_alone():
    import jax

    jax.numpy.ones(3).block_until_ready()
    assert not allocator.keep_freed_memory()
