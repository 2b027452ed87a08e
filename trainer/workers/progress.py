"""Progress of long work: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Step = Callable[[str], None]
"""Call it once per finished step, with a few words on how it stands."""

console = Console(stderr=True, highlight=False, soft_wrap=True)


def table_console() -> Console:
    """Standard output for tables: as wide as a terminal is, and 120 columns elsewhere."""
    wide = Console(highlight=False, markup=False)
    if not wide.is_terminal:
        wide.width = 120
    return wide


def say(line: str) -> None:
    """One line of news."""
    console.print(line, markup=False)


@contextlib.contextmanager
def stage(name: str, total: int) -> Iterator[Step]:
    """A stage of `total` steps. The bar goes when the stage ends, and one line stays."""
    if not console.is_terminal:
        yield _plain(name, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[news]}"), console=console, transient=True) as progress:
        task = progress.add_task(name, total=total, news="")
        last = ""

        def step(news: str = "") -> None:
            nonlocal last
            last = news
            progress.update(task, advance=1, news=news)

        yield step
    say(f"{name}: done{f' ({last})' if last else ''}")


def _plain(name: str, total: int) -> Step:
    done = 0
    print(f"{name}: {total} steps", file=sys.stderr, flush=True)

    def step(news: str = "") -> None:
        nonlocal done
        done += 1
        if done == total or done * 4 // total > (done - 1) * 4 // total:
            print(f"{name}: {done}/{total} {news}".rstrip(), file=sys.stderr, flush=True)

    return step
