"""Which numbers a window becomes.

channels.py, channels.toml  the 46 channels, as data
schema.py                   channels, grid, window and statistics, and the hash of it all
"""
