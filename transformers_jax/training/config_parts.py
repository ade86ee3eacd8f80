"""The records in the config of a run: its mesh, evaluations, samples, stages of settings, and
faults on purpose."""

from __future__ import annotations

from dataclasses import dataclass

from transformers_jax.settings import Settings


@dataclass(frozen=True)
class MeshShape(Settings):
    """How many devices each axis of the mesh has; -1 takes all that remain."""

    data: int = -1
    fsdp: int = 1
    experts: int = 1
    tensor: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        wrong = [f"mesh.{name} ({n})" for name, n in vars(self).items() if n < 1 and n != -1]
        if wrong:
            raise ValueError(f"{', '.join(wrong)} must be at least 1, or -1 for all that remain")


@dataclass(frozen=True)
class Evaluation(Settings):
    """When the loss on held-out text is measured, and on how much of it."""

    every: int = 250
    """steps between evaluations; 0 for the end only"""
    per_epoch: int = 0
    """evaluations in a pass over the data, in place of every; for runs with epochs"""
    batches: int = 20
    """most batches of an evaluation, always the same ones, spread over the text"""
    final_batches: int | None = None
    """most batches at the end; if they are not those of the other evaluations, theirs is a set of
    its own, called final; 0 for no evaluation at the end, so that with every=0 there is none"""
    patience: int = 0
    """evaluations without a better loss after which the run ends; 0 never"""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least("evaluation.", every=0, per_epoch=0, final_batches=0, patience=0)
        if self.batches < 1:
            raise ValueError(
                f"evaluation.batches ({self.batches}) must be at least 1; --evaluation.every 0 "
                "evaluates at the end only, and with --evaluation.final-batches 0 not there either"
            )


@dataclass(frozen=True)
class Sample(Settings):
    """Text that the model writes: at the end, and on the way."""

    prompt: str = "\n"
    count: int = 3
    """0 for none"""
    tokens: int = 200
    temperature: float = 0.8
    top_k: int = 50
    every: int = 0
    """steps between samples on the way; 0 for the end only"""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least("sample.", count=0, tokens=1, top_k=0, every=0)
        if self.temperature <= 0:
            raise ValueError(f"sample.temperature ({self.temperature}) must be positive")


@dataclass(frozen=True)
class Debug(Settings):
    """Faults on purpose, to test that they are handled."""

    nan_at: int | None = None
    """the step whose loss is not a number"""
    spike_at: int | None = None
    """the step whose loss is a hundred times what it is"""
    stall_at: int | None = None
    """the step that never ends"""


Stages = tuple[tuple[int, int], ...]
"""(the step up to which it holds, the value) of each."""


def check_stages(name: str, stages: Stages) -> None:
    """Raises ValueError for stages that are out of order, or without a number of rows."""
    steps = [step for step, _ in stages]
    if steps != sorted(set(steps)) or any(value < 1 for pair in stages for value in pair):
        raise ValueError(f"{name} {stages}: expected (step, value) pairs by rising step, all >= 1")


def at_stage(stages: Stages, step: int, then: int) -> int:
    """The value of the stage that a step (counted from 0) is in, or `then` after the last."""
    return next((value for until, value in stages if step < until), then)
