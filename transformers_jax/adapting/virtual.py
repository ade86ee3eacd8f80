"""The values of virtual tokens: how they begin, and their tensor in a file of PEFT.

prompt_embeddings | P D                            prompt tuning
prompt_embeddings | P (layer (key value) g k)      prefix tuning
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Key
from transformers_jax.face import public
from transformers_jax.models.adapters.records import Adapter, PrefixTuning, PromptTuning
from transformers_jax.models.adapters.resolve import Resolved
from transformers_jax.models.adapters.virtual import attentions, path_of, tower_of
from transformers_jax.models.base import Model
from transformers_jax.nn.embed.virtual import PARTS, projected
from transformers_jax.nn.param import ADAPTER

TENSOR = "prompt_embeddings"


@dataclass(frozen=True)
class Rows:
    """The tensor of a file: a parameter of ours, or what an MLP computes.

    Attributes:
        paths: of the parameter, or of those of the MLP.
    """

    shape: tuple[int, ...]
    paths: tuple[str, ...]

    def read(self, tensor: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes the tensor into the parameter."""
        arrays[self.paths[0]][...] = tensor

    def written(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """The tensor."""
        if len(self.paths) == 1:
            return arrays[self.paths[0]]
        return np.asarray(projected(*(jnp.asarray(arrays[path]) for path in self.paths)))


def rows_of(known: Resolved, shapes: Mapping[str, tuple[int, ...]]) -> Rows:
    """The tensor of virtual tokens; shapes are of all parameters."""
    path = next(iter(known.added))
    if (where := f"{path}{ADAPTER}.values") in shapes:
        return Rows(shapes[where], (where,))
    of_mlp = tuple(f"{path}.values{ADAPTER}.{part}" for part in PARTS)
    return Rows((shapes[of_mlp[0]][0], *shapes[of_mlp[-1]]), of_mlp)


def sizes_of(model: Model, adapter: Adapter) -> dict[str, Any]:
    """The sizes that PEFT wants to know of a model."""
    network: Any = model
    name = tower_of(network, adapter)
    tower, op = network.towers[name], attentions(network, name)[0]
    if isinstance(adapter, PrefixTuning):
        both = 2 if network.is_encoder_decoder else 1
        of_token = {"num_attention_heads": op.groups, "token_dim": op.groups * op.kv}
        of_token["encoder_hidden_size"] = adapter.hidden or op.groups * op.kv
    else:
        both = 1
        of_token = {"num_attention_heads": op.heads, "token_dim": tower.embed.spec.width}
    depth = tower.stack.spec.depth
    return {"num_layers": depth, "num_transformer_submodules": both, **of_token}


# ---------------------------------------------------------------- how a prompt begins


def beginning(model: Model, adapter: Adapter, key: Key | None) -> dict[str, Array]:
    """The first values of a prompt that begins as words do, by path; empty for one that is drawn.

    Raises:
        ValueError: a text without a tokenizer, or ids outside of the vocabulary.
    """
    if not isinstance(adapter, PromptTuning) or adapter.init == "random":
        return {}
    if adapter.init == "vocabulary" and key is None:
        return {}
    network: Any = model
    name = tower_of(network, adapter)
    table, embed = network.token_table(name), network.towers[name].embed
    if adapter.init == "vocabulary":
        assert key is not None
        ids = jax.random.randint(key, (adapter.tokens,), 0, table.shape[0])
    else:
        ids = np.resize(_ids(adapter, table.shape[0]), adapter.tokens)
    scale = embed.spec.scale if embed.spec.scales == "words" else 1.0
    vectors = jnp.take(table, ids, axis=0).astype("float32") * scale
    return {f"{path_of(network, adapter)}{ADAPTER}.values": vectors}


def _ids(adapter: PromptTuning, vocabulary: int) -> np.ndarray:
    """The ids with whose vectors a prompt begins."""
    init: Any = adapter.init
    if isinstance(init, str):
        if adapter.tokenizer is None:
            raise ValueError(
                f"PromptTuning: init={init!r} is a text: name the tokenizer that reads it, "
                "tokenizer=DIR_OR_ID, or give ids, init=(5, 17, 8)"
            )
        init = public("load_tokenizer")(adapter.tokenizer).batch([init])["input_ids"][0]
    ids = np.asarray(init)
    if not ids.size or ids.min() < 0 or ids.max() >= vocabulary:
        raise ValueError(
            f"PromptTuning: init has the ids {ids.tolist()}; expected at least one, each from 0 to "
            f"{vocabulary - 1}"
        )
    return ids
