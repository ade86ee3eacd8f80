"""Pictures to what people ask of them: their class, a vector, a caption.

batches.py     pictures as the arguments of a model, some at a time
classify.py    `classify`: the likeliest labels
encode.py      `encode_images`: vectors; of texts too, by a model that compares both
caption.py     `caption`: texts
"""
