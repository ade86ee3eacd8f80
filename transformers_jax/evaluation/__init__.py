"""What a model knows as it is, without training: questions put to it as text.

in_context.py  questions of a table behind examples with their answers, and the figures
questions.py   the records of such a table, and prompts
writing.py     answers that a model writes, up to strings that end them
harness.py     the model through which lm-evaluation-harness drives ours (extra `harness`)
"""
