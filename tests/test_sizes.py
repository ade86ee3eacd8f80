"""Sizes are parsed in one way everywhere."""

import pytest

from transformers_jax.sizes import check_count, nearest_divisors, nearest_multiples, parse_bytes


def test_sizes_are_decimal_unless_they_say_otherwise():
    assert parse_bytes("size", "1GB") == 10**9
    assert parse_bytes("size", "1GiB") == 2**30
    assert parse_bytes("size", "256 MiB") == 256 * 2**20
    assert parse_bytes("size", "1.5kB") == 1500
    assert [parse_bytes("size", size) for size in ("4096", 4096, "4096B")] == [4096] * 3


@pytest.mark.parametrize("size", ["", "MB", "0", 0, -1, "3 cats", "1XB", "-1GB", "1e9", None])
def test_what_is_no_size_is_refused(size):
    with pytest.raises(ValueError, match=r"--shard-size is .*expected bytes above 0.*'5GiB'"):
        parse_bytes("--shard-size", size)


@pytest.mark.parametrize("value", [0, -1, 1.0, True, None, "2"])
def test_a_count_is_a_whole_number(value):
    check_count("batch_size", 1)
    check_count("batch_size", 0, least=0)
    with pytest.raises(ValueError, match=r"batch_size=.* must be a whole number, at least 1"):
        check_count("batch_size", value)


def test_the_nearest_sizes_that_would_do_are_named():
    assert nearest_multiples(6, 4) == "4 and 8"
    assert nearest_multiples(3, 4) == "4"
    assert nearest_divisors(5, 12) == "4 or 6"
    assert nearest_divisors(4, 12) == "4"
