"""The leaderboard, for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from contracts.events.payloads import AlarmScore, Interval
from trainer.bundle.index import Index
from trainer.evaluate.alarms import alarm_score
from trainer.evaluate.figures import Evaluation
from trainer.split import Split
from trainer.workers.progress import table_console


def leaderboard(index: Index) -> None:
    """Print the bundles of a build, best first."""
    table = Table(title=f"macro F1 on held-out {', '.join(index.held_out)} (95 % interval, clustered by episode)")
    for heading in ("bundle", "form", "macro F1", "false/day", "found", "delay", "kB", "p50, ms"):
        table.add_column(heading, justify="left" if heading in ("bundle", "form") else "right", no_wrap=True)
    for entry in index.bundles:
        f1 = entry.macro_f1
        table.add_row(
            entry.bundle.rpartition("/")[2].removesuffix(".bundle"),
            entry.form,
            f"{f1.value:.3f}" + ("" if f1.low is None or f1.high is None else f" [{f1.low:.2f}, {f1.high:.2f}]"),
            *alarm_cells(entry.alarms),
            f"{entry.size / 1000:.0f}",
            f"{entry.runtimes[0].p50_ms:.3f}",
        )
    console = table_console()
    console.print(table)
    for line in _caveats(index):
        console.print(line, soft_wrap=True)


def print_split(split: Split) -> None:
    """The sides of a split, and what a reader must know of them."""
    table = Table(
        title=f"{split.recipe}: windows per side (held out: {', '.join(split.held_out)})", title_justify="left"
    )
    table.add_column("")
    for name in split.sides:
        table.add_column(name, justify="right")
    table.add_row("episodes", *(str(side.episodes) for side in split.sides.values()))
    table.add_row("windows", *(str(side.windows) for side in split.sides.values()))
    for kind in ("phases", "profiles", "hosts"):
        table.add_section()
        groups = [getattr(side, kind) for side in split.sides.values()]
        for name in dict.fromkeys(name for group in groups for name in group):
            table.add_row(f"{kind[:-1]} {name}", *(str(group.get(name, 0)) for group in groups))
    console = table_console()
    console.print(table)
    for line in _split_caveats(split):
        console.print(line, soft_wrap=True)


def _split_caveats(split: Split) -> Iterator[str]:
    yield f"tuned by: {', '.join(split.held_out_validation)}"
    if split.embargoed:
        yield f"on no side, within {split.embargo_s} s of a cut: {', '.join(split.embargoed)}"
    if split.untested_profiles:
        yield f"never tested: {', '.join(split.untested_profiles)}"
    if split.untested_classes:
        yield f"classes that were never tested: {', '.join(split.untested_classes)}"
    if split.seen_samples:
        yield f"samples of the test side that are also learned from: {', '.join(split.seen_samples)}"


def _caveats(index: Index) -> Iterator[str]:
    """What a reader of the table must know."""
    alone = index.elapsed_time_alone
    yield f"elapsed time alone, on the same windows: {in_words(alone)}"
    yield from (f"  {warning}" for warning in index.warnings)
    for title, why in index.refused.items():
        yield f"not shipped: {title}: {why}"
    if index.seen_samples:
        yield f"its samples that were also learned from, on other hosts: {', '.join(index.seen_samples)}"
    if index.untested_profiles:
        yield f"never tested, and in no average: {', '.join(index.untested_profiles)}"
    if index.untested_classes:
        yield f"classes that were never tested, and are in no average: {', '.join(index.untested_classes)}"
    if clean := max((entry.alarms.clean_hours for entry in index.bundles if entry.alarms), default=0.0):
        yield (
            f"false/day: false alarms a clean day, counted over {clean * 60:.0f} clean minutes (in brackets, the most "
            "that so few allow); found: infections; delay: from the onset, median"
        )
    yield "the order is by the held-out side itself, so the first one's figure is a little too good"


def alarm_cells(one: AlarmScore | None) -> tuple[str, str, str]:
    """False alarms a clean day with their bound, infections found, median delay."""
    if one is None:
        return ("-", "-", "-")
    daily, most, delay = one.false_alarms_per_day, one.at_most_per_day, one.median_delay_s
    return (
        "-" if daily is None else f"{daily.value:.0f}" + ("" if most is None else f" (<{most:.0f})"),
        f"{one.onsets - one.missed}/{one.onsets}",
        "-" if delay is None else f"{delay.value:.0f} s",
    )


def print_evaluation(evaluation: Evaluation) -> None:
    """A leaderboard per recipe, and what the leak check says."""
    console = table_console()
    for recipe in evaluation.recipes:
        split = recipe.split
        table = Table(title=f"{split.recipe}: held out {', '.join(split.held_out)}", title_justify="left")
        for heading in (
            "model",
            "macro F1",
            "95 % interval",
            "steady channels",
            "validation",
            "false/day",
            "found",
            "delay",
            "ECE",
        ):
            table.add_column(heading, justify="left" if heading == "model" else "right", no_wrap=True)
        for model in recipe.models:
            f1, steady = model.macro_f1, model.steady_macro_f1
            table.add_row(
                model.title,
                f"{f1.value:.3f}",
                "-" if f1.low is None or f1.high is None else f"{f1.low:.3f} to {f1.high:.3f}",
                "-" if steady is None else f"{steady.value:.3f}",
                f"{model.validation_macro_f1:.3f}",
                *alarm_cells(None if model.alarms is None else alarm_score(model.alarms)),
                f"{model.calibration.error_after:.3f}",
            )
        console.print(table)
        console.print(f"elapsed time alone: {in_words(recipe.leaks.elapsed_time_alone)}", soft_wrap=True)
        for warning in recipe.leaks.warnings:
            console.print(f"  {warning}", soft_wrap=True)
        for line in _split_caveats(split):
            console.print(line, soft_wrap=True)


def in_words(interval: Interval) -> str:
    """A figure with its interval, where it has one."""
    return f"macro F1 {interval.shown(without=' (one episode: no interval)')}"
