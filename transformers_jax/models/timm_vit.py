"""ViT and its hybrids with a ResNet in front (Dosovitskiy et al. 2020; Steiner et al. 2021), in
files of timm ("vit_base_patch16_224", "vit_tiny_r_s16_p8_224", "vit_small_r26_s32_224")."""

from __future__ import annotations

from dataclasses import dataclass

from transformers_jax.graph import FULL, with_own
from transformers_jax.models.frozen import thaw
from transformers_jax.models.shared.timm import TimmConfig, TimmHead, sized
from transformers_jax.models.shared.weight_rows import HEADS_IN, S, dense, feed_forward, layer, norm
from transformers_jax.nn.attention import AttentionSpec
from transformers_jax.nn.embed import pair
from transformers_jax.nn.feedforward import FeedForwardSpec
from transformers_jax.nn.image.standard import Backbone, HybridEmbedder
from transformers_jax.nn.image.stem import StemEmbedder, StemSpec
from transformers_jax.nn.residual import LayerScale
from transformers_jax.spec import Branch, LayerNorm, StackSpec

SIZES = {  # width, depth and heads
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
}
LAYERS = {"r": (), "r26s32": (2, 2, 2, 2), "r50s16": (3, 4, 9), "r50s32": (3, 4, 6, 3)}
CHANNELS = (256, 512, 1024, 2048)
NAME = (
    r"vit_(?P<size>tiny|small|base|large)_(?:patch(?P<patch>\d+)"
    r"|(?P<resnet>r\d*)_s(?P<stride>\d+)(?:_p(?P<behind>\d+))?)_(?P<image>\d+)"
)
EPS = LayerNorm(1e-6)
DROPS = ("drop_rate", "pos_drop_rate", "proj_drop_rate", "attn_drop_rate", "drop_path_rate")


@dataclass(frozen=True, kw_only=True)
class TimmViTConfig(TimmConfig):
    """The config of a ViT of timm. `backbone` says the sizes of a ResNet in front that is not the
    one of the architecture: {"layers": ..., "channels": ..., "stem_chs": ...}."""

    model_type = "timm.VisionTransformer"
    HEADS = {
        "timm.VisionTransformer": "image_classification",
        "timm.VisionTransformer.features": "none",
    }
    DEFAULTS = dict(
        img_size=224, in_chans=3, num_classes=1000, patch_size=16, embed_dim=768, depth=12,
        num_heads=12, mlp_ratio=4.0, qkv_bias=True, proj_bias=True, init_values=None,
        class_token=True, global_pool="token", fc_norm=None, **dict.fromkeys(DROPS, 0.0),
    )  # fmt: skip
    ONLY = {
        "drop_rate": 0.0, "qk_norm": False, "reg_tokens": 0, "pre_norm": False,
        "no_embed_class": False, "pos_embed": "learn", "final_norm": True, "patch_drop_rate": 0.0,
        "dynamic_img_pad": False, "scale_attn_norm": False, "scale_mlp_norm": False,
        "pool_include_prefix": False,
    }  # fmt: skip

    @classmethod
    def named(cls, architecture):
        parts = sized(NAME, architecture)
        width, depth, heads = SIZES[parts["size"]]
        patch = int(parts.get("patch") or parts.get("behind") or 1)
        sizes = dict(img_size=int(parts["image"]), patch_size=patch)
        return sizes | dict(embed_dim=width, depth=depth, num_heads=heads)

    def __post_init__(self):
        super().__post_init__()
        a = self.built
        if a["global_pool"] not in ("token", "avg"):
            raise ValueError(f"global_pool={a['global_pool']!r} is not 'token' or 'avg'")
        if a["global_pool"] == "token" and not a["class_token"]:
            raise ValueError("global_pool='token' needs class_token=True; or give 'avg'")
        if a["embed_dim"] % a["num_heads"]:
            raise ValueError(
                f"embed_dim ({a['embed_dim']}) must be a multiple of num_heads ({a['num_heads']})"
            )

    @property
    def resnet(self) -> Backbone | None:
        """The ResNet in front of the patches; None without one."""
        parts = sized(NAME, self.architecture_name)
        if "resnet" not in parts:
            return None
        name = "r" if parts["resnet"] == "r" else f"{parts['resnet']}s{parts['stride']}"
        if name not in LAYERS:
            raise ValueError(
                f"architecture {self.architecture_name!r}: no ResNet {name!r} is known"
            )
        own = thaw(self.resnet_sizes) or {}
        if unknown := own.keys() - {"layers", "channels", "stem_chs"}:
            raise ValueError(f"backbone has the unknown keys {sorted(unknown)}")
        layers = tuple(own.get("layers", LAYERS[name]))
        channels = tuple(own.get("channels", CHANNELS))[: len(layers)]
        return Backbone(self.built["in_chans"], own.get("stem_chs", 64), layers, channels)

    @property
    def pools_normed(self) -> bool:
        """Whether what is normalised is the pooled vector, not the tokens."""
        fc_norm = self.built["fc_norm"]
        return self.built["global_pool"] == "avg" if fc_norm is None else fc_norm

    def embedder(self, head):
        a, resnet = self.built, self.resnet
        image, channels = pair(a["img_size"]), a["in_chans"]
        patches = StemSpec(
            image if resnet is None else resnet.size(*image),
            pair(a["patch_size"]),
            channels if resnet is None else resnet.width,
            a["embed_dim"],
            front=a["class_token"],
            positions=True,
            dropout=a["pos_drop_rate"],
            initial=self.initial,
        )
        if resnet is None:
            return StemEmbedder(patches)
        return HybridEmbedder(patches, resnet, image)

    def spec(self, mask=None):
        """Pre-norm blocks in which every token attends to every token."""
        a = self.built
        width, rate = a["embed_dim"], a["proj_drop_rate"]
        bias = (("query", "key", "value") if a["qkv_bias"] else ()) + (
            ("out",) if a["proj_bias"] else ()
        )
        attend = AttentionSpec(
            a["num_heads"],
            width // a["num_heads"],
            mask=with_own(mask, FULL),
            bias=bias,
            dropout=a["attn_drop_rate"],
        )
        ffn = FeedForwardSpec(int(width * a["mlp_ratio"]), bias=a["proj_bias"], dropout=rate)
        scale = LayerScale(a["init_values"]) if a["init_values"] else None
        block = tuple(
            Branch(name, op, EPS, dropout=rate, residual=scale)
            for name, op in (("self", attend), ("ffn", ffn))
        )
        depth, last = a["depth"], a["drop_path_rate"]
        rates = tuple(last * n / max(depth - 1, 1) for n in range(depth)) if last else ()
        return StackSpec(
            width,
            (block,) * depth,
            None if self.pools_normed else EPS,
            norm_hidden=False,
            drop_path=rates,
            initial=self.initial,
        )

    def head(self, head):
        a = self.built
        return TimmHead(
            a["embed_dim"],
            self.num_classes,
            self.initial,
            pooling=a["global_pool"],
            front=int(a["class_token"]),
            norm=EPS if self.pools_normed else None,
        )

    def head_rows(self, head, tied):
        if head != "image_classification":
            return ""
        return layer("head", "head.classify") + norm("fc_norm", "head.norm")

    def backbone(self):
        text = f"""
patch_embed.proj.weight | embed.patch | d c p q -> c p q d
patch_embed.proj.bias   | embed.patch_bias
cls_token | embed.cls      | 1 1 d -> d
pos_embed | embed.position | 1 t d -> t d
{norm("norm", "stack.norm")}
{norm("blocks.{i}.norm1", f"{S}.self_norm")}
{norm("blocks.{i}.norm2", f"{S}.ffn_norm")}
{feed_forward("blocks.{i}.mlp", f"{S}.ffn", "fc1 fc2")}
{dense("blocks.{i}.attn.proj", f"{S}.self.out", HEADS_IN)}
blocks.{{i}}.attn.qkv.weight | {S}.self.query {S}.self.key {S}.self.value | (n h k) d -> n d h k
blocks.{{i}}.ls1.gamma | {S}.self_residual.scale
blocks.{{i}}.ls2.gamma | {S}.ffn_residual.scale
"""
        if self.built["qkv_bias"]:
            ours = " ".join(f"{S}.self.{name}_bias" for name in ("query", "key", "value"))
            text += f"blocks.{{i}}.attn.qkv.bias | {ours} | (n h k) -> n h k"
        return text + ("" if self.resnet is None else resnet_rows(self.resnet))


def resnet_rows(resnet: Backbone) -> str:
    """The rows of the ResNet in front of the patches."""
    theirs, ours = "patch_embed.backbone", "embed.net"
    stem = f"{theirs}.stem" if resnet.layers else theirs
    text = convolved(f"{stem}.conv", f"{stem}.norm", f"{ours}.conv", f"{ours}.norm")
    for at, (stage, number, *_) in enumerate(resnet.blocks):
        block, own = f"{theirs}.stages.{stage}.blocks.{number}", f"{ours}.blocks.{at}"
        for n in (1, 2, 3):
            names = (f"{block}.conv{n}", f"{block}.norm{n}", f"{own}.conv{n}", f"{own}.norm{n}")
            text += convolved(*names)
        if number == 0:
            down = f"{block}.downsample"
            text += convolved(f"{down}.conv", f"{down}.norm", f"{own}.short", f"{own}.short_norm")
    return text


def convolved(conv: str, its_norm: str, ours: str, our_norm: str) -> str:
    """The rows of a convolution and its norm."""
    return f"\n{conv}.weight | {ours}.weight | d c p q -> p q c d" + norm(its_norm, our_norm)
