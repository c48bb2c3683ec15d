"""Heads over any embedding: their layers are mixed with scalars that are learned with the task."""
