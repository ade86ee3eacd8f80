"""The arguments of a call: which there are, what may be in them, and what is said of wrong ones."""
