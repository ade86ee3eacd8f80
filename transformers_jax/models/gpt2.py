"""GPT-2 (Radford et al. 2019). Hugging Face model_type "gpt2"."""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers_jax.graph import CAUSAL, FULL, with_own
from transformers_jax.hub.table import Tying
from transformers_jax.models.shared.blocks import attention, block
from transformers_jax.models.shared.class_names import LABELLING, heads_of
from transformers_jax.models.shared.decoder_heads import decoder_head, decoder_rows
from transformers_jax.models.shared.task_heads import first_of
from transformers_jax.models.shared.weight_rows import S, dense, norm
from transformers_jax.models.wiring import OneTower
from transformers_jax.nn.embed import EmbedSpec
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.spec import Block, Initial, LayerNorm, StackSpec

# Conv1D holds (in, out), unlike torch's Linear, and query, key and value are one tensor.
FUSED = f"{S}.self.query{{0}} {S}.self.key{{0}} {S}.self.value{{0}}"
H = "h.{i}"


@dataclass(frozen=True, kw_only=True)
class GPT2Config(OneTower):
    """The fields of a GPT-2 config.json; defaults are GPT-2 small (124M). With
    `add_cross_attention` it can be the decoder of an encoder-decoder; `is_decoder` is ignored."""

    model_type = "gpt2"
    UNUSED = frozenset(
        "summary_type summary_use_proj summary_activation summary_proj_to_labels".split()
    )
    SPELLINGS = {
        "hidden_size": "n_embd",
        "num_hidden_layers": "n_layer",
        "num_attention_heads": "n_head",
        "max_position_embeddings": "n_positions",
    }
    PREFIX = "transformer."
    TIES = (Tying("transformer.wte.weight", "lm_head.weight"),)
    IGNORE = tuple(  # causal masks, which v4 stored
        f"*.{part}.{mask}"
        for part in ("attn", "crossattention")
        for mask in ("bias", "masked_bias")
    )
    ROWS = f"""
wte.weight   | embed.table
wpe.weight   | embed.position
{norm(f"{H}.ln_1", f"{S}.self_norm")}
{H}.attn.c_attn.weight   | {FUSED.replace("{0}", "")} | d (n h k) -> n d h k
{H}.attn.c_attn.bias     | {FUSED.replace("{0}", "_bias")} | (n h k) -> n h k
{dense(f"{H}.attn.c_proj", f"{S}.self.out", "(h k) d -> h k d")}
{norm(f"{H}.ln_cross_attn", f"{S}.cross_norm")}
{dense(f"{H}.crossattention.q_attn", f"{S}.cross.query", "d (h k) -> d h k", "(h k) -> h k")}
{H}.crossattention.c_attn.weight | {S}.cross.key {S}.cross.value | d (n h k) -> n d h k
{H}.crossattention.c_attn.bias   | {S}.cross.key_bias {S}.cross.value_bias | (n h k) -> n h k
{dense(f"{H}.crossattention.c_proj", f"{S}.cross.out", "(h k) d -> h k d")}
{norm(f"{H}.ln_2", f"{S}.ffn_norm")}
{dense(f"{H}.mlp.c_fc", f"{S}.ffn.up", "")}
{dense(f"{H}.mlp.c_proj", f"{S}.ffn.down", "")}
{norm("ln_f", "stack.norm")}
"""
    HEADS = heads_of("GPT2", "none", *LABELLING, GPT2LMHeadModel="causal_lm")

    vocab_size: int = 50257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None
    activation_function: str = "gelu_new"
    resid_pdrop: float = 0.1
    embd_pdrop: float = 0.1
    attn_pdrop: float = 0.1
    classifier_dropout: float | None = None
    hidden_dropout: float | None = None
    summary_first_dropout: float = 0.1
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: bool = False
    is_decoder: bool = False
    add_cross_attention: bool = False
    bos_token_id: int | None = 50256
    eos_token_id: int | tuple[int, ...] | None = 50256

    def spec(self, mask=None, cross=None):
        """Pre-norm blocks of causal self-attention, cross-attention if configured, and an MLP."""
        crosses, norm = self.add_cross_attention, LayerNorm(self.layer_norm_epsilon)
        mask, other = with_own(mask, CAUSAL), with_own(cross, FULL) if crosses else None
        own = attention(self, "n_embd", "n_head", mask)
        ffn = FeedForwardSpec(self.n_inner or 4 * self.n_embd, self.activation_function)
        scale = own.kv**-0.5 if self.scale_attn_weights else 1.0

        def layer(number: int) -> Block:
            divisor = number + 1 if self.scale_attn_by_inverse_layer_idx else 1
            scaled = replace(own, scale=scale / divisor, dropout=self.attn_pdrop)
            return block(scaled, ffn, norm, "pre", self.resid_pdrop, other)

        blocks = tuple(layer(number) for number in range(self.n_layer))
        return StackSpec(self.n_embd, blocks, norm, source_optional=crosses, initial=self.initial)

    @property
    def initial(self) -> Initial:
        """normal(0.02); weights into the stream smaller by sqrt(2 N) (GPT-2 section 2.3)."""
        std = self.initializer_range
        return Initial(std, residual=std / (2 * self.n_layer) ** 0.5)

    def embed(self):
        """Words + positions; types are looked up among the words."""
        return EmbedSpec(
            vocab=self.vocab_size,
            width=self.n_embd,
            positions=self.n_positions,
            types="words",
            dropout=self.embd_pdrop,
            initial=self.initial,
        )

    def head(self, head):
        return decoder_head(self, head, self.n_embd, self.initial, self.classifier_rate)

    @property
    def classifier_rate(self) -> float:
        """Dropout in front of the labels of tokens."""
        return first_of(self.classifier_dropout, self.hidden_dropout, 0.1)

    def head_rows(self, head, tied):
        return decoder_rows("classifier").get(head, "")
