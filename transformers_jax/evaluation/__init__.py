"""What a model knows as it is, without training: questions put to it as text.

writing.py     answers that a model writes, up to strings that end them
harness.py     the model through which lm-evaluation-harness drives ours (extra `harness`)
"""
