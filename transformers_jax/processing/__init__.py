"""What stands before a model: pictures, sound and text as the arrays that it takes.

`load_processor` reads what a model's folder says of its inputs. `image/` reads, resizes and
normalises pictures, `audio/` reads sound and makes features of it, `placeholders.py` writes image
tokens into texts. NumPy only: what reads pictures and sound imports no JAX.
"""
