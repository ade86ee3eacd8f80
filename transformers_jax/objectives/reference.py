"""Objectives that read a second, frozen model beside the one that is trained.

Such an objective is called with it behind the key: objective(model, batch, key, second) -> (loss,
{name: (sum, weight)}). It is an argument of the compiled step: not differentiated, and in neither
optimizer nor checkpoint.
"""

from __future__ import annotations

from typing import ClassVar


class WithReference:
    """What an objective says of its second model; its settings are those of the record.

    Attributes:
        fingerprint: of the weights of the second model, in the run's config: 16 hex digits.

    Class attributes:
        role: the setting that names the directory, run or hub id of the second model.
        own_start: whether it is the model that the run starts from, where none is named.
        answers_with: whether predictions are made with it, and not by the trained model alone.
    """

    role: ClassVar[str]
    own_start: ClassVar[bool] = False
    answers_with: ClassVar[bool] = False
    fingerprint: str

    @property
    def second(self) -> str:
        """The directory, run or hub id of the second model; "" where none is named."""
        name: str = getattr(self, self.role)
        return name
