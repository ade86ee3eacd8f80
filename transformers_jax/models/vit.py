"""ViT, the Vision Transformer (Dosovitskiy et al. 2020). Hugging Face model_type "vit"."""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers_jax.models.bert import MLP
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.standard import ImageTower
from transformers_jax.models.shared.task_heads import task_head
from transformers_jax.models.shared.weight_rows import S, block_rows, layer, norm
from transformers_jax.nn import head as heads
from transformers_jax.spec import Initial

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


PROJECTIONS = "attention.query attention.key attention.value output.dense"
L = "encoder.layer.{i}"


@dataclass(frozen=True, kw_only=True)
class ViTConfig(ImageTower):
    """The fields of a ViT config.json; defaults are ViT-B/16 (86M). An image of another size than
    `image_size` is taken with `interpolate_pos_encoding=True`."""

    model_type = "vit"
    UNUSED = frozenset({"encoder_stride"})  # of masked image modelling
    PREFIX = "vit."
    POOLER = "pooler.dense"
    ALIASES = IN_MEMORY
    HEAD_ROWS = {"image_classification": layer("classifier", "head.classify")}
    ROWS = f"""
embeddings.cls_token                          | embed.cls        | 1 1 d -> d
embeddings.position_embeddings                | embed.position   | 1 t d -> t d
embeddings.patch_embeddings.projection.weight | embed.patch      | d c p q -> c p q d
embeddings.patch_embeddings.projection.bias   | embed.patch_bias
{norm("layernorm", "stack.norm")}
{block_rows(L, S, "attention", PROJECTIONS, MLP, "layernorm_before layernorm_after")}
"""
    HEADS = heads_of("ViT", "none", "image_classification")

    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    qkv_bias: bool = True
    pooler_output_size: int | None = None
    pooler_act: str = "tanh"

    @property
    def initial(self) -> Initial:
        """normal(0.02), cut off at two deviations (the released code)."""
        return Initial(self.initializer_range, cut=2.0)

    def patches(self):
        return replace(super().patches(), dropout=self.hidden_dropout_prob)

    def attend(self, mask):
        own = super().attend(mask)
        return own if self.qkv_bias else replace(own, bias=("out",))

    def spec(self, mask=None):
        return replace(super().spec(mask), final_norm=self.layer_norm)

    def pooler(self, head):
        width, out = self.hidden_size, self.pooler_output_size
        return heads.Pooler(width, self.initial, self.pooler_act, out) if head == "none" else None

    def head(self, head):
        width, initial = self.hidden_size, self.initial
        return task_head(self, "sequence_classification", width, initial, pooling="first")
