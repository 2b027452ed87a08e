"""Proven models -> bundles: what they are made of, where it came from, and how two of them differ."""
