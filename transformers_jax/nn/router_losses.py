"""What routers add to the loss, so that experts are chosen evenly and scores stay small."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Bool, Float, wide
from transformers_jax.nn.head import loss_of
from transformers_jax.nn.loss import Mean


def balance_loss(
    logits: Float[Array, "*g N E"], top: int = 1, valid: Bool[Array, "*g N"] | None = None
) -> Float[Array, ""]:
    """E times the sum over experts of (share of the choices) * (mean probability): 1 if all are
    chosen equally often, E if one is chosen always (Fedus et al. 2021, equations 4 to 6).

    Leading axes are groups (rows) whose losses are averaged. `valid` leaves tokens out.
    """
    logits = logits.astype(wide(logits))
    probability, E = jax.nn.softmax(logits, -1), logits.shape[-1]
    chosen = jax.nn.one_hot(jax.lax.top_k(logits, top)[1], E).sum(-2) / top
    share, mean = (_mean(x, valid) for x in (chosen, probability))
    return E * (share * mean).sum(-1).mean()


def router_z_loss(
    logits: Float[Array, "*g N E"], valid: Bool[Array, "*g N"] | None = None
) -> Float[Array, ""]:
    """The mean square of log sum exp, which keeps scores small (Zoph et al. 2022, equation 5)."""
    z = jnp.square(jax.nn.logsumexp(logits.astype(wide(logits)), -1))
    return _mean(z[..., None], valid).mean()


@dataclass(frozen=True)
class RouterLosses:
    """What routers add to the loss of an encoder-decoder: weights, and the sides that count."""

    balance: float
    z: float
    sides: tuple[str, ...] = ("encoder", "decoder")

    def fields(
        self, scores: Mapping[str, tuple[Array, ...]], rows: int, terms: dict[str, Mean] | None
    ) -> dict[str, Any]:
        """{"encoder_z_loss": ..., "encoder_aux_loss": ...}, of the scores [B T E] of each side's
        layers, as if the tokens of all layers were those of one row (transformers); and the loss
        with these, if there are terms of one. Each is a mean over the rows."""
        losses: dict[str, Any] = {}
        none = jnp.zeros((), wide(*(x for layers in scores.values() for x in layers), jnp.float32))
        for side, layers in scores.items():
            joined = jnp.concatenate(layers, 1) if layers and side in self.sides else None
            for name, penalty in (("z", router_z_loss), ("aux", balance_loss)):
                losses[f"{side}_{name}_loss"] = none if joined is None else penalty(joined)
        if terms is None:
            return losses
        (word_loss,) = terms.values()
        return {**loss_of(word_loss=word_loss, router_loss=self.term(losses, rows)), **losses}

    def term(self, fields: Mapping[str, Array], rows: int) -> Mean:
        """The penalty as a sum over the rows, and their number."""
        return self.penalty(fields) * rows, jnp.float32(rows)

    def penalty(self, fields: Mapping[str, Array]) -> Float[Array, ""]:
        """What the losses of the routers, by the names of `fields`, add to the loss."""
        weights = {"z": self.z, "aux": self.balance}
        terms = ((side, name) for side in ("encoder", "decoder") for name in weights)
        total: Any = sum(weights[name] * fields[f"{side}_{name}_loss"] for side, name in terms)
        return total


@dataclass(frozen=True)
class BalanceLoss:
    """What the routers of a decoder add to the loss (Mixtral in transformers).

    Attributes:
        weight: multiplies it; None: nothing is added.
        top: k, the experts of a token.
        always: whether calls give scores, and count the loss, that do not say
            `output_router_logits`.
    """

    weight: float | None
    top: int
    always: bool = False

    @property
    def trains(self) -> bool:
        """Whether it is part of the loss that training minimises."""
        return self.always and self.weight is not None

    def fields(
        self,
        scores: tuple[Float[Array, "B T E"], ...],
        valid: Bool[Array, "B T"] | None,
        terms: dict[str, Mean] | None,
    ) -> dict[str, Any]:
        """{"aux_loss": ...}, k times `balance_loss` of the tokens of all rows and layers, without
        padding; and the loss with it, if there are terms of one."""
        if self.weight is None:
            return {}
        joined = jnp.concatenate([x.reshape(-1, x.shape[-1]) for x in scores])
        counted = None
        if valid is not None:
            rows = jnp.broadcast_to(valid, scores[0].shape[:2]).reshape(-1)
            counted = jnp.tile(rows, len(scores))
        losses = {"aux_loss": self.top * balance_loss(joined, self.top, counted)}
        if terms is None:
            return losses
        (word_loss,) = terms.values()
        router_loss = self.term(losses, scores[0].shape[0])
        return {**loss_of(word_loss=word_loss, router_loss=router_loss), **losses}

    def term(self, fields: Mapping[str, Array], rows: int) -> Mean:
        """The penalty as a sum over the rows, and their number. Of a part of a batch it is that of
        its own tokens: a balance is no mean over tokens."""
        return self.penalty(fields) * rows, jnp.float32(rows)

    def penalty(self, fields: Mapping[str, Array]) -> Float[Array, ""]:
        """What the loss of the routers adds to the loss."""
        assert self.weight is not None
        return self.weight * fields["aux_loss"]


def _mean(x: Array, valid: Array | None) -> Array:
    """Over the tokens that count."""
    if valid is None:
        return x.mean(-2)
    counted = valid[..., None].astype(x.dtype)
    return (x * counted).sum(-2) / jnp.maximum(counted.sum(-2), 1.0)
