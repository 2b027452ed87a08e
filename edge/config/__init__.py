"""`edge.toml`: which guests are watched, by what, and where their events go.

settings.py   what can be said, typed
reading.py    the file, checked whole before anything starts
places.py     on which line a key stands
"""

from edge.config.reading import read_config
from edge.config.settings import Config, Guest

__all__ = ["Config", "Guest", "read_config"]
