"""MLP-Mixer (Tolstikhin et al. 2021), in files of timm ("mixer_b16_224")."""

from __future__ import annotations

from dataclasses import dataclass

from transformers_jax.models.shared.timm import TimmConfig, TimmHead, sized
from transformers_jax.models.shared.weight_rows import S, feed_forward, layer, norm
from transformers_jax.nn.embed import pair
from transformers_jax.nn.feedforward import FeedForwardSpec, Mlp
from transformers_jax.nn.image.stem import StemEmbedder, StemSpec
from transformers_jax.nn.operation import OpResult
from transformers_jax.spec import Branch, LayerNorm, OpFlops, StackSpec

SIZES = {"s": (512, 8), "b": (768, 12), "l": (1024, 24)}  # width and blocks
EPS = LayerNorm(1e-6)


@dataclass(frozen=True)
class MixingSpec(FeedForwardSpec):
    """A feed-forward network over the tokens of each channel, of which there are always as many."""

    tokens: int = 196

    def build(self, width, initial, source=None):
        return Mixing(self, self.tokens, initial)

    def flops(self, width, queries, keys, edges):
        return OpFlops(4.0 * self.tokens * self.hidden * width)

    def describe(self):
        return f"over {self.tokens} tokens: {super().describe()}"


class Mixing(Mlp):
    """See `MixingSpec`."""

    def apply(self, x, context, *, cache=None, key=None) -> OpResult:
        return OpResult(self(x.swapaxes(1, 2), key=key).swapaxes(1, 2))


@dataclass(frozen=True, kw_only=True)
class TimmMixerConfig(TimmConfig):
    """The config of a Mixer of timm."""

    model_type = "timm.MlpMixer"
    HEADS = {"timm.MlpMixer": "image_classification", "timm.MlpMixer.features": "none"}
    HEAD_ROWS = {"image_classification": layer("head", "head.classify")}
    ROWS = f"""
stem.proj.weight | embed.patch | d c p q -> c p q d
stem.proj.bias   | embed.patch_bias
{norm("norm", "stack.norm")}
{norm("blocks.{i}.norm1", f"{S}.tokens_norm")}
{norm("blocks.{i}.norm2", f"{S}.channels_norm")}
{feed_forward("blocks.{i}.mlp_tokens", f"{S}.tokens", "fc1 fc2")}
{feed_forward("blocks.{i}.mlp_channels", f"{S}.channels", "fc1 fc2")}
"""
    DEFAULTS = dict(
        img_size=224, in_chans=3, num_classes=1000, patch_size=16, num_blocks=8, embed_dim=512,
        mlp_ratio=(0.5, 4.0), drop_rate=0.0, proj_drop_rate=0.0, drop_path_rate=0.0,
        global_pool="avg",
    )  # fmt: skip
    ONLY = {"stem_norm": False, "global_pool": "avg", "drop_rate": 0.0}

    @classmethod
    def named(cls, architecture):
        parts = sized(r"mixer_(?P<size>[sbl])(?P<patch>\d+)_(?P<image>\d+)", architecture)
        width, blocks = SIZES[parts["size"]]
        sizes = dict(img_size=int(parts["image"]), patch_size=int(parts["patch"]))
        return sizes | dict(embed_dim=width, num_blocks=blocks)

    def patches(self) -> StemSpec:
        """How an image becomes vectors."""
        a = self.built
        return StemSpec(
            pair(a["img_size"]),
            pair(a["patch_size"]),
            a["in_chans"],
            a["embed_dim"],
            whole=True,
            initial=self.initial,
        )

    def embedder(self, head):
        return StemEmbedder(self.patches())

    def spec(self, mask=None):
        """Blocks of (tokens, channels), each pre-norm."""
        if mask is not None:
            raise ValueError(f"mask={mask}: every token of a Mixer reads all; leave the mask out")
        a = self.built
        grid = self.embedder("none").grid_of(pair(a["img_size"]))
        ratio = a["mlp_ratio"]
        across, along = ratio if isinstance(ratio, (tuple, list)) else (ratio, ratio)
        width, rate = a["embed_dim"], a["proj_drop_rate"]
        mixing = MixingSpec(int(across * width), dropout=rate, tokens=grid[0] * grid[1])
        channels = FeedForwardSpec(int(along * width), dropout=rate)
        block = (
            Branch("tokens", mixing, EPS, dropout=rate),
            Branch("channels", channels, EPS, dropout=rate),
        )
        depth = a["num_blocks"]
        return StackSpec(
            width,
            (block,) * depth,
            EPS,
            norm_hidden=False,
            drop_path=(a["drop_path_rate"],) * depth,
            initial=self.initial,
        )

    def head(self, head):
        return TimmHead(self.built["embed_dim"], self.num_classes, self.initial, pooling="avg")
