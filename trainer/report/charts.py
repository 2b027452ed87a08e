"""The charts of an evaluation. Every one says with form what it says with colour, so that it can be read in grey."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from contracts.events.payloads import Interval
from trainer.evaluate.figures import Creeping, Gap, ModelRecord, Pair
from trainer.report.plots import COLOURS, STYLE, svg

MARKERS = "osD^vP*X"
DASHES = ("-", "--", ":", "-.")


def _look(i: int) -> dict[str, Any]:
    return {"color": COLOURS[i % 8], "linestyle": DASHES[i % 4]}


def leaderboard(models: Sequence[ModelRecord], elapsed: Interval, chance: float) -> str:
    """Macro F1 with intervals, best first; hollow: without what creeps or warms up."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.5, 0.9 + 0.36 * len(models)))
        axes = figure.subplots()
        for i, model in enumerate(models):
            _point(axes, model.macro_f1, i, "o", filled=True)
            if model.steady_macro_f1 is not None:
                _point(axes, model.steady_macro_f1, i + 0.28, "D", filled=False)
        if elapsed.low is not None and elapsed.high is not None:
            axes.axvspan(elapsed.low, elapsed.high, color="0.88", linewidth=0)
        axes.axvline(elapsed.value, color="black", linestyle="--", linewidth=1, label="elapsed time alone")
        axes.axvline(chance, color="0.5", linestyle=":", linewidth=1, label="chance")
        axes.plot([], [], "o", color=COLOURS[0], label="all channels")
        if any(model.steady_macro_f1 for model in models):
            axes.plot([], [], "D", color=COLOURS[3], markerfacecolor="white", label="steady channels alone")
        axes.set_yticks(range(len(models)), [model.title for model in models])
        axes.set_ylim(len(models) - 0.4, -0.6)
        axes.set_xlim(0, 1)
        axes.set_xlabel("macro F1 on the held-out side, 95 % interval by episode")
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
        return svg(figure)


def _point(axes: Axes, interval: Interval, y: float, marker: str, *, filled: bool) -> None:
    colour = COLOURS[0] if filled else COLOURS[3]
    if interval.low is not None and interval.high is not None:
        axes.plot([interval.low, interval.high], [y, y], color=colour, linewidth=2 if filled else 1)
    axes.plot(interval.value, y, marker, color=colour, markerfacecolor=colour if filled else "white", markersize=5)


def intervals(rows: Mapping[str, Interval | None], label: str, *, zero: bool = False) -> str:
    """A point and its interval per row."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.5, 0.7 + 0.28 * max(1, len(rows))))
        axes = figure.subplots()
        for i, interval in enumerate(rows.values()):
            if interval is not None:
                _point(axes, interval, i, "o", filled=True)
        if zero:
            axes.axvline(0, color="black", linewidth=1)
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlabel(label)
        return svg(figure)


def gaps(found: Sequence[Gap]) -> str:
    """Oracle less realistic, per architecture."""
    return intervals({gap.architecture: gap.difference for gap in found}, "macro F1, oracle less realistic", zero=True)


def pairs(found: Sequence[Pair], titles: Sequence[str]) -> str:
    """Differences of all pairs: row less column; bold and framed where they hold after Holm's correction."""
    index = {title: i for i, title in enumerate(titles)}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.9 + 0.62 * len(titles), 1.5 + 0.34 * len(titles)))
        axes = figure.subplots()
        for pair in found:
            i, k, value = index[pair.one], index[pair.other], pair.difference.value
            holds = pair.p_holm is not None and pair.p_holm < 0.05
            weight = "bold" if holds else "normal"
            for row, column, shown in ((i, k, value), (k, i, -value)):
                axes.text(column, row, f"{shown:+.2f}", ha="center", va="center", size=7, weight=weight)
                if holds:
                    axes.add_patch(mpl.patches.Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, fill=False))
        axes.set_xlim(-0.5, len(titles) - 0.5)
        axes.set_ylim(len(titles) - 0.5, -0.5)
        axes.set_xticks(range(len(titles)), titles, rotation=40, ha="left", size=7)
        axes.set_yticks(range(len(titles)), titles, size=7)
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        return svg(figure)


def curves(models: Sequence[ModelRecord]) -> str:
    """Loss on train and validation, epoch by epoch; the line stands where the kept weights come from."""
    across = 4
    down = -(-len(models) // across)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11, 2.1 * down))
        grid = figure.subplots(down, across, squeeze=False)
        for axes, model in zip(grid.flat, models, strict=False):
            found = model.curves
            steps = np.arange(1, len(found.loss) + 1)
            axes.plot(steps, found.loss, label="train", **_look(0))
            axes.plot(steps, found.validation_loss, label="validation", **_look(1))
            axes.axvline(found.best + 1, color="black", linewidth=0.8)
            axes.set_title(model.title, size=8, loc="left")
            axes.set_xlabel(f"{found.unit}s", size=7)
            axes.set_ylabel("log loss", size=7)
            axes.set_ylim(0, max(2.0, float(np.nanmax(found.validation_loss[: 1 + found.best]))))
            axes.tick_params(labelsize=7)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        for axes in grid.flat[len(models) :]:
            axes.set_visible(False)
        grid.flat[0].legend(frameon=False, fontsize=7)
        figure.tight_layout()
        return svg(figure)


def calibration(model: ModelRecord) -> str:
    """Accuracy against confidence before and after; a mark's size says how many windows."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.2, 3.0))
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color="0.6", linewidth=1)
        for i, (name, bins) in enumerate(
            (("before", model.calibration.reliability_before), ("after", model.calibration.reliability))
        ):
            count, confidence, accuracy = np.array(bins).T
            size = 6 + 90 * count / count.sum()
            face, edge = ("none", COLOURS[3]) if i else (COLOURS[0], COLOURS[0])
            axes.scatter(confidence, accuracy, size, marker=MARKERS[i], label=name, facecolor=face, edgecolor=edge)
        axes.set_xlabel("confidence")
        axes.set_ylabel("accuracy")
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.02)
        axes.legend(frameon=False)
        return svg(figure)


def _by_architecture(models: Sequence[ModelRecord]) -> tuple[Figure, list[tuple[Axes, list[ModelRecord]]]]:
    """A panel per architecture, for two lines each: a dozen in one picture cannot be told apart."""
    names = list(dict.fromkeys(model.architecture for model in models))
    across = min(3, len(names))
    down = -(-len(names) // across)
    figure = Figure(figsize=(3.2 * across, 2.3 * down))
    grid = list(figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).flat)
    for axes in grid[len(names) :]:
        axes.set_visible(False)
    panels = []
    for axes, name in zip(grid, names, strict=False):
        axes.set_title(name, size=9, loc="left")
        chosen = [model for model in models if model.architecture == name]
        panels.append((axes, sorted(chosen, key=lambda model: model.threat_model, reverse=True)))
    return figure, panels


def risk_coverage(models: Sequence[ModelRecord]) -> str:
    """Share of wrong decisions against the share of windows that are decided; the mark is the shipped threshold."""
    with mpl.rc_context(STYLE):
        figure, panels = _by_architecture(models)
        for axes, some in panels:
            for i, model in enumerate(some):
                found = model.abstention
                coverage, risk = np.array(found.curve).T
                axes.plot(coverage, risk, linewidth=1.2, label=model.threat_model, **_look(i))
                if found.risk is not None:
                    axes.plot(found.coverage, found.risk, MARKERS[i], color=COLOURS[i], markersize=5)
            axes.set_xlim(0, 1)
            axes.set_ylim(bottom=0)
            axes.set_xlabel("coverage")
            axes.set_ylabel("risk")
            axes.legend(frameon=False, fontsize=8, loc="upper left")
        figure.tight_layout()
        return svg(figure)


def delays(models: Sequence[ModelRecord]) -> str:
    """Share of the onsets that have been noticed after so many seconds. What never reaches 1 missed some."""
    with mpl.rc_context(STYLE):
        figure, panels = _by_architecture([model for model in models if model.alarms and model.alarms.onsets])
        longest = max(
            (model.alarms.delays_s[-1] for model in models if model.alarms and model.alarms.delays_s), default=1
        )
        for axes, some in panels:
            for i, model in enumerate(some):
                assert model.alarms is not None
                share = np.arange(1, len(model.alarms.delays_s) + 1) / model.alarms.onsets
                seconds = [0, *model.alarms.delays_s, 1.1 * longest]
                heights = [0, *share, share[-1] if len(share) else 0]
                axes.step(seconds, heights, where="post", linewidth=1.4, label=model.threat_model, **_look(i))
            axes.set_ylim(0, 1.02)
            axes.set_xlim(0, max(1.0, 1.1 * longest))
            axes.set_xlabel("seconds from onset to alarm")
            axes.set_ylabel("share of onsets")
            axes.legend(frameon=False, fontsize=8, loc="upper left")
        figure.tight_layout()
        return svg(figure)


def operating(models: Sequence[ModelRecord]) -> str:
    """Share found (lines) and false alarms a clean day (dots) by the threshold; the upright is the one that ships."""
    with mpl.rc_context(STYLE):
        figure, panels = _by_architecture([model for model in models if model.curve])
        for axes, some in panels:
            false = axes.twinx()
            for i, model in enumerate(some):
                at = [one.raise_at for one in model.curve]
                axes.plot(at, [np.nan if one.found is None else one.found for one in model.curve], linewidth=1.4,
                          label=model.threat_model, **_look(i))  # fmt: skip
                rates = [
                    np.nan if one.false_alarms_per_day is None else one.false_alarms_per_day for one in model.curve
                ]
                false.plot(at, rates, MARKERS[i], color=COLOURS[i % 8], markersize=3)
                if model.filter is not None:
                    axes.axvline(model.filter.raise_at, linewidth=0.8, **_look(i))
            axes.set_ylim(0, 1.02)
            axes.set_xlabel("log odds at which it rises")
            axes.set_ylabel("share found")
            false.set_ylabel("false a day (marks)", size=7)
            false.set_ylim(bottom=0)
            axes.legend(frameon=False, fontsize=7, loc="lower left")
        figure.tight_layout()
        return svg(figure)


def channels(model: ModelRecord, most: int = 15) -> str:
    """Fall of macro F1 when a channel is shuffled, the greatest first, with the deviation over repeats."""
    order = sorted(model.channels.items(), key=lambda item: -item[1].fall)[:most]
    rows = {
        name: Interval(value=worth.fall, low=worth.fall - worth.deviation, high=worth.fall + worth.deviation)
        for name, worth in order
    }
    return intervals(rows, "fall of macro F1 when shuffled (mean, one deviation)", zero=True)


def creeping(found: Sequence[Creeping], elapsed: Interval, best: ModelRecord, chance: float) -> str:
    """What the time alone, each creeping channel alone, and the best model reach."""
    rows = {f"best model: {best.title}": best.macro_f1, "elapsed time": elapsed}
    rows |= {one.channel: one.alone for one in found}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.5, 0.7 + 0.28 * len(rows)))
        axes = figure.subplots()
        for i, interval in enumerate(rows.values()):
            _point(axes, interval, i, "o" if i else "*", filled=i > 0)
        axes.axvline(chance, color="0.5", linestyle=":", linewidth=1)
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(0, 1)
        axes.set_xlabel("macro F1 when a model sees nothing else (dotted: chance)")
        return svg(figure)
