"""ConvNeXt (Liu et al. 2022): a ResNet with the design of Swin. Hugging Face model_type
"convnext"."""

from __future__ import annotations

from dataclasses import dataclass

from transformers_jax.arrays import Array, Float
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.stages import StagesFamily
from transformers_jax.models.shared.weight_rows import feed_forward, layer, norm
from transformers_jax.models.wiring.grid import MapNetwork
from transformers_jax.nn.embed import pair
from transformers_jax.nn.feedforward import FeedForwardSpec, Mlp
from transformers_jax.nn.grouped_convolution import depthwise
from transformers_jax.nn.image.merge import Shrink
from transformers_jax.nn.image.stem import StemEmbedder, StemSpec
from transformers_jax.nn.norm import Norm
from transformers_jax.nn.operation import OpResult
from transformers_jax.nn.param import add, param
from transformers_jax.nn.residual import LayerScale
from transformers_jax.nn.stages import on_grid
from transformers_jax.spec import (
    ZEROS,
    Branch,
    Initial,
    LayerNorm,
    StackSpec,
    Stage,
    StagesSpec,
    with_drop_path,
)

KERNEL, WIDER = 7, 4  # of a depthwise convolution, and of the layers behind it
EPS = 1e-6  # of every norm but that of the pooled vector
L = "encoder.stages.{stage}.layers.{i}"


@dataclass(frozen=True)
class ConvolvedSpec(FeedForwardSpec):
    """A feed-forward network of each token, in front of which every channel is convolved by itself
    and the token normalised (section 2.6)."""

    def build(self, width, initial, source=None):
        return Convolved(self, width, initial)

    def flops(self, width, queries, keys, edges):
        both = super().flops(width, queries, keys, edges)
        return both._replace(projections=both.projections + 2.0 * KERNEL**2 * width * queries)

    def describe(self):
        return f"{KERNEL} x {KERNEL} depthwise convolution, {super().describe()}"


class Convolved(Mlp):
    """See `ConvolvedSpec`."""

    def __init__(self, layer: ConvolvedSpec, width: int, initial: Initial):
        super().__init__(layer, width, initial)
        sizes = {"kernel_rows": KERNEL, "kernel_columns": KERNEL, "embed": width}
        draw = initial.draw("depthwise", sizes)
        self.depthwise = param("kernel_rows kernel_columns embed", sizes, draw)
        self.depthwise_bias = param("embed", sizes, ZEROS)
        self.norm = Norm(LayerNorm(EPS), width)

    def apply(self, x, context, *, cache=None, key=None) -> OpResult:
        image = depthwise(on_grid(x, context.nodes), self.depthwise[...].astype(x.dtype))
        y = self.norm(add(image.reshape(x.shape), self.depthwise_bias))
        return OpResult(self.channels(y))

    def channels(self, y: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """What is computed of the channels of each token: a hook of families."""
        return self(y)


@dataclass(frozen=True, kw_only=True)
class ConvNextConfig(StagesFamily):
    """The fields of a ConvNeXt config.json; defaults are ConvNeXt-T (29M). Images may have any
    size."""

    model_type = "convnext"
    NETWORK = MapNetwork
    MAP_NORM = LayerNorm(EPS)
    SPELLINGS = {"num_hidden_layers": "num_stages"}
    PREFIX = "convnext."
    HEAD_ROWS = {"image_classification": layer("classifier", "head.classify")}
    HEADS = heads_of("ConvNext", "none", "image_classification", "backbone")

    num_channels: int = 3
    patch_size: int | tuple[int, ...] = 4
    num_stages: int = 4
    hidden_sizes: tuple[int, ...] = (96, 192, 384, 768)
    depths: tuple[int, ...] = (3, 3, 9, 3)
    hidden_act: str = "gelu"
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    layer_scale_init_value: float = 1e-6
    drop_path_rate: float = 0.0
    image_size: int | tuple[int, ...] = 224

    def __post_init__(self):
        super().__post_init__()
        if not self.num_stages == len(self.hidden_sizes) == len(self.depths):
            raise ValueError(
                f"{type(self).__name__}: num_stages ({self.num_stages}) must be the number of "
                f"hidden_sizes {self.hidden_sizes} and of depths {self.depths}"
            )

    @property
    def initial(self):
        """normal(0.02), cut off at two deviations (the released code)."""
        return Initial(self.initializer_range, cut=2.0)

    @property
    def pooled_norm(self):
        return LayerNorm(self.layer_norm_eps)

    def embedder(self, head):
        return StemEmbedder(
            StemSpec(
                image=pair(self.image_size),
                patch=pair(self.patch_size),
                channels=self.num_channels,
                width=self.hidden_sizes[0],
                norm=LayerNorm(EPS),
                initial=self.initial,
            )
        )

    def block(self, width: int):
        """A layer of this width."""
        scale = self.layer_scale_init_value
        op = ConvolvedSpec(WIDER * width, self.hidden_act)
        return (Branch("conv", op, residual=LayerScale(scale) if scale > 0 else None),)

    def spec(self, mask=None):
        """Stages of residual blocks; all but the first make the grid coarser."""
        stages = []
        for number, (width, depth) in enumerate(zip(self.hidden_sizes, self.depths)):
            stack = StackSpec(width, (self.block(width),) * depth, initial=self.initial)
            enter = Shrink(width, LayerNorm(EPS)) if number else None
            stages.append(Stage(stack, enter=enter))
        spec = StagesSpec(self.hidden_sizes[0], tuple(stages), initial=self.initial)
        return with_drop_path(spec, self.drop_path_rate)

    def backbone(self):
        text = """
embeddings.patch_embeddings.weight | embed.patch | d c p q -> c p q d
embeddings.patch_embeddings.bias   | embed.patch_bias
"""
        text += norm("embeddings.layernorm", "embed.patch_norm") + norm("layernorm", "pooler.norm")
        for number in range(1, self.num_stages):
            theirs = f"encoder.stages.{number}.downsampling_layer"
            ours = f"stack.enter_{number}"
            text += norm(f"{theirs}.0", f"{ours}.norm")
            text += f"\n{theirs}.1.weight | {ours}.convolution.weight | d c p q -> p q c d"
            text += f"\n{theirs}.1.bias | {ours}.convolution.bias"
        return text

    def stage_rows(self, ours):
        text = f"""
{L}.layer_scale_parameter | {ours}.conv_residual.scale
{L}.dwconv.weight | {ours}.conv.depthwise | d 1 p q -> p q d
{L}.dwconv.bias | {ours}.conv.depthwise_bias
"""
        text += norm(f"{L}.layernorm", f"{ours}.conv.norm")
        return text + feed_forward(L, f"{ours}.conv", "pwconv1 pwconv2")
