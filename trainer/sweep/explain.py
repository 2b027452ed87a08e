"""A finding in words, for one person and one episode; and a census as a table."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from contracts.features.schema import SECOND
from contracts.vocabulary import SOURCES
from trainer.sweep.catalogue import Census
from trainer.sweep.finding import Finding
from trainer.sweep.reasons import KINDS, VERDICTS, Verdict
from trainer.workers.progress import table_console

_MEANS: dict[Verdict, str] = {
    "accepted": "nothing is wrong with it",
    "degraded": "it can be used, and something is missing",
    "rejected": "it could be read, and must not be used",
    "errored": "it could not be read",
}


def in_words(finding: Finding) -> Iterator[str]:
    """Why an episode got its verdict, line by line."""
    yield f"{finding.path}: {finding.verdict}; {_MEANS[finding.verdict]}"
    if finding.profile:
        seconds = (finding.ended_wall_ns - finding.started_wall_ns) / SECOND
        what = f"{finding.profile} {finding.sample_name} on {finding.host_id}"
        yield f"  {what}: {seconds:.0f} s, {finding.windows} windows, {finding.stored_bytes / 1000:.0f} kB"
    for reason in finding.reasons:
        kind = KINDS[reason.code]
        where = f"{reason.source}: " if reason.source else ""
        yield f"  {kind.verdict} {reason.code}: {where}{reason.detail}"
        yield f"    {kind.meaning}"
    for source in SOURCES:
        if source in finding.sources:
            facts = finding.sources[source]
            gap = f", longest gap {facts.longest_gap:.2f} s" if source != "netflow" else ""
            unused = "" if facts.usable else "; not used"
            yield f"  {source}: {facts.rows} rows, {facts.seconds:.1f} s observed{gap}{unused}"


def print_census(census: Census) -> None:
    """By verdict, host and profile, and the codes with their numbers."""
    console = table_console()
    stopped = "" if census.complete else " (the sweep was stopped: there are more)"
    table = Table(title=f"{census.episodes} episodes{stopped}", title_justify="left")
    table.add_column("")
    for verdict in VERDICTS:
        table.add_column(verdict, justify="right")
    for name, groups in (("host", census.hosts), ("profile", census.profiles)):
        for group, counts in groups.items():
            table.add_row(f"{name} {group}", *(str(counts.get(verdict, 0)) for verdict in VERDICTS))
        table.add_section()
    table.add_row("all", *(str(census.verdicts[verdict]) for verdict in VERDICTS))
    console.print(table)
    for code, count in census.reasons.items():
        console.print(f"{count:7} {code} ({KINDS[code].verdict})", markup=False)
