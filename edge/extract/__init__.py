"""Rows -> columns -> grid -> tensor | summary. Pure: contracts and numpy only.

The trainer and the agent both import this very code, so a model sees on the Pi what it was trained on.
"""

from edge.extract.columns import Columns, columns_of
from edge.extract.summary import summarise
from edge.extract.truth import Truth, truth_of
from edge.extract.windows import Extractor, Windows, window_ends

__all__ = ["Columns", "Extractor", "Truth", "Windows", "columns_of", "summarise", "truth_of", "window_ends"]
