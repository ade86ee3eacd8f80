"""ResNet (He et al. 2015), as its "v1.5" (stride in the 3 x 3 convolution). Hugging Face model_type
"resnet"."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from transformers_jax.models.shared.backbone import STAGE_NAMES
from transformers_jax.models.shared.class_names import heads_of
from transformers_jax.models.shared.stages import StagesFamily
from transformers_jax.models.shared.weight_rows import convolved, layer
from transformers_jax.models.wiring.grid import MapNetwork
from transformers_jax.nn.image.convolved import ConvolvedEmbedder
from transformers_jax.nn.image.residual import Kernels, KernelsSpec, Rectified, Stem, Transition
from transformers_jax.spec import Branch, Draw, Initial, StackSpec, Stage, StagesSpec

REDUCED = 4  # the 3 x 3 convolution of a bottleneck is narrower by this
L = "encoder.stages.{stage}.layers.{i}"


@dataclass(frozen=True)
class InitialResNet(Initial):
    """normal with variance 2 / (kernel * outputs) (He et al. 2015a, "fan out")."""

    def draw(self, role, sizes):
        if role == "convolution":
            outputs = sizes["kernel_rows"] * sizes["kernel_columns"] * sizes["embed"]
            return Draw("normal", math.sqrt(2 / outputs))
        return Draw("uniform", sizes["embed"] ** -0.5)


class PooledImage(MapNetwork):
    """The same, whose pooled vector is an image of one pixel."""

    def shaped(self, fields, sizes):
        fields = super().shaped(fields, sizes)
        pooled = fields.get("pooler_output")
        return fields if pooled is None else {**fields, "pooler_output": pooled[..., None, None]}


@dataclass(frozen=True, kw_only=True)
class ResNetConfig(StagesFamily):
    """The fields of a ResNet config.json; defaults are ResNet-50 (26M). Images may have any size.
    A step of training normalises with the statistics of its batch (`make_step(statistics=)`)."""

    model_type = "resnet"
    NETWORK = PooledImage
    UNUSED = STAGE_NAMES | {"layer_types"}  # which there are
    PREFIX = "resnet."
    HEAD_ROWS = {"image_classification": layer("classifier.1", "head.classify")}
    HEADS = heads_of("ResNet", "none", "image_classification", "backbone")

    num_channels: int = 3
    embedding_size: int = 64
    hidden_sizes: tuple[int, ...] = (256, 512, 1024, 2048)
    depths: tuple[int, ...] = (3, 4, 6, 3)
    layer_type: Literal["basic", "bottleneck"] = "bottleneck"
    hidden_act: str = "relu"
    downsample_in_first_stage: bool = False
    downsample_in_bottleneck: bool = False

    def __post_init__(self):
        super().__post_init__()
        if len(self.hidden_sizes) != len(self.depths):
            raise ValueError(
                f"{type(self).__name__}: hidden_sizes {self.hidden_sizes} and depths {self.depths} "
                "must be one number for each stage"
            )

    @property
    def initial(self):
        return InitialResNet()

    def embedder(self, head):
        stem = Stem(self.num_channels, self.embedding_size, self.initial, self.hidden_act)
        return ConvolvedEmbedder(stem, self.num_channels)

    def kernels(self, width: int, stride: int) -> Kernels:
        """The convolutions of a block whose result has this width."""
        if self.layer_type == "basic":
            return Kernels(((3, width, stride), (3, width, 1)), self.hidden_act)
        narrow, early = width // REDUCED, self.downsample_in_bottleneck
        first, second = (stride, 1) if early else (1, stride)
        steps = ((1, narrow, first), (3, narrow, second), (1, width, 1))
        return Kernels(steps, self.hidden_act)

    def spec(self, mask=None):
        """Stages of residual blocks, of which the first changes the grid or the width."""
        stages, before = [], self.embedding_size
        for number, (width, depth) in enumerate(zip(self.hidden_sizes, self.depths)):
            stride = 2 if number or self.downsample_in_first_stage else 1
            op, act = KernelsSpec(self.kernels(width, 1)), Rectified(self.hidden_act)
            enters = stride > 1 or width != before
            blocks = ((Branch("conv", op, residual=act),),) * (depth - enters)
            enter = Transition(self.kernels(width, stride), stride) if enters else None
            stack = StackSpec(width, blocks, initial=self.initial) if blocks else None
            stages.append(Stage(stack, enter))
            before = width
        return StagesSpec(self.embedding_size, tuple(stages), initial=self.initial)

    def backbone(self):
        text = convolved("embedder.embedder", "embed.stem.first")
        for number, stage in enumerate(self.spec().stages):
            if stage.enter is not None:
                theirs, ours = f"encoder.stages.{number}.layers.0", f"stack.enter_{number}"
                text += convolved(f"{theirs}.shortcut", f"{ours}.shortcut")
                for step in range(len(stage.enter.kernels.steps)):
                    text += convolved(f"{theirs}.layer.{step}", f"{ours}.layers.{step}")
        return text

    def stage_rows(self, ours):
        steps = range(len(self.kernels(self.hidden_sizes[0], 1).steps))
        return "".join(convolved(f"{L}.layer.{n}", f"{ours}.conv.layers.{n}") for n in steps)

    def first_layer(self, number):
        return int(self.spec().stages[number].enter is not None)
