"""Nomic BERT (Nussbaum et al. 2024, section 3.1). Hugging Face model_type "nomic_bert".

BERT with rotary positions, gated feed-forwards and no biases in its blocks: nomic-bert-2048 and the
encoders of nomic-embed-text. Their files were written by code of the authors, whose config names
its fields as GPT-2's; transformers v5 has a class, which writes tensors under the authors' names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from transformers_jax.hub.table import Table, slots
from transformers_jax.models.bert import BertConfig
from transformers_jax.models.config import Frozen
from transformers_jax.models.shared.class_names import CHOOSING, heads_of
from transformers_jax.models.shared.rope import modern_rope, most_positions, rotary
from transformers_jax.models.shared.weight_rows import (
    HEADS_IN,
    S,
    attention,
    behind,
    feed_forward,
    norm,
)

BASE = 1000.0
AUTHORS: dict[str, Any] = {  # the values of the authors' class where their config says nothing
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
    "mlp_fc1_bias": True,
    "mlp_fc2_bias": True,
    "n_inner": None,
    "pad_vocab_size_multiple": 1,
    "qkv_proj_bias": True,
    "resid_pdrop": 0.1,
    "rotary_emb_base": 10000,
    "rotary_emb_fraction": 0.0,
    "rotary_scaling_factor": None,
}
RENAMED = {
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_positions": "max_position_embeddings",
    "resid_pdrop": "hidden_dropout_prob",
    "attn_pdrop": "attention_probs_dropout_prob",
    "layer_norm_epsilon": "layer_norm_eps",
}
BIASES = ("cls.predictions.transform.dense.bias", "cls.predictions.bias")
MULTIPLE = 256  # the authors' gated networks are as wide as the next multiple
GATED = {"swiglu": "silu", "geglu": "gelu"}


L = "encoder.layers.{i}"


@dataclass(frozen=True, kw_only=True)
class NomicBertConfig(BertConfig):
    """The fields of a Nomic BERT config.json; defaults are nomic-bert-2048 (137M).

    A config of the authors' code (`n_embd`, `rotary_emb_base`, ...) is read and becomes one of
    transformers v5. Their language model has no biases in its head where `mlp_fc1_bias` is false;
    here as in transformers they are zero then.
    """

    model_type = "nomic_bert"
    FIXED = {
        "position_embedding_type": "rotary",
        "activation_function": "swiglu",
        "causal": False,
        "mlp_fc1_bias": False,
        "mlp_fc2_bias": False,
        "parallel_block": False,
        "prenorm": False,
        "qkv_proj_bias": False,
        "rotary_emb_fraction": 1.0,
        "rotary_emb_interleaved": False,
        "rotary_emb_scale_base": None,
        "rotary_head_dim": False,
        "scale_attn_by_inverse_layer_idx": False,
        "scale_attn_weights": True,
        "use_rms_norm": False,
    }
    UNUSED = frozenset(
        """dense_seq_output embd_pdrop fused_bias_fc fused_dropout_add_ln max_trained_positions
        parallel_block_tied_norm summary_activation summary_first_dropout summary_proj_to_labels
        summary_type summary_use_proj use_flash_attn use_xentropy
        """.split()
    )
    PREFIX = "nomic_bert."
    POOLED = ("sequence_classification",)
    WORDS = BertConfig.WORDS.replace("LayerNorm", "layer_norm")
    ROWS = f"""
embeddings.word_embeddings.weight       | embed.table
embeddings.token_type_embeddings.weight | embed.type
{norm("emb_ln", "embed.norm")}
{L}.attn.Wqkv.weight | {S}.self.query {S}.self.key {S}.self.value | (n h k) d -> n d h k
{L}.attn.out_proj.weight | {S}.self.out | {HEADS_IN}
{norm(f"{L}.norm1", f"{S}.self_norm")}
{feed_forward(f"{L}.mlp", f"{S}.ffn", "fc12 fc11 fc2", bias=False)}
{norm(f"{L}.norm2", f"{S}.ffn_norm")}
"""
    HEADS = heads_of(
        *("NomicBert", "none", "masked_lm", *CHOOSING[:2]),
        NomicBertForPreTraining="masked_lm",  # the authors' class
    )
    is_decoder: ClassVar[bool] = False  # type: ignore[misc]  # no field here
    add_cross_attention: ClassVar[bool] = False  # type: ignore[misc]

    vocab_size: int = 30528
    hidden_act: str = "silu"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    max_position_embeddings: int = 2048
    head_dim: int | None = None
    rope_parameters: Frozen = Frozen({"rope_type": "default", "rope_theta": BASE})

    @classmethod
    def modernise(cls, values):
        values = super().modernise(values)
        if "n_embd" in values:
            values = of_authors(values)
        return modern_rope(values, BASE)

    @property
    def stated_positions(self):
        return most_positions(self.rope_parameters, self.max_position_embeddings)

    @property
    def width_of_head(self) -> int:
        """The numbers of one head."""
        return self.head_dim or self.head_width("hidden_size", "num_attention_heads")

    def attend(self, mask):
        kv = self.width_of_head
        rotation = rotary(self.rope_parameters, self.max_position_embeddings)
        return replace(super().attend(mask), kv=kv, bias=(), rotary=rotation)

    def feed_forward(self):
        return replace(super().feed_forward(), gated=True, bias=False)

    def embed(self):
        return replace(super().embed(), positions=None)

    # ------------------------------------------------------------ the table

    def table(self, head) -> Table:
        table = super().table(head)
        # files of the authors may lack the biases of the head: each is a group of its own
        rows = tuple(replace(r, group=r.theirs) if r.theirs in BIASES else r for r in table.rows)
        count = len(slots(self.ROWS))
        running = behind(self.PREFIX, slots(RUNNING))
        return replace(
            table,
            rows=rows,
            prefixes=("bert.",),
            variants=(replace(table, rows=(*running, *rows[count:])),),
        )


def of_authors(values: Mapping[str, Any]) -> dict[str, Any]:
    """A config of the authors' code under the names of transformers."""
    old = {**AUTHORS, **values}
    width, hidden = old["n_embd"], old.pop("n_inner")
    hidden = int(8 * width / 3) if hidden is None else hidden
    act = old["activation_function"]
    if act in GATED:
        old["activation_function"] = "swiglu"
    if (factor := old.pop("rotary_scaling_factor")) is not None:
        rope: dict[str, Any] = {"rope_type": "dynamic", "factor": factor}
        old["n_positions"] = old.get("max_trained_positions", 2048)
    else:
        rope = {"rope_type": "default"}
    rope["rope_theta"] = float(old.pop("rotary_emb_base"))
    multiple = old.pop("pad_vocab_size_multiple")
    old["vocab_size"] = -(-old.get("vocab_size", 50257) // multiple) * multiple
    return {
        **{RENAMED.get(name, name): value for name, value in old.items()},
        "intermediate_size": -(-hidden // MULTIPLE) * MULTIPLE,
        "hidden_act": GATED.get(act, "silu"),
        "rope_parameters": rope,
    }


R = "layers.{i}"
RUNNING = f"""
embeddings.word_embeddings.weight       | embed.table
embeddings.token_type_embeddings.weight | embed.type
{norm("embeddings.LayerNorm", "embed.norm")}
{attention(f"{R}.self_attn", f"{S}.self", "q_proj k_proj v_proj o_proj", bias=False)}
{norm(f"{R}.post_attention_layernorm", f"{S}.self_norm")}
{feed_forward(f"{R}.mlp", f"{S}.ffn", "gate_proj up_proj down_proj", bias=False)}
{norm(f"{R}.post_mlp_layernorm", f"{S}.ffn_norm")}
"""  # the names within transformers v5, which some files have
