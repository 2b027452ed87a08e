"""Rows of guests that run now. So far only `export`, which reads what flow exporters send."""
