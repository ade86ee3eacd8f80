"""Folders of tokens that a test has in memory."""

import numpy as np

from transformers_jax.data.token_folders import SHARD_SIZE, Writer, largest
from transformers_jax.data.tokens import Encoded, smallest_dtype


def document(tokens, d):
    """The ids of document d."""
    return tokens.ids[int(tokens.starts[d]) : int(tokens.starts[d + 1])]


def breaks(tokens, d):
    """Where sentences start within document d."""
    low, high = np.searchsorted(tokens.sentences, tokens.starts[d : d + 2])
    return tokens.sentences[low:high] - tokens.starts[d]


def write_tokens(folder, tokens, shard_size=SHARD_SIZE):
    """Writes tokens into a new folder, and reads them back as memory maps."""
    dtype, marked = smallest_dtype(largest(tokens.ids)), tokens.sentences is not None
    writer = Writer(folder, dtype, marked, shard_size)
    for d in range(len(tokens)):
        writer.add(Encoded(document(tokens, d), breaks(tokens, d) if marked else None))
    return writer.close(**({"text_bytes": tokens.text_bytes} if tokens.text_bytes else {}))
