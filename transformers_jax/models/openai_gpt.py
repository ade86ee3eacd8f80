"""GPT (Radford et al. 2018). Hugging Face model_type "openai-gpt"."""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers_jax.hub.table import Tying
from transformers_jax.models.gpt2 import GPT2Config
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.decoders import AS_GPT2, LayerNormDecoder
from transformers_jax.models.shared.summary import double_heads, double_rows
from transformers_jax.nn.feedforward import FeedForwardSpec

WRITERS = {"OpenAIGPTLMHeadModel": "causal_lm", "OpenAIGPTDoubleHeadsModel": "double_heads"}
ACTIVATIONS = {"gelu": "gelu_new", "relu": "relu", "silu": "silu", "swish": "swish"}


@dataclass(frozen=True, kw_only=True)
class OpenAIGPTConfig(LayerNormDecoder):
    """The fields of a GPT config.json; defaults are the released model (117M). Norms stand behind
    the residuals, and "gelu" means its approximation by tanh."""

    model_type = "openai-gpt"
    FIXED = {
        **dict.fromkeys(("summary_use_proj", "summary_proj_to_labels"), True),
        "summary_type": "cls_index",
    }
    UNUSED = frozenset({"n_special", "predict_special_tokens"})
    SPELLINGS = AS_GPT2
    SIZES = "n_embd n_head n_layer"
    PLACEMENT = "post"
    PREFIX = "transformer."
    TABLE = "tokens_embed h.{i} none"
    NORMS = "ln_1 ln_2"
    HEADS = heads_of("OpenAIGPT", "none", "sequence_classification", **WRITERS)

    vocab_size: int = 40478
    n_positions: int = 512
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    afn: str = "gelu"
    resid_pdrop: float = 0.1
    embd_pdrop: float = 0.1
    attn_pdrop: float = 0.1
    layer_norm_epsilon: float = 1e-5
    summary_activation: str | None = None
    summary_first_dropout: float = 0.1

    def feed_forward(self):
        if self.afn not in ACTIVATIONS:
            raise ValueError(
                f"OpenAIGPTConfig: afn={self.afn!r} is not implemented; known are "
                f"{', '.join(ACTIVATIONS)}"
            )
        return FeedForwardSpec(4 * self.n_embd, ACTIVATIONS[self.afn])

    def embed(self):
        """Words + positions; types are looked up among the words."""
        return replace(super().embed(), positions=self.n_positions, types="words")

    def head(self, head):
        return double_heads(self, self.n_embd) if head == "double_heads" else super().head(head)

    def head_rows(self, head, tied):
        return double_rows(tied) if head == "double_heads" else super().head_rows(head, tied)

    def backbone(self):
        return GPT2Config.ROWS.replace("wte", "tokens_embed").replace("wpe", "positions_embed")

    def table(self, head):
        table = super().table(head)
        if head != "double_heads" or not self.tie_word_embeddings:
            return table
        # of this class the reference stores the output table, not the embeddings that are the same
        (tie,) = self.ties
        rows = (replace(r, theirs=tie.copy) if r.theirs == tie.name else r for r in table.rows)
        bare = (r"^tokens_embed\.", f"{self.PREFIX}tokens_embed.")
        return replace(table, rows=tuple(rows), ties=(Tying(tie.copy, tie.name),), aliases=(bare,))
