"""Motions of rigid bodies: rotations, unit quaternions, and frames that move points.

A frame maps points of its own coordinates to those of the world, x -> R x + t. Nothing here has
parameters.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from transformers_jax.arrays import Array, Float

IDENTITY = (1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
"""The frame that moves nothing, as a quaternion and a translation."""
EXACT = jax.lax.Precision.HIGHEST
"""Of products of coordinates, which accelerators would round otherwise."""


class Rigid(NamedTuple):
    """Frames of any leading axes.

    Attributes:
        rotation: the columns are where the axes of the frame point.
        translation: where its origin is.
    """

    rotation: Float[Array, "*B 3 3"]
    translation: Float[Array, "*B 3"]

    def at(self, *index: Any) -> Rigid:
        """The frames at an index of the leading axes, which ends with that of the last of them."""
        whole = (slice(None),)
        return Rigid(self.rotation[(*index, *whole * 2)], self.translation[(*index, *whole)])

    def apply(self, points: Float[Array, "*B 3"]) -> Float[Array, "*B 3"]:
        """Points of the frame, in the world."""
        return rotated(self.rotation, points) + self.translation

    def undo(self, points: Float[Array, "*B 3"]) -> Float[Array, "*B 3"]:
        """Points of the world, in the frame."""
        return rotated(jnp.swapaxes(self.rotation, -1, -2), points - self.translation)

    def compose(self, inner: Rigid) -> Rigid:
        """The frame that moves as `inner` and then as this one."""
        return Rigid(product(self.rotation, inner.rotation), self.apply(inner.translation))

    def matrix(self) -> Float[Array, "*B 4 4"]:
        """As a matrix of homogeneous coordinates."""
        top = jnp.concatenate([self.rotation, self.translation[..., None]], -1)
        last = jnp.broadcast_to(jnp.array([0.0, 0.0, 0.0, 1.0], top.dtype), (*top.shape[:-2], 1, 4))
        return jnp.concatenate([top, last], -2)


def rotated(rotation: Float[Array, "*B 3 3"], points: Float[Array, "*B 3"]) -> Float[Array, "*B 3"]:
    """R x."""
    return jnp.einsum("...ij,...j->...i", rotation, points, precision=EXACT)


def product(a: Float[Array, "*B 3 3"], b: Float[Array, "*B 3 3"]) -> Float[Array, "*B 3 3"]:
    """A B."""
    return jnp.einsum("...ij,...jk->...ik", a, b, precision=EXACT)


# ---------------------------------------------------------------- quaternions


def times(p: Float[Array, "*B 4"], q: Float[Array, "*B 4"]) -> Float[Array, "*B 4"]:
    """The product of quaternions (w, x, y, z): the rotation q, and then p."""
    a, b, c, d = jnp.moveaxis(p, -1, 0)
    w, x, y, z = jnp.moveaxis(q, -1, 0)
    parts = (
        a * w - b * x - c * y - d * z,
        a * x + b * w + c * z - d * y,
        a * y - b * z + c * w + d * x,
        a * z + b * y - c * x + d * w,
    )
    return jnp.stack(parts, -1)


def rotation_of(q: Float[Array, "*B 4"]) -> Float[Array, "*B 3 3"]:
    """The rotation of a unit quaternion (w, x, y, z)."""
    w, x, y, z = jnp.moveaxis(q, -1, 0)
    rows = (
        (w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z),
    )
    return jnp.stack([jnp.stack(row, -1) for row in rows], -2)


def rigid_of(frames: Float[Array, "*B 7"]) -> Rigid:
    """The frames of quaternions and translations, side by side."""
    return Rigid(rotation_of(frames[..., :4]), frames[..., 4:])


def moved(frames: Float[Array, "*B 7"], update: Float[Array, "*B 6"]) -> Float[Array, "*B 7"]:
    """The frames, each turned in itself by the quaternion (1, x, y, z), made a unit, and shifted
    along its own axes (Jumper et al. 2021, supplement, algorithm 23)."""
    q, shift = frames[..., :4], update[..., 3:]
    turned = q + times(q, jnp.pad(update[..., :3], [(0, 0)] * (update.ndim - 1) + [(1, 0)]))
    turned = turned / jnp.sqrt(jnp.square(turned).sum(-1, keepdims=True))
    return jnp.concatenate([turned, frames[..., 4:] + rotated(rotation_of(q), shift)], -1)


def without_turning_gradient(frames: Float[Array, "*B 7"]) -> Float[Array, "*B 7"]:
    """The frames, of whose rotation no gradient comes: those of a chain of turns are unstable
    (Jumper et al. 2021, supplement, algorithm 20, line 20)."""
    return jnp.concatenate([jax.lax.stop_gradient(frames[..., :4]), frames[..., 4:]], -1)


def frame_of(
    x_axis: Float[Array, "*B 3"], in_plane: Float[Array, "*B 3"], origin: Float[Array, "*B 3"]
) -> Rigid:
    """The frame at an origin whose first axis points along a vector, and whose second lies in the
    plane with another (Gram-Schmidt)."""
    unit = lambda v: v / jnp.sqrt(jnp.square(v).sum(-1, keepdims=True))
    first = unit(x_axis)
    second = unit(in_plane - (in_plane * first).sum(-1, keepdims=True) * first)
    axes = (first, second, jnp.cross(first, second))
    return Rigid(jnp.stack(axes, -1), origin)
