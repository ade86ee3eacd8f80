"""Cases are run once each, so compiling is what they cost: without XLA's dearer optimisations.

The figures of docs/zoo.md are measured with all of them (`python -m tests.docs.measure_zoo`).
"""

import jax
import pytest


@pytest.fixture(autouse=True, scope="module")
def compiled_in_haste():
    """A third less time, other roundings; the tolerances have room for both."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
