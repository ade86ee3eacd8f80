"""BEiT (Bao et al. 2021): ViT with a learned bias for the offset between patches, trained to
predict the visual tokens of hidden patches. Hugging Face model_type "beit"."""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers_jax.models.bert import MLP
from transformers_jax.models.shared.blocks import scaled
from transformers_jax.models.shared.class_names import IMAGE, heads_of
from transformers_jax.models.shared.standard import ImageTower
from transformers_jax.models.shared.task_heads import task_head
from transformers_jax.models.shared.weight_rows import S, block_rows, layer, norm
from transformers_jax.models.vit import IN_MEMORY, PATCHES, PROJECTIONS, L
from transformers_jax.nn import head as heads
from transformers_jax.nn.embed import GridPositions, PatchEmbedder
from transformers_jax.spec import GridBias, Initial

BIAS = "relative_position_bias"
POOLED = ("none", "image_classification")


@dataclass(frozen=True, kw_only=True)
class BeitConfig(ImageTower):
    """The fields of a BEiT config.json; defaults are BEiT-B/16 (86M). Images of any size are taken:
    what is learned of the places of patches is interpolated."""

    model_type = "beit"
    UNUSED = frozenset(
        """add_fpn auxiliary_channels auxiliary_concat_input auxiliary_loss_weight
        auxiliary_num_convs out_features out_indices pool_scales reshape_hidden_states
        segmentation_indices semantic_loss_ignore_index stage_names use_auxiliary_head""".split()
    )
    PREFIX = "beit."
    POOLER = "pooler.layernorm"
    IGNORE = ("*relative_position_index",)
    ALIASES = (
        *IN_MEMORY,
        (rf"(layer\.\d+)\.{BIAS}\.", rf"\1.attention.attention.{BIAS}."),
        (r"^((?:\w+\.)?)shared_position_bias\.", rf"\1encoder.{BIAS}."),
    )
    ROWS = f"""
{PATCHES}
embeddings.mask_token        | embed.hidden        | 1 1 d -> d
encoder.{BIAS}.{BIAS}_table  | stack.score.table
{L}.attention.attention.{BIAS}.{BIAS}_table | {S}.self.score.table
{L}.lambda_1                 | {S}.self_residual.scale
{L}.lambda_2                 | {S}.ffn_residual.scale
{norm("layernorm", "stack.norm")}
{block_rows(L, S, "attention", PROJECTIONS, MLP, "layernorm_before layernorm_after")}
"""
    HEAD_ROWS = {
        "image_classification": layer("classifier", "head.classify"),
        "masked_image_modeling": norm("layernorm", "head.norm") + layer("lm_head", "head.words"),
    }
    HEADS = heads_of("Beit", *IMAGE)

    vocab_size: int = 8192
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    use_mask_token: bool = False
    use_absolute_position_embeddings: bool = False
    use_relative_position_bias: bool = False
    use_shared_relative_position_bias: bool = False
    layer_scale_init_value: float = 0.1
    drop_path_rate: float = 0.1
    use_mean_pooling: bool = True

    @property
    def initial(self) -> Initial:
        """normal(0.02), cut off at two deviations (the released code)."""
        return Initial(self.initializer_range, cut=2.0)

    def patches(self):
        has_table = self.use_absolute_position_embeddings
        return replace(
            super().patches(),
            mask=self.use_mask_token,
            positions=GridPositions(any_size=True) if has_table else None,
            dropout=self.hidden_dropout_prob,
        )

    def embedder(self, head):
        return PatchEmbedder(self.patches())

    def attend(self, mask):
        score = self.bias() if self.use_relative_position_bias else None
        return replace(super().attend(mask), bias=("query", "value", "out"), score=score)

    def bias(self) -> GridBias:
        """What the offset between two patches adds to their scores."""
        return GridBias(self.patches().grid, self.num_attention_heads)

    def spec(self, mask=None):
        stack, depth = self.stack(mask), self.num_hidden_layers
        blocks, value = stack.blocks, self.layer_scale_init_value
        return replace(
            stack,
            blocks=tuple(scaled(one, value) for one in blocks) if value > 0 else blocks,
            score=self.bias() if self.use_shared_relative_position_bias else None,
            final_norm=None if self.use_mean_pooling else self.layer_norm,
            drop_path=tuple(self.drop_path_rate * n / max(depth - 1, 1) for n in range(depth)),
        )

    def pooler(self, head):
        """The mean of the patches, normalised, or the class token."""
        if head not in POOLED or not self.use_mean_pooling:
            return heads.TokenPooler(self.hidden_size) if head in POOLED else None
        return heads.TokenPooler(self.hidden_size, self.layer_norm, "mean of all", skip=1)

    def pooler_rows(self, theirs):
        return norm(theirs, "pooler.norm") if self.use_mean_pooling else ""

    def head(self, head):
        width, initial = self.hidden_size, self.initial
        if head == "masked_image_modeling":
            return heads.VisualTokens(width, self.vocab_size, self.layer_norm, initial)
        return task_head(self, "sequence_classification", width, initial)
