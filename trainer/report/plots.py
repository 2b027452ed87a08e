"""Plots as SVG text: readable in grey and by the colour-blind, and the same bytes for the same numbers."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000")
"""Okabe and Ito's palette (2008)."""
HATCHES = ("", "//", "..", "xx", "--", "oo", "++", "\\\\")
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "phasewatch",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def svg(figure: Figure) -> str:
    """A figure as an `<svg>` element."""
    text = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(text, format="svg", metadata={"Date": None}, bbox_inches="tight")
    drawn = text.getvalue()
    return drawn[drawn.index("<svg") :]


def stacked_bars(table: Mapping[str, Mapping[str, int]], label: str) -> str:
    """One bar per row of a table, with a part per column."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7, 0.8 + 0.45 * len(table)))
        axes = figure.subplots()
        left = np.zeros(len(table))
        for i, column in enumerate(next(iter(table.values()))):
            values = np.array([row[column] for row in table.values()], float)
            look, pattern = COLOURS[i % 8], HATCHES[i % 8]
            axes.barh(list(table), values, left=left, label=column, color=look, hatch=pattern, edgecolor="white")
            left += values
        axes.invert_yaxis()
        axes.set_xlabel(label)
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
        return svg(figure)


def heat_map(
    rows: Sequence[str],
    columns: Sequence[str],
    values: np.ndarray[Any, np.dtype[np.float64]],
    *,
    form: str,
    top: float | None = None,
    square: bool = False,
) -> str:
    """Numbers in cells, darker for more; NaN is an empty cell. values: (rows, columns)."""
    with mpl.rc_context(STYLE):
        wide, high = (0.55, 0.45) if square else (1.1, 0.24)
        figure = Figure(figsize=(1.3 + wide * len(columns), 0.7 + high * len(rows)))
        axes = figure.subplots()
        limit = float(np.nanmax(values, initial=0)) if top is None else top
        axes.imshow(values, cmap="Greys", vmin=0, vmax=limit or 1, aspect="auto")
        for (i, k), value in np.ndenumerate(values):
            if np.isnan(value):
                continue
            dark = value > 0.6 * (limit or 1)
            axes.text(k, i, form.format(value), ha="center", va="center", color="white" if dark else "black", size=8)
        turned: dict[str, Any] = {"rotation": 35, "ha": "left"} if square else {}
        axes.set_xticks(range(len(columns)), columns, **turned)
        axes.set_yticks(range(len(rows)), rows)
        axes.tick_params(length=0)
        axes.xaxis.tick_top()
        axes.spines[:].set_visible(False)
        return svg(figure)


def quantile_boxes(panels: Mapping[str, Mapping[str, Sequence[float] | None]], units: Mapping[str, str]) -> str:
    """A panel per key with a box per group: median, quartiles, 1st and 99th percentile."""
    across = 4
    down = -(-len(panels) // across)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11, 1.5 * down))
        grid = figure.subplots(down, across, squeeze=False)
        for axes, (name, groups) in zip(grid.flat, panels.items(), strict=False):
            for i, (group, found) in enumerate(groups.items()):
                if found is None:
                    axes.text(0.02, i, "not observed", va="center", size=7, transform=axes.get_yaxis_transform())
                    continue
                low, lower, middle, upper, high = found
                axes.plot([low, high], [i, i], color=COLOURS[i % 8], linewidth=1)
                axes.plot([lower, upper], [i, i], color=COLOURS[i % 8], linewidth=6, solid_capstyle="butt")
                axes.plot([middle], [i], "o", color="white", markeredgecolor="black", markersize=4, label=group)
            axes.set_title(name, size=8, loc="left")
            axes.set_xlabel(units[name], size=7)
            axes.set_ylim(len(groups) - 0.5, -0.5)
            axes.set_yticks(range(len(groups)), list(groups), size=7)
            axes.tick_params(axis="x", labelsize=7)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        figure.tight_layout()
        return svg(figure)
