"""The command about proteins: fold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tyro.conf import DisallowNone, UseAppendAction

from transformers_jax.cli.files import trained
from transformers_jax.cli.models import Model
from transformers_jax.printing import print_line
from transformers_jax.runs.pretrain import keep_compiled_programs
from transformers_jax.training.exported import model_folder


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Fold proteins: the atoms of sequences of residues, as PDB files.

    The chains of a complex stand between ":". The temperature of an atom is how sure the model is
    of it (lDDT, from 0 to 1).
    """

    model: Model
    sequence: UseAppendAction[tuple[str, ...]] = ()
    """letters of residues; may be given several times"""
    input: DisallowNone[str | None] = None
    """a FASTA file, whose sequences are folded one after the other"""
    num_recycles: DisallowNone[int | None] = None
    """how often the model reads its own answer again; as its config says without it"""
    dtype: str = "float32"
    """of the parameters: float32, bfloat16, auto, ..."""
    out: DisallowNone[str | None] = None
    """a .pdb file for one protein, a directory for several; without it the text is printed"""

    def run(self) -> None:
        """Folds the proteins one after the other."""
        import transformers_jax as tj
        from transformers_jax.proteins.sequences import residues_of

        named = self._named()
        for where, sequence in named.items():
            try:
                residues_of(sequence)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from None
        out = self._outputs(list(named))
        keep_compiled_programs()
        folder = model_folder(self.model)
        with trained(self.model, "it was not trained to fold"):
            model: Any = tj.from_pretrained(folder, dtype=self.dtype)
        for where, sequence in named.items():
            protein = tj.fold(model, sequence, num_recycles=self.num_recycles)
            if out is None:
                print_line(protein.pdb().rstrip("\n"))
                continue
            protein.save(out[where])
            sure = f"mean lDDT {protein.mean_plddt:.3f}, TM-score {protein.ptm:.3f}"
            print_line(f"wrote {out[where]}: {len(protein.types):,} residues, {sure}")

    def _named(self) -> dict[str, str]:
        """The sequences by what they are called.

        Raises:
            ValueError: none, or two of one name.
        """
        from transformers_jax.data.records import read_records

        named = {f"sequence {n}": text for n, text in enumerate(self.sequence, 1)}
        for where, record in () if self.input is None else read_records(_fasta(self.input)):
            name = record["name"].split()[0] if record["name"] else where
            if name in named:
                raise ValueError(f"{where}: a second sequence is called {name!r}")
            named[name] = record["text"]
        if not named:
            raise ValueError("give --sequence MKT..., or --input FILE.fasta")
        return named

    def _outputs(self, names: list[str]) -> dict[str, Path] | None:
        """The file of each protein.

        Raises:
            ValueError: several proteins, and one file or none for them.
        """
        if self.out is None:
            if len(names) > 1:
                raise ValueError(f"{len(names)} proteins are {len(names)} files: give --out DIR")
            return None
        path = Path(self.out).expanduser()
        if len(names) == 1 and path.suffix == ".pdb":
            return {names[0]: path}
        if path.suffix == ".pdb" or path.is_file():
            raise ValueError(f"--out {self.out} is one file, and there are {len(names)} proteins")
        path.mkdir(parents=True, exist_ok=True)
        safe = lambda name: "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
        return {name: path / f"{safe(name)}.pdb" for name in names}


def _fasta(path: str) -> Path:
    from transformers_jax.data.files import kind_of
    from transformers_jax.data.records import FASTA

    file = Path(path).expanduser()
    if kind_of(file) not in FASTA or not file.is_file():
        raise ValueError(f"--input {path} is no FASTA file; those end in {', '.join(FASTA)}")
    return file
