"""How ids become vectors, described; `tokens.py` builds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from transformers_jax import spec
from transformers_jax.arrays import Array
from transformers_jax.inputs import checks
from transformers_jax.nn.sinusoidal import Sinusoids


@dataclass(frozen=True)
class TagArgument:
    """An argument of a call that is a tag of its tokens (Longformer: `global_attention_mask`).

    `default(ids, shape)` is the tag, Int[b T], where a call has none. It may have a method
    `check(ids)` that raises ValueError for ids from which the tag cannot be derived.

    Attributes:
        made: makes the tag of the argument; None: it is the argument.
    """

    argument: str
    tag: str
    default: Callable[[Array | None, tuple[int, int]], Array | np.ndarray]
    made: Callable[[Array | np.ndarray], Array | np.ndarray] | None = None

    def of(self, values: Array | np.ndarray) -> Array | np.ndarray:
        """The tag of these values of the argument."""
        return values if self.made is None else self.made(values)

    def check_values(self, name: str, values: Any, shape: tuple[int, ...], like: str) -> None:
        """Raises ValueError for values of the argument that do not fit tokens of this shape; `like`
        has it."""
        checks.integers(name, values, None)
        checks.same_shape(name, values, shape, like)

    def check(self, ids: Array | np.ndarray) -> None:
        """Raises ValueError if `default` cannot derive the tag from these ids."""
        if (check := getattr(self.default, "check", None)) is not None:
            check(ids)


def _every_token(ids: Array | None, shape: tuple[int, int]) -> np.ndarray:
    return np.ones((1, shape[1]), np.int32)


def _no_token(ids: Array | None, shape: tuple[int, int]) -> np.ndarray:
    return np.zeros((1, shape[1]), np.int32)


def _where_zero(types: Array | np.ndarray) -> Array:
    return (jnp.asarray(types) == 0).astype(np.int32)


def prefix_types(every: bool) -> TagArgument:
    """The prefix is where the token types are 0; in a call without them `every` token is in it, or
    none (PaliGemma)."""
    default = _every_token if every else _no_token
    return TagArgument("token_type_ids", "prefix", default, made=_where_zero)


@dataclass(frozen=True)
class Placeholder:
    """An id in whose place stand vectors of another tower, such as those of an image, in their
    order: the next one at the next placeholder, row after row.

    Attributes:
        id: of the token; it need not be in the vocabulary.
        word: what errors call it.
    """

    id: int
    word: str = "image token"


@dataclass(frozen=True)
class PadToMultiple:
    """Rows of more than `longest` tokens are filled up with padding to a multiple of `size`: blocks
    are whole (BigBird). Of what is computed for the padding only the hidden states but the last are
    affected, as in the reference.

    Attributes:
        id: of the padding; also its position where a call has positions, as in the reference.
    """

    size: int
    id: int
    longest: int = 0

    def missing(self, length: int) -> int:
        """How many tokens a row lacks."""
        return 0 if length <= self.longest else -length % self.size

    def __call__(
        self, per_token: Mapping[str, Array | None], length: int, positions: int | None
    ) -> dict[str, Any]:
        """The arguments of a call, [B T] each, filled up; what is padding is no valid token."""
        whole = length + self.missing(length)
        filled: dict[str, Any] = {}
        for name, array in per_token.items():
            value = self.id if name in ("input_ids", "position_ids") else 0
            edge = ((0, 0), (0, whole - length))
            filled[name] = array if array is None else jnp.pad(array, edge, constant_values=value)
        if filled["attention_mask"] is None:  # NumPy: live tiles are listed while tracing
            filled["attention_mask"] = (np.arange(whole) < length).astype(np.int32)[None]
        if filled["position_ids"] is None and positions is not None and whole > positions:
            filled["position_ids"] = np.minimum(np.arange(whole), positions - 1)[None]
        return filled


@dataclass(frozen=True)
class EmbedSpec:
    """How ids become vectors.

    Attributes:
        vocab: number of words.
        shared: whether the table of words is that of another embedder (BART's decoder).
        unused: whether files hold a further table of words that nothing reads (BART with untied
            words keeps the one that its two sides would share).
        padding_idx: an id whose vector learns nothing from being read, as in torch.
        positions: rows of the table of learned positions, `Sinusoids`, or None where position
            enters later.
        offset: the row of position 0 (BART keeps two rows before it, RoBERTa `pad` + 1).
        padding: an id that has no position of its own: the others are counted, and it is at
            -1, the row before the first (RoBERTa), or at none (sinusoids: M2M-100); None where
            indices in the row are positions.
        types: number of token types with a table of their own, or "words" where type ids are
            looked up among the words (GPT-2). 0: type ids are taken and not read (DeBERTa).
        norm: applied to the sum (BERT), or to the words before all else (BlenderBot-small's
            decoder), or to the stream that they are brought to (DeBERTa); `normed` says which.
        scale: multiplies the word vectors (sqrt(D) in the 2017 Transformer), and also vectors that
            of a call (`inputs_embeds`) where it `scales` "all" (Marian's decoder).
        project: width of the stream, where that of the embeddings is another (ELECTRA), with a
            bias or not (`project_bias`).
        projects: what is brought to it: the "sum", or the "words" before all else (OPT).
        rows_before: rows of the table of positions that `position_ids` do not count (OPT has two).
        unpadded: whether positions count the tokens that `attention_mask` says are there; padding
            is then at -1 (OPT).
        zero_padding: whether padding is the zero vector (DeBERTa).
        tags: arguments of a call, [B T] each, that are tags of the tokens.
        placeholder: the token in whose place vectors of another tower stand.
        pad_to: how rows are filled up to whole blocks.
        counted: what generation numbers where a call has no positions: the "tokens" of a
            row, or its "columns", padding included (decoders to which Hugging Face gives no
            `position_ids`: BART's, alone).
    """

    vocab: int
    width: int
    shared: bool = False
    unused: bool = False
    padding_idx: int | None = None
    positions: int | Sinusoids | None = None
    offset: int = 0
    padding: int | None = None
    types: int | Literal["words"] | None = None
    norm: spec.Norm | None = None
    normed: Literal["sum", "words", "stream"] = "sum"
    scale: float = 1.0
    scales: Literal["words", "all"] = "words"
    dropout: float = 0.0
    project: int | None = None
    project_bias: bool = True
    projects: Literal["sum", "words"] = "sum"
    rows_before: int = 0
    unpadded: bool = False
    zero_padding: bool = False
    tags: tuple[TagArgument, ...] = ()
    placeholder: Placeholder | None = None
    pad_to: PadToMultiple | None = None
    counted: Literal["tokens", "columns"] = "tokens"
    initial: spec.Initial = field(default_factory=spec.Initial)

    @property
    def longest(self) -> int | None:
        """How many tokens have a position; None where there is no table."""
        rows = self.positions
        rows = rows.rows if isinstance(rows, Sinusoids) else rows
        return None if rows is None else rows - self.offset - self.rows_before
