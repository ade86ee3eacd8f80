"""Names and files: which tensor of a checkpoint is which parameter; reading and saving.

`layout`, `row`, `fill` and `table` know names and shapes, `header` and `files` know bytes on disk,
`transfer` moves tensors between files and (sharded) parameters, `download` finds a model's
directory. Nothing here knows a model family.
"""
