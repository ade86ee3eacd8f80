"""Switch Transformer (Fedus et al. 2021): T5 in which every n-th layer has experts, one a token.
Hugging Face model_type "switch_transformers"."""

from __future__ import annotations

from dataclasses import dataclass

from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.weight_rows import dense, feed_forward, norm
from transformers_jax.models.t5 import T5Config
from transformers_jax.models.wiring.family import SIDES
from transformers_jax.nn.experts import ExpertsSpec
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.nn.router_losses import RouterLosses
from transformers_jax.nn.routers import Softmax
from transformers_jax.spec import Branch, Draw, InitialT5


@dataclass(frozen=True)
class InitialSwitch(InitialT5):
    """T5's rule with a tenth of the variance in experts and routers (Fedus et al. 2021, 2.4; their
    truncated normal as a normal)."""

    def draw(self, role, sizes):
        drawn = super().draw(role, sizes)
        smaller = role == "router" or "experts" in sizes
        return Draw("normal", drawn.scale * 0.1**0.5) if smaller else drawn


@dataclass(frozen=True, kw_only=True)
class SwitchTransformersConfig(T5Config):
    """The fields of a Switch config.json; defaults are Switch-base-8 with experts in a fourth of
    the layers instead of half of them.

    Files say `tie_word_embeddings`: it ties all tables of words or none, and scales what is tied.
    """

    model_type = "switch_transformers"
    MLP = "mlp"
    HEADS = heads_of("SwitchTransformers", "none", "seq2seq_lm", "encoder")
    FIXED = {"router_dtype": "float32"}
    UNUSED = T5Config.UNUSED | frozenset(
        """add_router_probs router_ignore_padding_tokens batch_prioritized_routing router_type
        reuse_router_probs
        """.split()
    )
    UNWRITTEN = T5Config.UNWRITTEN | frozenset(
        "scale_decoder_outputs feed_forward_proj is_gated_act classifier_dropout".split()
    )

    d_model: int = 768
    num_layers: int = 12
    num_decoder_layers: int | None = 12
    num_heads: int = 12
    num_sparse_encoder_layers: int | None = 3  # may be 0
    num_sparse_decoder_layers: int | None = 3
    encoder_sparse_step: int | None = None
    decoder_sparse_step: int | None = None
    num_experts: int = 8
    expert_capacity: int = 64
    router_bias: bool = False
    router_jitter_noise: float = 0.01
    router_z_loss_coef: float = 0.001
    router_aux_loss_coef: float = 0.001

    # ------------------------------------------------------------ in and out

    @classmethod
    def modernise(cls, values):
        tied = bool(values.get("tie_word_embeddings", True))
        values = super().modernise({**values, "scale_decoder_outputs": tied})
        return {**values, "tie_word_embeddings": tied, "own_words": () if tied else SIDES}

    def resolved(self, same):
        config = super().resolved(same)
        if self.tie_word_embeddings:
            return config
        stored = (s for s, name in zip(SIDES, self.embedding_names[1:]) if same(name, name))
        return config.replace(own_words=tuple(stored))

    def to_dict(self):
        written = {f"{side}_sparse_step": self.sparse_step(side == "decoder") for side in SIDES}
        return {**super().to_dict(), **written, "tie_word_embeddings": self.scale_decoder_outputs}

    # ------------------------------------------------------------ the network

    @property
    def initial(self) -> InitialSwitch:
        """T5's rule, with less variance where tokens are routed (Fedus et al. 2021, 2.4)."""
        return InitialSwitch(factor=self.initializer_factor)

    def feed_forward(self) -> FeedForwardSpec:
        """What a layer, or an expert, computes: never gated."""
        act = self.dense_act_fn or "relu"
        return FeedForwardSpec(self.d_ff, act, bias=False, dropout=self.dropout_rate)

    def sparse_step(self, decoder: bool) -> int:
        """Every how many layers there are experts, from the second layer on; 0 for never."""
        side = "decoder" if decoder else "encoder"
        step = getattr(self, f"{side}_sparse_step")
        count, depth = getattr(self, f"num_sparse_{side}_layers"), self.depth(decoder)
        return (depth // count if count else depth) if step is None else step

    def compute(self, decoder, number):
        step = self.sparse_step(decoder)
        if step < 1 or (step > 1 and number % step != 1):
            return super().compute(decoder, number)
        experts = ExpertsSpec(
            self.num_experts,
            1,
            self.feed_forward(),
            Softmax(self.router_bias),
            capacity=self.expert_capacity,
            jitter=self.router_jitter_noise,
        )
        return Branch("experts", experts)

    def routing(self, head):
        # where every layer has experts, transformers counts none of them
        sides = tuple(side for side in SIDES if self.sparse_step(side == "decoder") > 1)
        losses = RouterLosses(self.router_aux_loss_coef, self.router_z_loss_coef, sides)
        return losses if head == "seq2seq_lm" else None

    def side_rows(self, name, ours, embed):
        text = super().side_rows(name, ours, embed)
        layer = f"{name}.block.{{i}}.layer.{2 if name == 'decoder' else 1}"
        slot, expert = f"{ours}.blocks.{{slot}}.experts", f"{layer}.mlp.experts.expert_{{e}}"
        text += norm(f"{layer}.layer_norm", f"{slot}_norm", bias=False)
        text += feed_forward(expert, slot, "wi wo", bias=False)
        return text + dense(f"{layer}.mlp.router.classifier", f"{slot}.router", "e d -> d e")
