"""ViT, the Vision Transformer (Dosovitskiy et al. 2020). Hugging Face model_type "vit"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers_jax.graph import FULL, given
from transformers_jax.hub.table import Table, rows
from transformers_jax.models.weight_rows import S, attention, backbone, dense, layer, norm, of_heads
from transformers_jax.models.wiring import OneTower
from transformers_jax.nn import head as heads
from transformers_jax.nn.attention import AttentionSpec
from transformers_jax.nn.embed import PatchEmbedder, PatchSpec, pair
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.spec import Branch, Initial, LayerNorm, StackSpec


@dataclass(frozen=True, kw_only=True)
class ViTConfig(OneTower):
    """The fields of a ViT config.json; defaults are ViT-B/16 (86M). An image of another size than
    `image_size` is taken with `interpolate_pos_encoding=True`."""

    model_type = "vit"
    UNUSED = frozenset({"encoder_stride"})  # of masked image modelling
    HEADS = {"ViTModel": "none", "ViTForImageClassification": "image_classification"}

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    image_size: int | tuple[int, ...] = 224
    patch_size: int | tuple[int, ...] = 16
    num_channels: int = 3
    qkv_bias: bool = True
    pooler_output_size: int | None = None
    pooler_act: str = "tanh"

    @property
    def initial(self) -> Initial:
        """normal(0.02), cut off at two deviations (the released code)."""
        return Initial(self.initializer_range, cut=2.0)

    def embedder(self, head):
        image, patch = pair(self.image_size), pair(self.patch_size)
        width, rate = self.hidden_size, self.hidden_dropout_prob
        patches = PatchSpec(
            image, patch, self.num_channels, width, dropout=rate, initial=self.initial
        )
        return PatchEmbedder(patches)

    def spec(self, mask=None) -> StackSpec:
        """Pre-norm blocks in which every patch attends to every patch."""
        layer_norm, rate = LayerNorm(self.layer_norm_eps), self.hidden_dropout_prob
        attend = AttentionSpec(
            heads=self.num_attention_heads,
            kv=self.head_width("hidden_size", "num_attention_heads"),
            mask=given(mask, FULL),
            bias=("query", "key", "value", "out") if self.qkv_bias else ("out",),
            dropout=self.attention_probs_dropout_prob,
        )
        ffn = FeedForwardSpec(self.intermediate_size, self.hidden_act)
        placed: dict[str, Any] = dict(norm=layer_norm, dropout=rate)
        blocks = ((Branch("self", attend, **placed), Branch("ffn", ffn, **placed)),)
        blocks *= self.num_hidden_layers
        return StackSpec(
            self.hidden_size, blocks, layer_norm, norm_hidden=False, initial=self.initial
        )

    def pooler(self, head):
        width, out = self.hidden_size, self.pooler_output_size
        return heads.Pooler(width, self.initial, self.pooler_act, out) if head == "none" else None

    def head(self, head):
        return None if head == "none" else heads.SequenceClassification(
            self.hidden_size, self.num_labels, self.initial, pooling="first",
            problem=self.problem_type,
        )  # fmt: skip

    def table(self, head) -> Table:
        pooler = rows(layer("pooler.dense", "pooler"), group="pooler")
        classify = {"image_classification": layer("classifier", "head.classify")}
        return Table(
            (*backbone(BACKBONE), *pooler, *of_heads(classify, head)),
            prefix="vit.",
            aliases=IN_MEMORY,
        )


NAMES = "attention.query attention.key attention.value output.dense"
IN_MEMORY = (  # the names of transformers v5 in memory, which some files hold
    (r"^((?:vit\.)?)layers\.", r"\1encoder.layer."),
    (r"\.attention\.([qkv])_proj\.", r".attention.attention.\1_proj."),
    (r"\.q_proj\.", ".query."),
    (r"\.k_proj\.", ".key."),
    (r"\.v_proj\.", ".value."),
    (r"\.attention\.o_proj\.", ".attention.output.dense."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)
L = "vit.encoder.layer.{i}"
BACKBONE = f"""
vit.embeddings.cls_token                          | embed.cls        | 1 1 d -> d
vit.embeddings.position_embeddings                | embed.position   | 1 t d -> t d
vit.embeddings.patch_embeddings.projection.weight | embed.patch      | d c p q -> c p q d
vit.embeddings.patch_embeddings.projection.bias   | embed.patch_bias
{norm("vit.layernorm", "stack.norm")}
{norm(f"{L}.layernorm_before", f"{S}.self_norm")}
{attention(f"{L}.attention", f"{S}.self", NAMES)}
{norm(f"{L}.layernorm_after", f"{S}.ffn_norm")}
{dense(f"{L}.intermediate.dense", f"{S}.ffn.up")}
{dense(f"{L}.output.dense", f"{S}.ffn.down", "d f -> f d")}
"""
