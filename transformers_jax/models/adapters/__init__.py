"""Adapters: what is trained of a model, and what is added to its weights.

`records` are the settings, `resolve` says which tensors of a family they mean, `install` puts
`nn.adapted` modules in the place of parameters.
"""
