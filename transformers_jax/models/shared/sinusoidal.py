"""What Marian and Pegasus share: BART with sinusoidal positions, which files hold."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

from transformers_jax.hub.table import Computed
from transformers_jax.models.bart import BartConfig
from transformers_jax.nn.sinusoidal import Sinusoids


@dataclass(frozen=True, kw_only=True)
class SinusoidalConfig(BartConfig):
    """Sinusoids, all sines before all cosines, and no norm of the embeddings; `inputs_embeds` of
    the decoder are scaled as its words are."""

    @property
    def sinusoids(self) -> Sinusoids:
        """The positions of both sides."""
        return Sinusoids(halves=True, rows=self.max_position_embeddings)

    def embed(self, decoder):
        embed = replace(super().embed(decoder), positions=self.sinusoids, offset=0, norm=None)
        return replace(embed, scales="all") if decoder else embed

    def table(self, head):
        sides = ("decoder",) if head == "causal_lm" else ("encoder", "decoder")
        names = (f"{self.PREFIX}{side}.embed_positions.weight" for side in sides)
        shape = (self.max_position_embeddings, self.d_model)
        value = functools.partial(self.sinusoids.table, self.d_model)
        computed = tuple(Computed(name, shape, value) for name in names)
        return replace(super().table(head), computed=computed)
