"""Rigid bodies, the atoms of residues, and what no motion of the whole changes."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transformers_jax import spec
from transformers_jax.graph import FULL, connect
from transformers_jax.nn.embed import nodes_of
from transformers_jax.nn.folding.atoms import atoms_of
from transformers_jax.nn.folding.invariant import InvariantPointAttention, InvariantPointSpec
from transformers_jax.nn.folding.residues import ATOM_NAMES, LETTERS, RESIDUES, UNKNOWN, tables
from transformers_jax.nn.folding.rigid import (
    IDENTITY,
    Rigid,
    frame_of,
    moved,
    product,
    rigid_of,
    rotation_of,
    times,
)
from transformers_jax.nn.param import initialise

rng = np.random.default_rng(0)


def quaternions(*shape):
    q = rng.normal(size=(*shape, 4))
    return jnp.asarray(q / np.linalg.norm(q, axis=-1, keepdims=True), jnp.float32)


def frames(*shape):
    return rigid_of(jnp.concatenate([quaternions(*shape), 3 * rng.normal(size=(*shape, 3))], -1))


def close(a, b, atol=1e-5):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=atol)


# ---------------------------------------------------------------- rigid bodies


def test_quaternions_are_rotations_and_their_product_is_one_after_the_other():
    p, q = quaternions(5), quaternions(5)
    rotation = rotation_of(p)
    close(product(rotation, jnp.swapaxes(rotation, -1, -2)), np.broadcast_to(np.eye(3), (5, 3, 3)))
    close(jnp.linalg.det(rotation), np.ones(5))
    close(rotation_of(times(p, q)), product(rotation, rotation_of(q)))
    assert np.abs(rotation_of(times(q, p)) - rotation_of(times(p, q))).max() > 0.1  # the control


def test_frames_compose_and_undo():
    a, b, points = frames(4), frames(4), jnp.asarray(rng.normal(size=(4, 3)), jnp.float32)
    close(a.compose(b).apply(points), a.apply(b.apply(points)))
    close(a.undo(a.apply(points)), points)
    close(jnp.einsum("nij,nj->ni", a.matrix()[:, :3, :3], points) + a.translation, a.apply(points))


def test_an_update_turns_and_shifts_a_frame_in_itself():
    start = jnp.concatenate([quaternions(3), jnp.asarray(rng.normal(size=(3, 3)))], -1)
    start = start.astype(jnp.float32)
    close(moved(start, jnp.zeros((3, 6))), start)
    shifted = moved(start, jnp.asarray([[0, 0, 0, 1.0, 0, 0]] * 3))
    close(shifted[:, 4:] - start[:, 4:], rotation_of(start[:, :4])[:, :, 0])
    turned = moved(jnp.asarray([IDENTITY]), jnp.asarray([[1.0, 0, 0, 0, 0, 0]]))
    close(rotation_of(turned[:, :4])[0], [[1, 0, 0], [0, 0, -1], [0, 1, 0]])  # by a right angle


def test_a_frame_of_three_points_follows_them():
    n, ca, c = (jnp.asarray(rng.normal(size=(6, 3)), jnp.float32) for _ in range(3))
    own, motion = frame_of(c - ca, n - ca, ca), frames(6)
    there = [motion.apply(atom) for atom in (n, ca, c)]
    close(frame_of(there[2] - there[1], there[0] - there[1], there[1]).matrix(),
          motion.compose(own).matrix())  # fmt: skip


# ---------------------------------------------------------------- atoms


def test_every_residue_has_its_atoms_and_bonds_of_their_length():
    known = tables()
    assert LETTERS == "ARNDCQEGHILKMFPSTWYV"
    assert int(known.exists.sum()) == int(known.exists_37.sum()) == 167
    backbone = rigid_of(jnp.broadcast_to(jnp.asarray(IDENTITY), (1, 20, 7)))
    angles = jnp.broadcast_to(jnp.asarray([0.0, 1.0]), (1, 20, 7, 2))
    places = np.asarray(atoms_of(backbone, angles, jnp.arange(20)[None]).places[0])
    bonds = {"N CA": 1.46, "CA C": 1.525, "C O": 1.23, "CA CB": 1.53}
    for number, residue in enumerate(RESIDUES):
        at = dict(zip(residue.atoms, places[number]))
        chain = residue.chain[1:]  # neighbours along the side chain are bonded
        lengths = {bond: length for bond, length in bonds.items() if bond.split()[1] in at}
        lengths |= {" ".join(pair): None for pair in itertools.pairwise(chain)}
        for bond, length in lengths.items():
            a, b = bond.split()
            apart = np.linalg.norm(at[a] - at[b])
            assert 1.2 < apart < 1.9, (residue.name, bond, apart)
            assert length is None or abs(apart - length) < 0.03, (residue.name, bond, apart)
    assert not np.asarray(known.exists)[UNKNOWN].any()
    assert ATOM_NAMES[:4] == ("N", "CA", "C", "CB")


def test_atoms_follow_their_backbone_and_angles_keep_lengths():
    types = jnp.arange(20)[None]
    turns = rng.normal(size=(1, 20, 7, 2))
    turns = jnp.asarray(turns / np.linalg.norm(turns, axis=-1, keepdims=True), jnp.float32)
    backbone, motion = frames(1, 20), frames(1, 1)
    still = atoms_of(backbone, turns, types).places
    there = jnp.asarray(tables().exists[:20])[None, ..., None]
    moved_atoms = atoms_of(motion.compose(backbone), turns, types).places
    close(moved_atoms, jnp.where(there > 0, motion.at(..., None).apply(still), 0), 2e-5)
    straight = atoms_of(backbone, jnp.broadcast_to(jnp.asarray([0.0, 1.0]), turns.shape), types)
    length = lambda places: np.linalg.norm(places[0, :, 1] - places[0, :, 4], axis=-1)
    close(length(still), length(straight.places))
    assert np.abs(np.asarray(still - straight.places)).max() > 0.5  # the control: angles turn


# ---------------------------------------------------------------- invariance


@pytest.fixture(scope="module")
def attention():
    """Invariant point attention with random parameters, and what it reads."""
    described = InvariantPointSpec(heads=3, kv=4, points=2, values=3, pair=5)
    module = initialise(
        InvariantPointAttention(described, 12, spec.Initial(0.3)), jax.random.key(0)
    )
    x = jnp.asarray(rng.normal(size=(2, 7, 12)), jnp.float32)
    pairs = jnp.asarray(rng.normal(size=(2, 7, 7, 5)), jnp.float32)
    nodes = nodes_of(7, jnp.asarray([[1] * 7, [1] * 5 + [0] * 2]))
    return module, x, pairs, connect(FULL, nodes)


def test_no_motion_of_all_frames_changes_what_residues_read(attention):
    module, x, pairs, edges = attention
    own, motion = frames(2, 7), frames(2, 1)
    still = module(x, pairs, own, edges)
    close(module(x, pairs, motion.compose(own), edges), still, 1e-5)
    one = own.translation.at[0, 0].add(jnp.asarray([2.0, 0, 0]))
    changed = module(x, pairs, Rigid(own.rotation, one), edges)
    assert np.abs(changed - still).max() > 1e-3  # the control: of one frame it does
    mirrored = Rigid(own.rotation * jnp.asarray([-1.0, 1, 1])[:, None], own.translation)
    assert np.abs(module(x, pairs, mirrored, edges) - still).max() > 1e-3  # nor is a mirror image


def test_frames_that_are_moved_by_what_residues_read_move_with_the_whole(attention):
    """Rotating the input frames rotates the output: updates are in the frame of each residue."""
    module, x, pairs, edges = attention
    start = jnp.concatenate([quaternions(2, 7), jnp.asarray(rng.normal(size=(2, 7, 3)))], -1)
    q, shift = quaternions(2, 1), jnp.asarray(rng.normal(size=(2, 1, 3)))
    motion = Rigid(rotation_of(q), shift)
    turned = jnp.concatenate(
        [times(jnp.broadcast_to(q, (2, 7, 4)), start[..., :4]), motion.apply(start[..., 4:])], -1
    )
    step = lambda frames: moved(frames, 0.3 * module(x, pairs, rigid_of(frames), edges)[..., :6])
    after, expected = rigid_of(step(turned)), motion.compose(rigid_of(step(start)))
    close(after.matrix(), expected.matrix(), 2e-5)
    assert np.abs(after.matrix() - rigid_of(step(start)).matrix()).max() > 0.1  # the control


def test_padding_is_not_read(attention):
    module, x, pairs, edges = attention
    own = frames(2, 7)
    still = module(x, pairs, own, edges)
    garbage = jnp.asarray(rng.normal(size=(2, 12)), jnp.float32)
    close(module(x.at[1, 5:].set(garbage), pairs, own, edges)[1, :5], still[1, :5], 1e-6)
    other = module(x.at[1, 3:5].set(garbage), pairs, own, edges)
    assert np.abs(other[1, :3] - still[1, :3]).max() > 1e-3  # the control
