"""`trainer describe`: a dataset as tables on the terminal, and as a page."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import jinja2
import numpy as np
from rich.table import Table

from contracts.features.schema import SECOND, FeatureSchema
from contracts.files import write_file
from trainer.dataset.describe import DRIFTED, STABLE, Description
from trainer.evaluate.alone import NEAR, Judgement
from trainer.report.plots import heat_map, quantile_boxes, stacked_bars
from trainer.workers.progress import table_console


def write_page(
    path: Path,
    description: Description,
    judgement: Judgement,
    schema: FeatureSchema,
    left_out: dict[str, int],
    name: str,
) -> None:
    """One self-contained HTML file. Raises `StorageError`."""
    source = resources.files("trainer.report").joinpath("description.html").read_text("utf-8")
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(source)
    hosts, channels = list(description.by_host), [facts.channel for facts in description.channels]
    drift = np.array([[facts.drift.get(host, 0.0) for host in hosts] for facts in description.channels])
    missing = 1 - np.array([[facts.observed_by_host[host] for host in hosts] for facts in description.channels])
    profiles = np.array([[row[host] for host in hosts] for row in description.by_profile.values()], float)
    page = template.render(
        d=description,
        j=judgement,
        leaks=list(judgement.leaks()),
        near=NEAR,
        name=name,
        seconds=f"{schema.window_ns / SECOND:g}",
        left_out=left_out,
        by_host=stacked_bars(description.by_host, "windows"),
        by_profile=heat_map(list(description.by_profile), hosts, profiles, form="{:.0f}"),
        gaps=list(_gaps(description)),
        worst=worst_drift(description),
        drift=heat_map(channels, hosts, drift, form="{:.2f}", top=1.0),
        missing=heat_map(channels, hosts, np.maximum(missing, 0), form="{:.1%}", top=1.0),
        boxes=quantile_boxes(
            {facts.channel: facts.quantiles for facts in description.channels},
            {facts.channel: _unit(facts.unit, facts.transform) for facts in description.channels},
        ),
        command=f"trainer describe {name}",
    )
    write_file(path, page.encode())


def _unit(unit: str, transform: str) -> str:
    return unit if transform == "identity" else f"log(1 + {unit})"


def _gaps(description: Description) -> Iterator[str]:
    for profile, hosts in description.by_profile.items():
        for host, windows in hosts.items():
            if windows == 0:
                yield f"{profile} on {host}"


def worst_drift(description: Description) -> list[tuple[str, str, float]]:
    """Channels that have drifted, with the host on which they did most, the worst first."""
    found = []
    for facts in description.channels:
        if facts.drift and max(facts.drift.values()) > DRIFTED:
            host = max(facts.drift, key=lambda name: facts.drift[name])
            found.append((facts.channel, host, facts.drift[host]))
    return sorted(found, key=lambda one: -one[2])


def print_description(description: Description) -> None:
    """Tables for a terminal."""
    console = table_console()
    hosts = list(description.by_host)
    table = Table(title=f"{description.windows} windows, {description.episodes} episodes", title_justify="left")
    table.add_column("windows")
    for host in hosts:
        table.add_column(host, justify="right")
    table.add_column("all", justify="right")
    for phase in description.classes:
        counts = [str(description.by_host[host][phase]) for host in hosts]
        table.add_row(f"phase {phase}", *counts, str(description.by_phase[phase]))
    table.add_section()
    for profile, row in description.by_profile.items():
        table.add_row(f"profile {profile}", *(str(row[host]) for host in hosts), str(sum(row.values())))
    console.print(table)

    table = Table(title="channels: observed, and drift of each host against the others", title_justify="left")
    for heading in ("channel", "unit", "observed", *(f"PSI {host}" for host in hosts)):
        table.add_column(heading, justify="left" if heading in ("channel", "unit") else "right")
    for facts in description.channels:
        drift = (f"{facts.drift[host]:.2f}{_mark(facts.drift[host])}" if facts.drift else "-" for host in hosts)
        table.add_row(facts.channel, _unit(facts.unit, facts.transform), f"{facts.observed:.1%}", *drift)
    console.print(table)
    console.print(f"PSI: above {STABLE} (*) a shift, above {DRIFTED} (**) a large one", markup=False)


def print_judgement(judgement: Judgement) -> None:
    """What the phase could be told by without looking at the guest."""
    console = table_console()
    if not judgement.alone:
        console.print(
            "too few hosts to hold one out: what says the phase without the guest was not asked", markup=False
        )
        return
    table = Table(title="macro F1 on a host not learned from, by this alone", title_justify="left")
    table.add_column("alone")
    for host in judgement.chance:
        table.add_column(host, justify="right")
    table.add_row("chance", *(f"{value:.3f}" for value in judgement.chance.values()))
    table.add_section()
    for one in judgement.alone:
        values = (one.by_host.get(host) for host in judgement.chance)
        name = f"{one.what} ({one.why})" if one.why else one.what
        table.add_row(name, *("" if value is None else f"{value:.3f}" for value in values))
    console.print(table)
    if judgement.host_macro_f1 is not None:
        found = f"{judgement.hosts} hosts are told apart with macro F1 {judgement.host_macro_f1:.3f}"
        console.print(f"{found}; chance is {1 / judgement.hosts:.3f}", markup=False)
    for host, why in judgement.left_out.items():
        console.print(f"{host} cannot be held out: {why}", markup=False)
    leaks = list(judgement.leaks())
    for what, host, above in leaks:
        console.print(f"LEAK: {what} alone lies {above:.3f} above chance on {host}", markup=False)
    if not leaks:
        console.print(f"none lies more than {NEAR} above chance", markup=False)


def _mark(index: float) -> str:
    return " **" if index > DRIFTED else " * " if index > STABLE else "   "
