"""The report's part on artifacts: every candidate of every model, what it measured, and why it ships or does not."""

from __future__ import annotations

from importlib import resources

import jinja2
import matplotlib as mpl
from matplotlib.figure import Figure

from contracts.events.payloads import Interval
from trainer.compile import bars
from trainer.compile.compilation import Compilation, Compilations
from trainer.report.plots import COLOURS, STYLE, svg

PUBLISHED_KB = 75
"""The size of published tree detectors for a Pi."""


def artifacts_section(found: Compilations) -> str:
    """HTML."""
    source = resources.files("trainer.report").joinpath("artifacts.html").read_text("utf-8")
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(source)
    return template.render(
        c=found,
        curves={one.title: curve(one) for one in found.models if _is_forest(one)},
        agreement=bars.AGREEMENT,
        margin=bars.MARGIN,
        tail_margin=bars.TAIL_MARGIN,
        calibration_margin=bars.CALIBRATION_MARGIN,
        share=_share,
        signed=_signed,
    )


def _is_forest(one: Compilation) -> bool:
    return any(tried.facts is not None and tried.facts.trees for tried in one.tried)


def _share(counts: tuple[int, int]) -> str:
    some, all_ = counts
    return f"{100 * some / all_:.0f} %" if all_ else "–"


def _signed(interval: Interval | None) -> str:
    return "–" if interval is None else interval.shown("+.3f")


def curve(one: Compilation) -> str:
    """Macro F1 less the model's, with its interval, against the size of the native library."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 3.0))
        axes = figure.subplots()
        for tried in one.tried:
            if tried.size is None or not tried.judged:
                continue
            kilobytes, difference = tried.size / 1000, tried.judged[0].difference
            passes = not tried.judged[0].refused
            if difference.low is not None and difference.high is not None:
                axes.plot([kilobytes] * 2, [difference.low, difference.high], color=COLOURS[0], linewidth=1)
            face = COLOURS[0] if passes else "white"
            axes.plot(kilobytes, difference.value, "o", color=COLOURS[0], markerfacecolor=face)
        axes.axhline(-bars.MARGIN, color="0.5", linestyle=":", linewidth=1)
        axes.axvline(PUBLISHED_KB, color="black", linestyle="--", linewidth=1)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.xaxis.set_minor_formatter("{x:.0f}")
        axes.set_xlabel("native library, kB")
        axes.set_ylabel("macro F1 less the model's")
        return svg(figure)
