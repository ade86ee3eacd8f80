"""Tokenizers made as their classes make them: which file, numbering, normalizer, frame, roles."""
