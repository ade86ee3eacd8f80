"""The head of encoders that are trained to fill in masked words, and its rows."""

from __future__ import annotations

from transformers_jax.models.config import FamilyConfig
from transformers_jax.models.shared.weight_rows import layer, norm
from transformers_jax.nn import head as heads
from transformers_jax.spec import Initial, Norm


def words_head(
    config: FamilyConfig,
    width: int,
    initial: Initial,
    transform: tuple[str, Norm | None],
    out: int | None = None,
    unused_bias: bool = False,
    shift: bool = False,
    smoothing: float = 0.0,
) -> heads.LanguageModel:
    """Logits of masked words (with `shift`, of the next ones): the stream is transformed by a layer
    with this activation and norm to the width `out` of the embeddings, and compared with them.
    `unused_bias` is that of `words_rows`."""
    size, out = config.target_vocab, width if out is None else out
    tied = config.tie_word_embeddings
    square = heads.Square(width, transform[0], initial, transform[1], out=out)
    return heads.LanguageModel(
        size,
        out,
        initial,
        tied=tied,
        shift=shift,
        bias=True,
        transform=square,
        unused_bias=unused_bias and not tied,
        smoothing=smoothing,
    )


def words_rows(names: str, ours: str = "head", tied: bool = True, unused_bias: bool = False) -> str:
    """The rows of such a head, by the names of the layer, of its norm, and of what holds the bias
    and the table. With `unused_bias` a file of untied words holds two biases, and only that of the
    decoder counts."""
    square, square_norm, output = names.split()
    text = layer(square, f"{ours}.transform") + norm(square_norm, f"{ours}.transform.norm")
    if tied or not unused_bias:
        table = "" if tied else f"\n{output}.weight | {ours}.table"
        return text + f"\n{output}.bias | {ours}.bias" + table
    return f"""{text}
{output}.bias           | {ours}.unused_bias
{output}.decoder.weight | {ours}.table
{output}.decoder.bias   | {ours}.bias
"""
