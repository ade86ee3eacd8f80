"""ESMFold (Lin et al. 2023): an ESM-2 whose states a folding trunk makes into atoms. Hugging Face
model_type "esm" with is_folding_model.

A call has the types of residues as `input_ids`, as AlphaFold numbers them (`folding.residues`), and
not ESM's tokens, which the embedder makes of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from transformers_jax.face import public
from transformers_jax.hub.table import Computed
from transformers_jax.models.config import IGNORED
from transformers_jax.models.esm import DroppedTokens, EsmConfig, EsmNetwork
from transformers_jax.models.frozen import Frozen, freeze, thaw
from transformers_jax.models.output import Output
from transformers_jax.models.shared.folding_rows import folding_rows
from transformers_jax.nn.embed import EmbedSpec
from transformers_jax.nn.folding.head import FoldingHead, FoldingSpec
from transformers_jax.nn.folding.invariant import InvariantPointSpec
from transformers_jax.nn.folding.residues import LETTERS
from transformers_jax.nn.folding.structure import ANGLES, StructureSpec
from transformers_jax.nn.folding.trunk import TrunkSpec
from transformers_jax.settings import Settings
from transformers_jax.spelling import nearest

FOLDING, ORDER = "protein_folding", "af2_to_esm"
SPOKEN = {*IGNORED, *"architectures dtype id2label label2id model_type problem_type".split()}
SPOKEN |= {"is_encoder_decoder"}
"""Keys that configs within a config repeat, and that say nothing of them."""
VOCABULARY = (
    *("<cls>", "<pad>", "<eos>", "<unk>"),
    *"LAGVSERTIDPKQNFYMHWCXBUZO.-",
    *("<null_1>", "<mask>"),
)
"""ESM's tokens where a config does not list them."""


@dataclass(frozen=True)
class StructureModuleSettings(Settings):
    """The key `structure_module` of a trunk."""

    sequence_dim: int = 384
    pairwise_dim: int = 128
    ipa_dim: int = 16
    resnet_dim: int = 128
    num_heads_ipa: int = 12
    num_qk_points: int = 4
    num_v_points: int = 8
    dropout_rate: float = 0.1
    num_blocks: int = 8
    num_transition_layers: int = 1
    num_resnet_blocks: int = 2
    num_angles: int = ANGLES
    trans_scale_factor: int = 10
    epsilon: float = 1e-8
    inf: float = 1e5  # masks have no edges here, whatever it is


@dataclass(frozen=True)
class TrunkSettings(Settings):
    """The key `trunk` of esmfold_config."""

    num_blocks: int = 48
    sequence_state_dim: int = 1024
    pairwise_state_dim: int = 128
    sequence_head_width: int = 32
    pairwise_head_width: int = 32
    position_bins: int = 32
    dropout: float = 0.0
    max_recycles: int = 4
    chunk_size: int | None = 128
    layer_drop: float = 0.0  # read by nothing, as the next
    cpu_grad_checkpoint: bool = False
    structure_module: StructureModuleSettings = field(default_factory=StructureModuleSettings)


@dataclass(frozen=True)
class FoldSettings(Settings):
    """The key `esmfold_config`."""

    embed_aa: bool = True
    lddt_head_hid_dim: int = 128
    esm_ablate_sequence: bool = False
    esm_type: str | None = None  # what follows is read by nothing here
    fp16_esm: bool = True
    esm_ablate_pairwise: bool = False
    esm_input_dropout: float = 0.0
    use_esm_attn_map: bool = False
    bypass_lm: bool = False
    trunk: TrunkSettings = field(default_factory=TrunkSettings)


def settings(kind: type[Settings], values: Mapping[str, Any], where: str) -> Any:
    """The record of a config within a config.

    Raises:
        ValueError: an unknown key, with the nearest name, or a value of another type.
    """
    known = {one.name: one for one in fields(kind)}  # type: ignore[arg-type]
    said = {name: value for name, value in values.items() if name not in SPOKEN}
    if unknown := [name for name in said if name not in known]:
        hint = nearest(unknown[0], known)
        raise ValueError(f"EsmFoldingConfig: unknown key {unknown[0]!r} in {where}{hint}")
    inner = {"trunk": TrunkSettings, "structure_module": StructureModuleSettings}
    for name, of in inner.items():
        if name in known:
            said[name] = settings(of, said.get(name) or {}, f"{where}.{name}")
    return kind(**said)


@dataclass(frozen=True, kw_only=True)
class EsmFoldingConfig(EsmConfig):
    """The fields of an ESMFold config.json: those of its ESM-2, and `esmfold_config`; defaults of
    the latter are esmfold_v1."""

    FIXED = {"is_folding_model": True}
    HEADS = {**EsmConfig.HEADS, "EsmForProteinFolding": FOLDING}

    is_folding_model: bool = True
    esmfold_config: Frozen | None = None
    vocab_list: tuple[str, ...] | None = None

    def __post_init__(self):
        super().__post_init__()
        fold = self.fold
        trunk, structure = fold.trunk, fold.trunk.structure_module
        wrong = [
            f"{name}=True is not implemented, only False"
            for name in ("use_esm_attn_map", "bypass_lm")
            if getattr(fold, name)
        ]
        if structure.num_angles != ANGLES:
            wrong.append(f"num_angles={structure.num_angles}: residues have {ANGLES}")
        for kind in ("sequence", "pairwise"):
            width, head = (getattr(trunk, f"{kind}_{n}") for n in ("state_dim", "head_width"))
            if width % head:
                wrong.append(f"{kind}_state_dim ({width}) must be a multiple of its head ({head})")
        if lacking := [letter for letter in (*LETTERS, "<cls>") if letter not in self.letters]:
            wrong.append(f"vocab_list lacks {', '.join(lacking)}")
        if wrong:
            raise ValueError(f"EsmFoldingConfig: {'; '.join(wrong)}")

    @property
    def fold(self) -> FoldSettings:
        """What `esmfold_config` says."""
        return settings(FoldSettings, thaw(self.esmfold_config or {}), "esmfold_config")

    @property
    def letters(self) -> tuple[str, ...]:
        """ESM's tokens by id."""
        return self.vocab_list or VOCABULARY

    def embedder(self, head):
        if head != FOLDING:
            return super().embedder(head)
        mask = self.mask_token_id if self.token_dropout else None
        return ResidueTypes(self.embed(), mask, self.letters)

    def network(self, towers, head, **options):
        maps = self.num_hidden_layers * self.num_attention_heads
        folds = isinstance(head, FoldingHead)
        return (FoldingNetwork if folds else EsmNetwork)(towers, head, maps)

    def folding(self) -> FoldingSpec:
        """The sizes of the head that folds."""
        fold, initial = self.fold, self.initial
        t, s = fold.trunk, fold.trunk.structure_module
        points = InvariantPointSpec(
            s.num_heads_ipa,
            s.ipa_dim,
            s.num_qk_points,
            s.num_v_points,
            s.pairwise_dim,
            eps=s.epsilon,
            dropout=s.dropout_rate,
        )
        structure = StructureSpec(
            s.sequence_dim,
            s.pairwise_dim,
            points,
            steps=s.num_blocks,
            transitions=s.num_transition_layers,
            hidden=s.resnet_dim,
            depth=s.num_resnet_blocks,
            unit=float(s.trans_scale_factor),
            dropout=s.dropout_rate,
            eps=s.epsilon,
            initial=initial,
        )
        trunk = TrunkSpec(
            t.sequence_state_dim,
            t.sequence_head_width,
            t.pairwise_state_dim,
            t.pairwise_head_width,
            t.num_blocks,
            t.position_bins,
            structure,
            dropout=t.dropout,
            rows=t.chunk_size,
            initial=initial,
        )
        return FoldingSpec(
            self.hidden_size,
            self.num_hidden_layers + 1,
            trunk,
            fold.lddt_head_hid_dim,
            embeds=fold.embed_aa,
            silent=fold.esm_ablate_sequence,
            recycles=max(t.max_recycles - 1, 0),  # the first time reads nothing again
        )

    def head_run_by(self, head, execution):
        if head != FOLDING:
            return super().head_run_by(head, execution)
        return FoldingHead(self.folding(), execution)

    def table(self, head):
        table = super().table(head)
        if head != FOLDING:
            return replace(table, ignore=(*table.ignore, ORDER))
        order = Computed(ORDER, (len(LETTERS) + 2,), self.order, stored="int64")
        table = table.with_rows(folding_rows(self.folding().trunk, FOLDING))
        return replace(table, computed=(*table.computed, order))

    def order(self) -> np.ndarray:
        """ESM's token for padding and for each type of residue."""
        number = {letter: place for place, letter in enumerate(self.letters)}
        return np.array([number[letter] for letter in ("<pad>", *LETTERS, "X")])

    def to_dict(self):
        written = super().to_dict()
        written["vocab_list"] = list(self.letters)
        return {**written, "esmfold_config": thaw(self.esmfold_config or freeze({}))}


class ResidueTypes(DroppedTokens):
    """The tokens of ESM, of the types of residues: one before each protein and one behind it."""

    def __init__(self, embed: EmbedSpec, mask: int | None, letters: tuple[str, ...]):
        super().__init__(embed, -1 if mask is None else mask)
        self.of_mask, self.letters = mask, letters
        self.vocabulary = len(LETTERS) + 1

    def changed(self, **changes):
        return type(self)(replace(self.spec, **changes), self.of_mask, self.letters)

    def __call__(self, inputs, **options):
        types, mask = jnp.asarray(inputs["input_ids"]), inputs.get("attention_mask")
        there = jnp.ones(types.shape, bool) if mask is None else jnp.asarray(mask) > 0
        number = {letter: place for place, letter in enumerate(self.letters)}
        tokens = np.array([number[letter] for letter in (*LETTERS, "X")], np.int32)
        first, last, pad = (number[name] for name in ("<cls>", "<eos>", "<pad>"))
        ids = jnp.where(there, jnp.take(jnp.asarray(tokens), types, mode="clip"), pad)
        ids = jnp.pad(ids, ((0, 0), (1, 1)), constant_values=pad).at[:, 0].set(first)
        behind = (ids != pad).sum(-1)
        ids = jnp.where(jnp.arange(ids.shape[1]) == behind[:, None], last, ids)
        valid = (ids != pad).astype(jnp.int32)
        return super().__call__({"input_ids": ids, "attention_mask": valid}, **options)


class FoldingNetwork(EsmNetwork):
    """An ESM that folds, with the methods of the reference; `tj.fold` knows chains as well."""

    def infer(self, seqs: str | Sequence[str], **options: Any) -> Output:
        """The output for one sequence of residues, or several."""
        return self(**public("fold_inputs")(seqs), **options)

    def infer_pdb(self, seqs: str, **options: Any) -> str:
        """The text of a PDB file of one sequence."""
        return self.output_to_pdb(self.infer(seqs, **options))[0]

    def infer_pdbs(self, seqs: Sequence[str], **options: Any) -> list[str]:
        """The text of a PDB file for each sequence."""
        return self.output_to_pdb(self.infer(seqs, **options))

    def output_to_pdb(self, output: Mapping[str, Any]) -> list[str]:
        """The text of a PDB file for each protein of an output (`transformers_jax.to_pdb`)."""
        return public("to_pdb")(output)
