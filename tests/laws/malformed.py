"""Valid and malformed values of each kind of argument."""

import numpy as np


def number(*shape):
    """Int32 of small numbers, which are in range everywhere."""
    return np.arange(np.prod(shape), dtype=np.int32).reshape(shape) % 2


def positions(*shape):
    """Int32 positions in rows."""
    return np.broadcast_to(np.arange(shape[-1], dtype=np.int32), shape)


def real(*shape):
    return np.ones(shape, np.float32)


def ids(*shape, name="id", long=True):
    """Malformations of ids, one per token."""
    arrays = {
        "one axis": number(*shape[-1:]),
        "floats": real(*shape),
        "an axis more": number(*shape, 1),
    }
    return {**arrays, "too wide": number(*shape[:-1], 9)} if long else arrays


def per_token(*shape, shared=False):
    """Malformations of what has a value per token; `shared`: one row may stand for all."""
    arrays = {
        "[B 1]": number(*shape[:-1], 1),
        "one axis": number(shape[-1]),
        "an axis more": number(*shape, 1),
        "floats": real(*shape),
        "wider": number(*shape[:-1], shape[-1] + 1),
    }
    return arrays if shared else {**arrays, "[1 T]": number(1, *shape[1:])}


def per_row(rows):
    return {
        "one row": number(1),
        "[1 B]": number(1, rows),
        "[B 2]": number(rows, 2),
        "floats": real(rows),
    }


def vectors(*shape):
    return {
        "narrower": real(*shape[:-1], shape[-1] - 1),
        "an axis less": real(*shape[1:]),
        "integers": number(*shape),
    }


def square(rows, queries, keys):
    return {
        "[T S]": real(queries, keys),
        "[B T 1]": real(rows, queries, 1),
        "[B 1 S]": real(rows, 1, keys),
        "other rows": real(rows + 1, queries, keys),
    }


def named(name, wrongs, **around):
    """The same for an entry of a dict of arrays."""
    return {what: {**around, name: wrong} for what, wrong in wrongs.items()}
