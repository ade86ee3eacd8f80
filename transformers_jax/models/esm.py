"""ESM-1b and ESM-2, language models of proteins (Rives et al. 2021; Lin et al. 2023). Hugging Face
model_type "esm".

Encoders of amino acids with pre-norm blocks and rotary (ESM-2) or learned positions (ESM-1b). What
touches what in a protein is read from their attention: `model.predict_contacts`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import jax.numpy as jnp
import numpy as np

from transformers_jax.arrays import Array, Bool, Float
from transformers_jax.hub.table import Computed, Tying, rows
from transformers_jax.models.base import by_name
from transformers_jax.models.bert import MLP, PROJECTIONS, BertConfig
from transformers_jax.models.output import Output
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.standard import TextTower
from transformers_jax.models.shared.weight_rows import S, block_rows, layer, norm
from transformers_jax.models.wiring.network import Network
from transformers_jax.models.wiring.tower import Tower
from transformers_jax.nn.contacts import ContactRegression
from transformers_jax.nn.embed import EmbedSpec, TokenEmbedder
from transformers_jax.spec import Rotary

L = "encoder.layer.{i}"
NORMS = "attention.LayerNorm LayerNorm"
BLOCKS = block_rows(L, S, "attention", PROJECTIONS, MLP, NORMS)
for kind, older in (("weight", "gamma"), ("bias", "beta")):  # as transformers 5 writes them
    BLOCKS = BLOCKS.replace(f"LayerNorm.{kind}", f"LayerNorm.{older}")

TRAINED = 1 - 0.15 * 0.8
"""The share of tokens that no mask stood for when any ESM was trained."""

ROTATED = "encoder.layer.{}.attention.self.rotary_embeddings.inv_freq"
FREQUENCIES = (ROTATED.format("*"), "rotary_embeddings.inv_freq", ROTATED.format(0))
"""What files call the frequencies: those of transformers 5, literally so; its running models; and
transformers 4, of which each layer had its own."""


@dataclass(frozen=True, kw_only=True)
class EsmConfig(BertConfig):
    """The fields of an ESM config.json; defaults are those of the class in Hugging Face, with which
    ESM-2 has 33 tokens, rotary positions, token_dropout and eps 1e-5.

    `frequencies` are those of the rotation that a file stores, in radians per position, where they
    are not those of `rope_theta`, which is then not read.
    """

    model_type = "esm"
    FIXED = {"is_folding_model": False, "esmfold_config": None, "vocab_list": None}
    UNUSED = frozenset(("classifier_dropout", "hidden_act"))
    PREFIX = "esm."
    ALIASES = (("LayerNorm.weight$", "LayerNorm.gamma"), ("LayerNorm.bias$", "LayerNorm.beta"))
    POOLED = ("none",)
    WORDS, WORDS_ACT, UNUSED_BIAS = "lm_head.dense lm_head.layer_norm lm_head", "gelu", False
    HEADS = heads_of("Esm", "none", "masked_lm", "sequence_classification", "token_classification")
    ROWS = f"""
embeddings.word_embeddings.weight     | embed.table
embeddings.position_embeddings.weight | embed.position
{norm("embeddings.layer_norm", "embed.norm")}
{BLOCKS}
{norm("encoder.emb_layer_norm_after", "stack.norm")}
"""
    hidden_act: ClassVar[str] = "gelu"
    classifier_dropout: ClassVar[None] = None
    type_vocab_size: ClassVar[None] = None
    is_decoder: ClassVar[bool] = False
    add_cross_attention: ClassVar[bool] = False

    vocab_size: int = 33
    max_position_embeddings: int = 1026
    pad_token_id: int | None = 1
    eos_token_id: int | tuple[int, ...] | None = 2
    mask_token_id: int | None = None
    position_embedding_type: Literal["absolute", "rotary"] = "absolute"
    rope_theta: float = 10000.0
    frequencies: tuple[float, ...] | None = None
    emb_layer_norm_before: bool | None = None
    token_dropout: bool | None = False

    def __post_init__(self):
        super().__post_init__()
        needed = {"mask_token_id": self.token_dropout, "pad_token_id": not self.rotary}
        for name, needs in needed.items():
            if needs and getattr(self, name) is None:
                why = "token_dropout" if name == "mask_token_id" else "absolute positions"
                raise ValueError(f"EsmConfig: {name} is None, but {why} reads it; give its id")
        if self.rotary is not None:
            self.rotary.check(self.head_width("hidden_size", "num_attention_heads"))

    # ------------------------------------------------------------ the network

    @property
    def rotary(self) -> Rotary | None:
        """The rotation of queries and keys; None where positions are learned."""
        if self.position_embedding_type == "absolute":
            return None
        return Rotary(self.rope_theta, frequencies=self.frequencies)

    def attend(self, mask):
        return replace(super().attend(mask), rotary=self.rotary)

    def spec(self, mask=None, cross=None):
        """Pre-norm blocks of self-attention and an MLP, and a norm behind the last."""
        return replace(self.stack(mask), final_norm=self.layer_norm, norm_hidden=True)

    def embed(self):
        embed = TextTower.embed(self)
        if self.rotary is None:
            pad: Any = self.pad_token_id
            embed = replace(embed, offset=pad + 1, padding=pad)
        else:
            embed = replace(embed, positions=None, counted="columns")
        return replace(
            embed,
            padding_idx=self.pad_token_id,
            norm=self.layer_norm if self.emb_layer_norm_before else None,
            zero_padding=True,
        )

    def embedder(self, head):
        mask = self.mask_token_id if self.token_dropout else None
        return TokenEmbedder(self.embed()) if mask is None else DroppedTokens(self.embed(), mask)

    def network(self, towers, head, **options):
        return EsmNetwork(towers, head, self.num_hidden_layers * self.num_attention_heads)

    @property
    def classifier_act(self):
        return "tanh"

    # ------------------------------------------------------------ the table

    @property
    def ties(self):
        embeddings = f"{self.PREFIX}embeddings.word_embeddings.weight"
        return (Tying(embeddings, "lm_head.decoder.weight"),)

    def head_rows(self, head, tied):
        text = super().head_rows(head, tied)
        return text.replace("lm_head.weight", "lm_head.decoder.weight")

    def table(self, head):
        prefix = "" if head == "none" else self.PREFIX
        text = layer(f"{prefix}contact_head.regression", "contacts")
        table = super().table(head).with_rows(rows(text, group="contacts"))
        if self.rotary is None:
            return table
        size = self.head_width("hidden_size", "num_attention_heads")
        value = functools.partial(frequencies, self.rotary, size)
        computed = (Computed(f"{self.PREFIX}{FREQUENCIES[0]}", (size // 2,), value),)
        # early files of ESM-2 hold a table of positions, which nothing read
        ignore = (*table.ignore, "*.inv_freq", "*position_embeddings.weight")
        return replace(table, computed=computed, ignore=ignore)

    # ------------------------------------------------------------ what files hold

    def with_stored(self, read):
        if self.rotary is None:
            return self
        arrays = (read(f"{self.PREFIX}{name}") for name in FREQUENCIES)
        stored = next((array for array in arrays if array is not None), None)
        if stored is None:
            return self
        stored = np.asarray(stored, np.float32)
        size = self.head_width("hidden_size", "num_attention_heads")
        usual = frequencies(replace(self.rotary, frequencies=None), size)
        if stored.shape != usual.shape:
            raise ValueError(
                f"the file stores {stored.size} frequencies of rotary positions; heads of {size} "
                f"numbers have {usual.size}: hidden_size or num_attention_heads is another model's"
            )
        same = np.allclose(stored, usual, rtol=1e-6, atol=0.0)
        return self.replace(frequencies=None if same else tuple(map(float, stored)))

    def to_dict(self):
        written = super().to_dict()
        if self.frequencies is None:
            written.pop("frequencies")
        return written


def frequencies(rotary: Rotary, width: int) -> np.ndarray:
    """Radians per position of each pair of a head's numbers, Float32[width / 2]."""
    if rotary.frequencies is not None:
        return np.array(rotary.frequencies, np.float32)
    exponent = np.arange(0, width, 2, dtype=np.float32) / np.float32(width)
    return (1.0 / rotary.base**exponent).astype(np.float32)


class DroppedTokens(TokenEmbedder):
    """Words + positions, where masked tokens are the zero vector, as if they had been dropped: the
    others are scaled by the share of tokens that were unmasked in training, divided by that of the
    row, or of the document where rows are packed (Lin et al. 2023, the released code)."""

    def __init__(self, embed: EmbedSpec, mask: int):
        super().__init__(embed)
        self.mask_id = mask

    def changed(self, **changes):
        return type(self)(replace(self.spec, **changes), self.mask_id)

    def _tagged(self, tags, per_token, shape) -> Mapping[str, Array]:
        tags, ids = super()._tagged(tags, per_token, shape), per_token["input_ids"]
        return tags if ids is None else {**tags, "masked": jnp.asarray(ids) == self.mask_id}

    def embedded(self, words, nodes, type_ids=None, key=None):
        if (masked := nodes.tags.get("masked")) is not None:
            kept = TRAINED / self._unmasked(nodes, masked > 0)
            words = jnp.where((masked > 0)[..., None], 0.0, words * kept.astype(words.dtype))
        return super().embedded(words, nodes, type_ids, key)

    def _unmasked(self, nodes: Any, masked: Bool[Array, "B T"]) -> Float[Array, "B T 1"]:
        """The share of the tokens of a token's document that no mask stands for; 1 where all are
        masked, and nothing is left to scale."""
        there = jnp.ones(masked.shape, bool) if nodes.valid is None else nodes.valid
        there = jnp.broadcast_to(there, masked.shape)
        if (document := nodes.tags.get("document")) is None:
            total, hidden = there.sum(-1, keepdims=True), masked.sum(-1, keepdims=True)
        else:
            same = (document[:, :, None] == document[:, None, :]) & there[:, None, :]
            total, hidden = same.sum(-1), (same & masked[:, None, :]).sum(-1)
        share = 1 - hidden / jnp.maximum(total, 1)
        return jnp.where(share > 0, share, 1.0)[..., None]


class EsmNetwork(Network):
    """An ESM of any head, and the regression that reads contacts from its attention."""

    def __init__(self, towers: Mapping[str, Tower], head: Any, maps: int):
        super().__init__(towers, head)
        self.contacts = ContactRegression(maps)

    def predict_contacts(
        self, tokens: Any = None, attention_mask: Any = None, **inputs: Any
    ) -> Float[Array, "B L L"]:
        """The probability that two residues of a protein touch: L = T - 2, as every row has a token
        before its residues and one behind them."""
        arguments = {"input_ids": tokens, "attention_mask": attention_mask, **inputs}
        return self.call("contacts_forward", **arguments).contacts

    @by_name
    def contacts_forward(self, **arguments: Any) -> Output:
        """The contacts as the field of an output, `contacts`."""
        ids, mask = arguments["input_ids"], arguments.get("attention_mask")
        weights = self.forward(**arguments, output_attentions=True).attentions
        config: Any = self.plan.config
        residues = jnp.asarray(ids) != config.eos_token_id
        residues = residues if mask is None else residues & (jnp.asarray(mask) > 0)
        return Output(contacts=self.contacts(weights, residues))
