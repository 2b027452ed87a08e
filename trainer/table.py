"""The leaderboard, for people."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from trainer.index import Index


def leaderboard(index: Index) -> None:
    """Print the bundles of a build, best first."""
    table = Table(title=f"macro F1 on held-out {', '.join(index.held_out)} (95 % interval, clustered by episode)")
    for heading in ("bundle", "macro F1", "interval", "decides as model", "artifact", "one window, p50"):
        table.add_column(heading, justify="left" if heading == "bundle" else "right", no_wrap=True)
    for entry in index.bundles:
        f1 = entry.macro_f1
        table.add_row(
            entry.bundle.rpartition("/")[2].removesuffix(".bundle"),
            f"{f1.value:.3f}",
            "-" if f1.low is None or f1.high is None else f"{f1.low:.3f} to {f1.high:.3f}",
            f"{entry.argmax_agreement:.1%}",
            " + ".join(f"{size / 1000:.0f} kB" for size in entry.artifact_bytes.values()),
            f"{entry.runtimes[0].p50_ms:.3f} ms",
        )
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 120
    console.print(table)
    if index.untested_profiles:
        console.print(f"never tested, and in no average: {', '.join(index.untested_profiles)}")
