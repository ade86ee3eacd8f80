"""Folding as a whole: recycling, padding, gradients, chains, PDB files and the command."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import transformers_jax as tj
from transformers_jax.models.base import Plan
from transformers_jax.nn.folding.confidence import lddt_of, tm_of
from transformers_jax.nn.param import flatten, params
from transformers_jax.proteins.pdb import pdb_text
from transformers_jax.proteins.sequences import GAP, LINKER, residues_of

HERE = Path(__file__).parent
CASE = HERE.parent / "conformance" / "cases" / "esmfold"
INPUTS = dict(np.load(CASE / "inputs.npz").items())


@pytest.fixture(scope="module")
def model():
    return tj.from_pretrained(CASE)


@pytest.fixture(scope="module")
def output(model):
    return model(**INPUTS, num_recycles=1)


# ---------------------------------------------------------------- the reference


def test_pdb_files_are_those_of_the_reference(model, output):
    texts = json.loads((HERE / "pdb.json").read_text())
    numbers = lambda text: [[*map(float, line[30:66].split())] for line in lines(text)]
    lines = lambda text: [line for line in text.splitlines() if line.startswith("ATOM")]
    for ours, theirs in zip(model.output_to_pdb(output), texts, strict=True):
        blank = lambda text: [f"{line[:30]}{line[66:]}".rstrip() for line in text.splitlines()]
        assert blank(ours) == blank(theirs)
        np.testing.assert_allclose(numbers(ours), numbers(theirs), atol=2e-3)
    assert tj.to_pdb(output) == model.output_to_pdb(output)


def test_gradients_are_those_of_the_reference(model):
    """Of atoms and confidence, through the last reading only; the language model has none."""
    apply, values = tj.functional(model)

    def loss(values):
        out = apply(values, **INPUTS, num_recycles=1)
        return jnp.square(out.positions).mean() + out.plddt.mean()

    value, gradients = jax.jit(jax.value_and_grad(loss))(values)
    with np.load(HERE / "gradients.npz") as file:
        theirs = dict(file)
    np.testing.assert_allclose(value, theirs.pop("loss"), rtol=1e-5)
    ours, shapes = flatten(gradients), {k: x.shape for k, x in flatten(values).items()}
    fills = model.plan.table.fills(shapes)
    # a bias in front of a softmax has no gradient but rounding
    largest, read = max(np.abs(x).max() for x in theirs.values()), 0
    for name, expected in theirs.items():
        pieces = list(fills[name].pieces)
        lead = fills[name].lead
        got = [
            piece.theirs([np.asarray(ours[path][lead]) for path in piece.paths]) for piece in pieces
        ]
        scale = np.abs(expected).max() + 1e-4 * largest
        np.testing.assert_allclose(np.concatenate(got) / scale, expected / scale, atol=2e-4)
        read += 1
    assert read > 100
    language = [x for path, x in ours.items() if not path.startswith("head")]
    assert not any(np.abs(x).max() for x in language)


# ---------------------------------------------------------------- laws


def test_how_often_the_answer_is_read_again_is_an_option(model, output):
    default = model(**INPUTS)  # max_recycles counts the first reading as well
    never = model(**INPUTS, num_recycles=0)
    np.testing.assert_allclose(default.positions, never.positions, atol=1e-4)
    assert np.abs(never.positions - output.positions).max() > 1e-3
    for wrong in (-1, 1.5):
        with pytest.raises(ValueError, match=f"num_recycles={wrong}: expected a whole number"):
            model(**INPUTS, num_recycles=wrong)


def test_padding_changes_no_residue(model, output):
    types = np.pad(INPUTS["input_ids"], ((0, 0), (0, 3)), constant_values=7)
    mask = np.pad(INPUTS["attention_mask"], ((0, 0), (0, 3)))
    wide = model(input_ids=types, attention_mask=mask, num_recycles=1)
    np.testing.assert_allclose(wide.positions[:, :, :9], output.positions, atol=1e-3)
    np.testing.assert_allclose(wide.plddt[:, :9], output.plddt, atol=1e-5)
    np.testing.assert_allclose(wide.ptm_of_rows, output.ptm_of_rows, atol=1e-5)
    assert not wide.atom37_atom_exists[:, 9:].any()
    control = model(input_ids=types, num_recycles=1)
    assert np.abs(control.positions[:, :, :9] - output.positions).max() > 1e-2


def test_rows_of_pairs_may_attend_some_at_a_time(model, output):
    fold = json.loads((CASE / "config.json").read_text())["esmfold_config"]
    fold["trunk"]["chunk_size"] = 4
    chunked = tj.from_pretrained(CASE, esmfold_config=fold)
    assert chunked.head.spec.trunk.rows == 4
    np.testing.assert_allclose(
        chunked(**INPUTS, num_recycles=1).positions, output.positions, atol=1e-3
    )


def test_types_of_residues_are_checked(model):
    with pytest.raises(ValueError, match="21"):
        model(input_ids=np.full((1, 4), 21))


def test_a_new_model_moves_no_frame_and_has_no_opinion_of_pairs():
    config = tj.AutoConfig.from_pretrained(CASE)
    new = tj.from_config(config, head="protein_folding", key=jax.random.key(0))
    out = new(input_ids=INPUTS["input_ids"])
    assert np.isfinite(np.asarray(out.positions)).all()
    shapes = {
        k: x.shape for k, x in flatten(params(Plan(config, "protein_folding").build())).items()
    }
    assert len(config.table("protein_folding").fills(shapes)) == 190


def test_confidence_is_an_expectation():
    sure = np.full((1, 3, 50), -50.0)
    sure[..., 49] = 50.0
    np.testing.assert_allclose(lddt_of(jnp.asarray(sure)), 0.99, atol=1e-6)
    near, far = np.full((2, 90, 90, 64), -50.0)
    near[..., 0] = far[..., 63] = 50.0
    good, bad = np.asarray(tm_of(jnp.stack([near, far])))
    assert good > 0.9 > 0.1 > bad
    mask = jnp.arange(90) < jnp.asarray([[40]])
    mixed = jnp.where(mask[0, :, None, None] & mask[0, None, :, None], near, far)[None]
    np.testing.assert_allclose(
        tm_of(mixed, mask), tm_of(jnp.asarray(near[None, :40, :40])), rtol=1e-5
    )


# ---------------------------------------------------------------- configs


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embed_a": True}, "unknown key 'embed_a' in esmfold_config; did you mean 'embed_aa'"),
        ({"trunk": {"num_block": 2}}, r"'num_block' in esmfold_config\.trunk; did you mean"),
        ({"use_esm_attn_map": True}, "use_esm_attn_map=True is not implemented"),
        ({"trunk": {"structure_module": {"num_angles": 5}}}, "num_angles=5: residues have 7"),
        ({"trunk": {"pairwise_state_dim": 30}}, r"pairwise_state_dim \(30\) must be a multiple"),
    ],
)
def test_settings_that_are_not_known_are_refused_by_name(change, message):
    values = json.loads((CASE / "config.json").read_text())
    with pytest.raises(ValueError, match=message):
        tj.EsmFoldingConfig.from_dict({**values, "esmfold_config": change})


def test_a_language_model_does_not_fold():
    config = tj.EsmConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24
    )
    model = tj.from_config(config, head="masked_lm", key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"takes a model that folds.*'masked_lm' of esm came"):
        tj.fold(model, "MKT")


# ---------------------------------------------------------------- sequences and files


def test_chains_are_joined_by_a_linker_and_far_apart():
    one = residues_of("MK T:GX")
    assert len(one.types) == 3 + len(LINKER) + 2
    assert one.numbers[one.real].tolist() == [1, 2, 3, 1, 2]
    assert one.chains[one.real].tolist() == [0, 0, 0, 1, 1]
    assert one.places[-1] - one.places[0] == 3 + len(LINKER) + 1 + GAP
    assert one.types[-1] == 20


@pytest.mark.parametrize(
    ("sequence", "message"),
    [
        ("MKJ", r"'J' at place 3 \('MKJ'\) is no amino acid"),
        ("mkt", "residues are capitals"),
        ("MK-T", "'-' at place 3"),
        ("MKT:M1", r"chain 2 of 2: '1' at place 2"),
        ("", "a sequence has at least one residue"),
        ("MK::T", "chain 2 of 3: a sequence has at least one residue"),
    ],
)
def test_what_is_no_sequence_is_refused(sequence, message, model):
    with pytest.raises(ValueError, match=message):
        tj.fold(model, sequence)


def test_sequences_of_several_lengths_fold_as_one_by_one(model, tmp_path):
    both = tj.fold(model, ["MKTAY", "GSH:MR"], num_recycles=0)
    assert [len(protein.types) for protein in both] == [5, 5]
    assert both[1].chains.tolist() == [0, 0, 0, 1, 1]
    alone = tj.fold(model, "MKTAY", num_recycles=0)
    np.testing.assert_allclose(both[0].places, alone.places, atol=2e-3)
    np.testing.assert_allclose(both[0].ptm, alone.ptm, atol=1e-5)
    assert 0 < alone.mean_plddt < 1
    both[1].save(tmp_path / "two.pdb")
    text = (tmp_path / "two.pdb").read_text()
    assert text.count("TER ") == 2
    assert " SER A   2 " in text
    assert " MET B   1 " in text
    assert text.endswith("END\n")


def test_a_pdb_file_has_no_room_for_everything():
    types, place, exists = np.zeros(2, int), np.zeros((2, 37, 3)), np.ones((2, 37))
    parts = (types, place, exists, exists, np.array([1, 10_000]))
    with pytest.raises(ValueError, match="columns for 9,999 residues; 10,000 came"):
        pdb_text(*parts)
    far = place + 10_000
    with pytest.raises(ValueError, match="10000 Angstrom away"):
        pdb_text(types, far, exists, exists, np.array([1, 2]))


# ---------------------------------------------------------------- the command


def command(*words):
    from transformers_jax.cli import main

    return main(["fold", str(CASE), *words])


def test_the_command_writes_a_file(tmp_path, capsys):
    out = tmp_path / "one.pdb"
    assert command("--sequence", "MKTAY", "--num-recycles", "0", "--out", str(out)) == 0
    assert out.read_text().count(" CA ") == 5
    assert "5 residues, mean lDDT 0." in capsys.readouterr().out


def test_the_command_folds_the_proteins_of_a_file(tmp_path, capsys):
    fasta = tmp_path / "two.fasta"
    fasta.write_text(">sp|A/1 first\nMKTAY\n>b\nGSHMR\n")
    folder = tmp_path / "out"
    assert command("--input", str(fasta), "--num-recycles", "0", "--out", str(folder)) == 0
    assert sorted(file.name for file in folder.iterdir()) == ["b.pdb", "sp_A_1.pdb"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give --sequence MKT..., or --input FILE.fasta"),
        (("--sequence", "MKJ"), "sequence 1: 'J' at place 3"),
        (("--sequence", "MK", "--sequence", "TA"), "2 proteins are 2 files: give --out DIR"),
        (("--sequence", "MK", "--sequence", "TA", "--out", "x.pdb"), "x.pdb is one file"),
        (("--input", "x.txt"), "--input x.txt is no FASTA file; those end in .fasta"),
    ],
)
def test_the_command_refuses_what_it_cannot_fold(words, message, capsys):
    assert command(*words) == 1
    assert message in capsys.readouterr().err
