"""Whole runs, in chapters."""
