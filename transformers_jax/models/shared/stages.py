"""What families of stages share: image encoders whose grid becomes coarser from stage to stage."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from transformers_jax.hub.table import Row, rows, slots
from transformers_jax.models.shared.backbone import BackboneFamily
from transformers_jax.models.shared.task_heads import task_head
from transformers_jax.models.shared.weight_rows import norm
from transformers_jax.models.wiring import Tower
from transformers_jax.models.wiring.grid import GridNetwork, MapNetwork
from transformers_jax.nn.head import StageMaps, TokenPooler
from transformers_jax.nn.stages import stack_of
from transformers_jax.spec import Initial, Norm, StagesSpec, before_merging

LEAVES = re.compile(r"\bstack\.leave_(\d+)\.")


@dataclass(frozen=True, kw_only=True)
class StagesFamily(BackboneFamily):
    """An image encoder of stages. `spec()` describes them, `stage_rows` says what files call the
    layers of one (`{stage}`, `{i}`) and `ROWS` the rest.

    Class attributes:
        NETWORK, MAPS: shape the states as transformers does; of a backbone.
        MAP_NORM: the norm of each map of a backbone.
    """

    NETWORK: ClassVar[type[GridNetwork]] = GridNetwork
    MAPS: ClassVar[type[GridNetwork]] = MapNetwork
    MAP_NORM: ClassVar[Norm | None] = None

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

    @property
    def stage_count(self):
        return self.spec().depth

    def described(self, head: str) -> StagesSpec:
        """The stages of a model with this head: a backbone gives their states in front of what
        makes the grid coarser."""
        return before_merging(self.spec()) if head == "backbone" else self.spec()

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
        stack = stack_of(self.described(head), execution)
        tower = Tower(self.embedder(head), stack, pooler=self.pooler(head))
        network = self.MAPS if head == "backbone" else self.NETWORK
        return network({"stack": tower}, None if head == "none" else self.head(head))

    def pooler(self, head):
        if head == "backbone":
            return None
        return TokenPooler(self.spec().width, self.pooled_norm, "mean of all")

    def head(self, head):
        if head == "backbone":
            widths = self.described(head).widths
            return StageMaps({n: widths[n] for n in self.stages()}, self.MAP_NORM)
        return task_head(self, "sequence_classification", self.spec().width, self.initial)

    def head_rows(self, head, tied):
        if head != "backbone" or self.MAP_NORM is None:
            return super().head_rows(head, tied)
        names = [self.stage_names[number] for number in self.stages()]
        pairs = enumerate(f"hidden_states_norms.{name}" for name in names)
        return "".join(norm(theirs, f"head.norms.{number}") for number, theirs in pairs)

    def table(self, head):
        table = super().table(head)
        if head != "backbone":
            return table
        enters = lambda path: LEAVES.sub(lambda m: f"stack.enter_{int(m[1]) + 1}.", path)
        moved = (replace(row, ours=tuple(map(enters, row.ours))) for row in table.rows)
        return replace(table, rows=tuple(map(self.unread, moved)))

    def unread(self, row: Row) -> Row:
        """The row of a backbone, of which nothing reads the last norm, and files may lack it."""
        return replace(row, group="unread") if row.theirs.startswith("layernorm.") else row

    def backbone_rows(self):
        table: tuple[Row, ...] = rows(self.backbone())
        for number, stage in enumerate(self.spec().stages):
            if stage.stack is not None:
                text = self.stage_rows(f"stack.stage_{number}.blocks.{{slot}}")
                first = self.first_layer(number)
                layers = slots(text.replace("{stage}", str(number)), stage.stack.slots)
                table += tuple(replace(row, start=row.start + first) for row in layers)
        return table
