"""What tests of several folders share."""

import ctypes
import gc
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

PROGRAMS = 3 * 2**30  # bytes of a process, beyond which compiled programs are let go


@pytest.fixture(scope="module")
def compiled_in_haste():
    """Without XLA's dearer optimisations: other roundings, a third less time.

    For tests whose programs run once, so that compiling is what they cost, and whose tolerances
    have room for both. The figures of docs/zoo.md are measured with all optimisations.
    """
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="session")
def on_eight_devices():
    """on_eight_devices(program): runs it on a host of eight devices; it must end with "agrees"."""

    def run(program, flags=""):
        eight = f"--xla_force_host_platform_device_count=8 {flags}"
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={
                **os.environ,
                "XLA_FLAGS": eight,
                "JAX_PLATFORMS": "cpu",
                "PYTHONPATH": os.getcwd(),
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.stdout.endswith("agrees\n"), done.stderr[-3000:]

    return run


@pytest.fixture(scope="module", autouse=True)
def few_programs_at_a_time():
    """Thousands of compiled programs would take 5 GB in each process of a whole test run."""
    yield
    statm = Path("/proc/self/statm")
    pages = int(statm.read_text().split()[1]) if statm.exists() else 0
    if pages * os.sysconf("SC_PAGE_SIZE") > PROGRAMS:
        jax.clear_caches()
        gc.collect()
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:  # glibc keeps what is freed, unless it is told
            trim(0)
