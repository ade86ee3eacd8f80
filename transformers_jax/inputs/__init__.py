"""The arguments of a call: their names, their checks, and the errors about wrong ones."""
