"""Gated recurrent units.

    r = sigmoid(W_r x + b_r + U_r h + c_r)             reset gate
    z = sigmoid(W_z x + b_z + U_z h + c_z)             update gate
    n = tanh(W_n x + b_n + r * (U_n h + c_n))
    h = (1 - z) * n + z * h

Cho et al. 2014, section 2.3, in the form in which PyTorch stores it: gates in the order r, z, n,
two biases, and r multiplies the product U_n h and not h. Padding leaves a state as it is.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from transformers_jax import spec
from transformers_jax.arrays import Array, Bool, Float
from transformers_jax.nn.affine import affine
from transformers_jax.nn.param import param


class Gru(nnx.Module):
    """One layer in one direction; `memory` are the matrices U, which multiply the state.

    Args:
        source: width E of the inputs.
        hidden: width H of the state.
    """

    def __init__(self, source: int, hidden: int, initial: spec.Initial):
        self.hidden = hidden
        sizes = {"gates": 3, "embed": source, "state": hidden, "hidden": hidden}
        self.input = param("gates embed hidden", sizes, initial.draw("input", sizes))
        self.memory = param("gates state hidden", sizes, initial.draw("memory", sizes))
        self.input_bias = param("gates hidden", sizes, spec.ZEROS)
        self.memory_bias = param("gates hidden", sizes, spec.ZEROS)

    def step(self, x: Float[Array, "B E"], state: Float[Array, "B H"]) -> Float[Array, "B H"]:
        """The state after one more input."""
        return self._next(self._gates(x), state)

    def __call__(
        self,
        x: Float[Array, "B T E"],
        valid: Bool[Array, "b T"] | None = None,
        *,
        backwards: bool = False,
    ) -> tuple[Float[Array, "B T H"], Float[Array, "B H"]]:
        """(the state after each token, the last one), read from either end.

        Where a token is not `valid` the state stays as it is, and the output is zero.
        """
        gates = jnp.moveaxis(self._gates(x), 1, 0)
        valid = jnp.ones((1, x.shape[1]), bool) if valid is None else valid
        valid = jnp.broadcast_to(valid, x.shape[:2]).T[..., None]

        def read(state, token):
            gates, real = token
            state = jnp.where(real, self._next(gates, state), state)
            return state, jnp.where(real, state, 0)

        first = jnp.zeros((x.shape[0], self.hidden), x.dtype)
        last, states = jax.lax.scan(read, first, (gates, valid), reverse=backwards)
        return jnp.moveaxis(states, 0, 1), last

    def _gates(self, x: Float[Array, "*B E"]) -> Float[Array, "*B 3 H"]:
        """The inputs' part of the gates: for a whole row one product, outside the loop."""
        return affine("...e,geh->...gh", x, self.input, self.input_bias)

    def _next(
        self, gates: Float[Array, "B 3 H"], state: Float[Array, "B H"]
    ) -> Float[Array, "B H"]:
        recurrent = affine("bs,gsh->bgh", state, self.memory, self.memory_bias)
        reset, update = jnp.moveaxis(jax.nn.sigmoid(gates[:, :2] + recurrent[:, :2]), 1, 0)
        new = jnp.tanh(gates[:, 2] + reset * recurrent[:, 2])
        return (1 - update) * new + update * state


class BothWays(nnx.Module):
    """Layers of two GRUs that read a row from its two ends (Schuster and Paliwal 1997)."""

    def __init__(self, source: int, hidden: int, depth: int, initial: spec.Initial):
        widths = [source, *[2 * hidden] * (depth - 1)]
        self.onward = nnx.List([Gru(width, hidden, initial) for width in widths])
        self.backward = nnx.List([Gru(width, hidden, initial) for width in widths])

    def __call__(
        self, x: Float[Array, "B T E"], valid: Bool[Array, "b T"] | None = None
    ) -> tuple[Float[Array, "B T 2*H"], tuple[Float[Array, "B H"], Float[Array, "B H"]]]:
        """(states of both directions side by side, the last of each): the forward GRU ends at the
        last token, the backward one at the first."""
        last: tuple = ()
        for onward, backward in zip(self.onward, self.backward):
            one, other = onward(x, valid), backward(x, valid, backwards=True)
            x, last = jnp.concatenate([one[0], other[0]], -1), (one[1], other[1])
        return x, last
