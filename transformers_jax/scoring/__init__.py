"""Scores of texts: log-probabilities, perplexities, and what they are due to.

tokens.py         of every token of a batch: `score`
pairs.py          texts to pairs of ids: what is given, and what is scored
continuations.py  of continuations: `score_continuations`
windows.py        of texts of any length, in windows: `perplexity`
attributions.py   input x gradient: `attributions`
"""
