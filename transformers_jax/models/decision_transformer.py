"""Decision Transformer (Chen et al. 2021). Hugging Face model_type "decision_transformer"."""

from __future__ import annotations

from dataclasses import dataclass

from transformers_jax.models.gpt2 import GPT2Config
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.weight_rows import layer, norm
from transformers_jax.models.wiring import OneTower
from transformers_jax.nn.embed import TrajectoryEmbedder, TrajectorySpec
from transformers_jax.nn.head import Trajectory
from transformers_jax.spec import LayerNorm

OF_TRUNK = (  # the fields that are those of GPT-2
    *("n_layer", "n_head", "n_inner", "activation_function", "resid_pdrop", "attn_pdrop"),
    *("layer_norm_epsilon", "initializer_range", "scale_attn_weights", "add_cross_attention"),
    "scale_attn_by_inverse_layer_idx",
)
EMBEDDED = {"wte.weight": "embed.unused", "wpe.weight": "embed.position"}


def trunk_rows() -> str:
    """The rows of GPT-2, as the trunk of another model."""
    named = [line.split("|", 1) for line in GPT2Config.ROWS.splitlines() if line]
    named = [(name.strip(), EMBEDDED.get(name.strip(), rest.strip())) for name, rest in named]
    return "\n".join(f"encoder.{name} | {rest}" for name, rest in named)


@dataclass(frozen=True, kw_only=True)
class DecisionTransformerConfig(OneTower):
    """The fields of a Decision Transformer config.json. The trunk is GPT-2, whose tokens are the
    returns, states and actions of an episode in turn; its tables of words and positions are stored,
    and of the latter one row is read."""

    model_type = "decision_transformer"
    UNUSED = GPT2Config.UNUSED | {"summary_first_dropout"}
    SPELLINGS = {
        name: field for name, field in GPT2Config.SPELLINGS.items() if name != "hidden_size"
    }
    IGNORE = GPT2Config.IGNORE
    ROWS = f"""
{trunk_rows()}
embed_timestep.weight | embed.timestep
{layer("embed_return", "embed.returns")}
{layer("embed_state", "embed.states")}
{layer("embed_action", "embed.actions")}
{norm("embed_ln", "embed.norm")}
"""
    HEAD_ROWS = {
        "trajectory": layer("predict_state", "head.state")
        + layer("predict_action.0", "head.action")
        + layer("predict_return", "head.value")
    }
    HEADS = heads_of("DecisionTransformer", DecisionTransformerModel="trajectory")

    state_dim: int = 17
    act_dim: int = 4
    hidden_size: int = 128
    max_ep_len: int = 4096
    action_tanh: bool = True
    vocab_size: int = 1
    n_positions: int = 1024
    n_layer: int = 3
    n_head: int = 1
    n_inner: int | None = None
    activation_function: str = "relu"
    resid_pdrop: float = 0.1
    embd_pdrop: float = 0.1
    attn_pdrop: float = 0.1
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: bool = False
    add_cross_attention: bool = False
    bos_token_id: int | None = 50256
    eos_token_id: int | tuple[int, ...] | None = 50256

    @property
    def trunk(self) -> GPT2Config:
        """GPT-2, as the trunk is."""
        self.head_width("hidden_size", "n_head")
        fields = {name: getattr(self, name) for name in OF_TRUNK}
        return GPT2Config(n_embd=self.hidden_size, **fields)

    def spec(self, mask=None, cross=None):
        """The stack of GPT-2; a cross-attention that files may have is left out of every call."""
        return self.trunk.spec(mask, cross)

    @property
    def initial(self):
        """As in GPT-2."""
        return self.trunk.initial

    def embedder(self, head):
        return TrajectoryEmbedder(
            TrajectorySpec(
                self.state_dim,
                self.act_dim,
                self.max_ep_len,
                self.hidden_size,
                positions=self.n_positions,
                vocab=self.vocab_size,
                norm=LayerNorm(),
                dropout=self.embd_pdrop,
                initial=self.initial,
            )
        )

    def head(self, head):
        sizes = (self.state_dim, self.act_dim, self.hidden_size, self.initial)
        return Trajectory(*sizes, squashed=self.action_tanh)
