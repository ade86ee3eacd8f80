"""What tests of several folders share."""

import jax
import pytest


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
