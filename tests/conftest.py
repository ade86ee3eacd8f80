"""Fixtures of several folders."""

import gc
import itertools
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import pytest

from transformers_jax import allocator

PROGRAMS = 3 * 2**30  # bytes of a process, beyond which compiled programs are let go
MAPS = 40_000  # of its memory; vm.max_map_count is 65,530
BETWEEN = 16  # tests from one look at them to the next
TORN_DOWN = itertools.count()


def pytest_addoption(parser):
    parser.addoption(
        "--optimized",
        action="store_true",
        help="compile with all of XLA's optimisations, as users do (takes twice as long)",
    )
    parser.addoption(
        "--slow", action="store_true", help="also run the tests that are marked slow, as CI does"
    )


def pytest_collection_modifyitems(config, items):
    """Without --slow, the tests that are marked slow are deselected, unless named on the line."""
    if config.getoption("--slow"):
        return
    named = [argument for argument in config.args if "::" in argument]
    late = [item for item in items if item.get_closest_marker("slow") and not named]
    config.hook.pytest_deselected(items=late)
    items[:] = [item for item in items if item not in late]


def pytest_configure(config):
    """Signals are as in a terminal, also where the suite was started with `nohup` or `&`: tests
    send them to processes that they start.

    Most programs of the tests run once or twice, so that compiling is what they cost. Without XLA's
    dearer optimisations the suite takes half the time. The variables are for the processes that
    tests start. `--optimized`, or XLA_FLAGS of one's own, leave all as users have
    it; the figures of docs/zoo.md are measured so.
    """
    for number in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("--optimized") or "XLA_FLAGS" in os.environ:
        return
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    jax.config.update("jax_disable_most_optimizations", True)
    if jax.__version_info__ < (0, 11):  # newer XLA has one way of fusing, and refuses the flag
        flags = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
        os.environ["XLA_FLAGS"] = flags  # programs this small are not worth compiling in parts


@pytest.fixture(scope="session", autouse=True)
def checksums_of_the_tests(tmp_path_factory):
    """What is remembered of their files is not kept in the user's cache."""
    patch, folder = pytest.MonkeyPatch(), tmp_path_factory.mktemp("checksums")
    patch.setattr("transformers_jax.data.file_sums.cache_dir", lambda: folder)
    yield
    patch.undo()


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_in_the_repository(request):
    """What tests write lies in their own folders, not where they are started."""
    root = request.config.rootpath
    visible = lambda: {path.name for path in root.iterdir() if path.name[0] not in "._"}
    before = visible()
    yield
    left = sorted(visible() - before)
    assert not left, f"the tests have left {', '.join(left)} in {root}"


@pytest.fixture(scope="session")
def on_eight_devices():
    """on_eight_devices(program, *arguments): the process, run on a host of eight devices."""

    def run(program, *arguments):
        eight = "--xla_force_host_platform_device_count=8"
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
            env={
                **os.environ,
                "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {eight}",
                "JAX_PLATFORMS": "cpu",
                "PYTHONPATH": os.getcwd(),
            },
            capture_output=True,
            text=True,
            timeout=900,  # of a busy machine
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done

    return run


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item):
    """Lets compiled programs go, of which a whole run has thousands: they would take 5 GB in each
    process, and more memory maps than Linux allows one, with which XLA aborts."""
    if next(TORN_DOWN) % BETWEEN:
        return
    statm, maps = Path("/proc/self/statm"), Path("/proc/self/maps")
    pages = int(statm.read_text().split()[1]) if statm.exists() else 0
    count = maps.read_bytes().count(b"\n") if maps.exists() else 0
    if pages * os.sysconf("SC_PAGE_SIZE") > PROGRAMS or count > MAPS:
        jax.clear_caches()
        gc.collect()
        allocator.give_back()
