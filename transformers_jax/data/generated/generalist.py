"""`generalist`: in each record a picture, a text and an episode, which have nothing in common.

`image` and `caption`: a digit of `digits`, and its name; `text`: functions of `docstrings` with
what they do; `states`, `actions` and `rewards`: an episode of `cartpole`.
"""

from __future__ import annotations

from typing import Any

from transformers_jax.data.generated import cartpole, digits, docstrings

NAMES = "zero one two three four five six seven eight nine".split()
TOGETHER = 4  # functions of a text
HELD_OUT = 64  # records of "validation" and of "test"


def records(split: str) -> list[dict[str, Any]]:
    """The records of a split."""
    pictures, functions, episodes = (one.records(split) for one in (digits, docstrings, cartpole))
    count = len(pictures) if split == "train" else min(HELD_OUT, len(pictures))
    texts = ["".join(one.values()) + "\n\n" for one in functions]
    found = []
    for number in range(count):
        first = number * TOGETHER % len(texts)
        episode = episodes[number % len(episodes)]
        found.append(
            {
                "image": pictures[number]["image"],
                "caption": NAMES[pictures[number]["label"]],
                "text": "".join(texts[first : first + TOGETHER]),
                **{name: episode[name] for name in ("states", "actions", "rewards")},
            }
        )
    return found
