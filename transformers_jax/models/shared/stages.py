"""What families of stages share: image encoders whose grid becomes coarser from stage to stage."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from transformers_jax.hub.table import Row, rows, slots
from transformers_jax.models.shared.task_heads import task_head
from transformers_jax.models.wiring import OneTower, Tower
from transformers_jax.models.wiring.grid import GridNetwork
from transformers_jax.nn.head import TokenPooler
from transformers_jax.nn.stages import stack_of
from transformers_jax.spec import Initial, Norm, StagesSpec

BACKBONE_KEYS = frozenset({"stage_names", "out_features", "out_indices"})
"""Which stages a backbone hands out: of classes that are no heads here."""


@dataclass(frozen=True, kw_only=True)
class StagesFamily(OneTower):
    """An image encoder of stages. `spec()` describes them, `stage_rows` says what files call the
    layers of one (`{stage}`, `{i}`) and `ROWS` the rest.

    Class attributes:
        NETWORK: shapes the states as transformers does.
    """

    NETWORK: ClassVar[type[GridNetwork]] = GridNetwork

    if TYPE_CHECKING:

        def spec(self, mask: Any = None) -> StagesSpec: ...  # type: ignore[override]

    @property
    def initial(self) -> Initial:
        """The rule of first weights."""
        raise NotImplementedError

    @property
    def pooled_norm(self) -> Norm | None:
        """The norm of the mean over the grid."""
        return None

    def stage_rows(self, ours: str) -> str:
        """The rows of the layers of a stage, whose blocks have the path `ours`."""
        raise NotImplementedError

    def first_layer(self, number: int) -> int:
        """The number in files of the first layer of a stage that its stack holds."""
        return 0

    def build(self, head, execution, mask=None):
        if mask is not None:
            raise ValueError(
                f"mask={mask}: what a token of {self.model_type} reads is decided by the place of "
                "its windows or kernels; leave the mask out"
            )
        stack = stack_of(self.spec(), execution)
        tower = Tower(self.embedder(head), stack, pooler=self.pooler(head))
        return self.NETWORK({"stack": tower}, None if head == "none" else self.head(head))

    def pooler(self, head):
        return TokenPooler(self.spec().width, self.pooled_norm, "mean of all")

    def head(self, head):
        return task_head(self, "sequence_classification", self.spec().width, self.initial)

    def backbone_rows(self):
        table: tuple[Row, ...] = rows(self.backbone())
        for number, stage in enumerate(self.spec().stages):
            if stage.stack is not None:
                text = self.stage_rows(f"stack.stage_{number}.blocks.{{slot}}")
                first = self.first_layer(number)
                layers = slots(text.replace("{stage}", str(number)), stage.stack.slots)
                table += tuple(replace(row, start=row.start + first) for row in layers)
        return table
