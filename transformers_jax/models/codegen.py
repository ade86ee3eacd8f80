"""CodeGen (Nijkamp et al. 2022). Hugging Face model_type "codegen"."""

from __future__ import annotations

from dataclasses import dataclass

from transformers_jax.models.gptj import GPTJConfig
from transformers_jax.models.shared.class_names import heads_of


@dataclass(frozen=True, kw_only=True)
class CodeGenConfig(GPTJConfig):
    """The fields of a CodeGen config.json; defaults are those of transformers, 6B. GPT-J, whose
    files hold queries, values and keys in one tensor, by quarters of the heads: the parts of the
    machine on which it was trained."""

    model_type = "codegen"
    ATTENTION = "attn qkv_proj out_proj"
    ORDER = "query value key"
    HEADS = heads_of("CodeGen", "none", "causal_lm")

    @property
    def groups(self):
        return 4

    def __post_init__(self):
        super().__post_init__()
        if self.n_head % self.groups:
            raise ValueError(
                f"CodeGenConfig: files hold the heads in {self.groups} groups, so that n_head "
                f"({self.n_head}) must be a multiple of {self.groups}"
            )
