"""Tokenizers built as their classes do it: files, numbering, normalizer, template, roles."""
