"""Events as lines for people. On a terminal in colour; with NO_COLOR or elsewhere the same lines, plain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from contracts.events.envelope import Data, Event
from contracts.events.payloads import (
    ConfusionData,
    EpisodeData,
    Interval,
    Latency,
    MetricsData,
    PerfData,
    ProfilesData,
    WindowData,
)
from contracts.vocabulary import Phase

COLOURS: dict[Phase, str] = {
    "clean": "green",
    "armed": "yellow",
    "infecting": "magenta",
    "infected_running": "red",
    "dormant": "cyan",
}
_BAR = 20


class Screen:
    """Shows events, and remembers what it has seen."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.seen: Counter[str] = Counter()
        self.ids: set[tuple[str, str]] = set()
        self.repeated = 0
        self.agreed = self.judged = 0
        self.availability: list[str] = []

    def show_availability(self, state: str) -> None:
        """The agent comes or goes."""
        self.availability.append(state)
        self._line("agent", Text(state))

    def show(self, name: str, event: Event[Data]) -> None:
        """One event: `name` is its topic's last level."""
        key = event.source, event.id
        self.repeated += key in self.ids
        self.ids.add(key)
        self.seen[name] += 1
        for i, line in enumerate(self._lines(event.data)):
            self._line("" if i else name, line)

    def note(self, said: str) -> None:
        """Something that was no event."""
        self._line("?", Text(said, style="yellow"))

    def _line(self, name: str, line: Text) -> None:
        self._console.print(Text.assemble((f"{name:<10}", "dim"), line), soft_wrap=True)

    def _lines(self, data: Data) -> Iterator[Text]:
        if isinstance(data, EpisodeData):
            yield self._episode(data)
        elif isinstance(data, WindowData):
            yield self._window(data)
        elif isinstance(data, MetricsData):
            yield from self._metrics(data)
        elif isinstance(data, ConfusionData):
            yield from self._confusion(data)
        elif isinstance(data, ProfilesData):
            yield self._profiles(data)
        elif isinstance(data, PerfData):
            yield self._perf(data)
        else:
            yield Text(f"{data.count} events of {data.stream} will not come ({data.cause})", style="bold red")

    def _episode(self, data: EpisodeData) -> Text:
        if data.state == "started":
            vouched = f"signed by {data.bundle.key}" if data.bundle.key else "UNSIGNED"
            model = f"{data.bundle.name} ({data.bundle.runtime}, {vouched})"
            return Text(f"{data.episode_id}: {data.profile} on {data.host_id}, watched by {model}", style="bold")
        gaps = ", ".join(f"{source} {n}" for source, n in (data.gaps or {}).items() if n) or "none"
        return Text(f"{data.episode_id}: over after {data.windows} windows; windows with gaps: {gaps}", style="bold")

    def _window(self, data: WindowData) -> Text:
        told = data.told
        share = max(data.probabilities.values())
        line = Text(f"{datetime.fromtimestamp(data.end_wall_ns // 1_000_000_000, UTC):%H:%M:%S}  ")
        line.append(f"{told or 'abstained':<16} ", style=f"bold {COLOURS[told]}" if told else "")
        line.append(("#" * round(share * _BAR)).ljust(_BAR, "."))
        line.append(f" {share:.2f}")
        if data.truth is not None:
            self.judged += 1
            self.agreed += told == data.truth
            line.append(f"   truth {data.truth:<16} ", style=COLOURS[data.truth])
            line.append("ok" if told == data.truth else "MISSED", style="" if told == data.truth else "bold red")
            if data.purity is not None and data.purity < 0.995:
                line.append(f" (only {data.purity:.0%} of the window)", style="dim")
        if data.alarm:
            line.append("  ALARM", style="bold red")
        if data.flags:
            line.append(f"  [{', '.join(data.flags)}]", style="yellow")
        return line

    def _metrics(self, data: MetricsData) -> Iterator[Text]:
        of = f"{data.windows} windows of {data.episodes} episodes"
        yield Text(f"{_basis(data.basis)}: macro F1 {_interval(data.macro_f1)}; {of}; {data.recipe}", style="bold")
        yield Text("  by class " + ", ".join(f"{phase} {f1:.2f}" for phase, f1 in data.per_class.items()))
        if data.untested_classes:
            yield Text("  untested classes: " + ", ".join(data.untested_classes))
        if data.undecided:
            yield Text(f"  {data.undecided} windows without numbers, in no score")
        if data.paired is not None:
            yield Text(f"  against {data.paired.against}: {_interval(data.paired.difference, sign='+')}")

    def _confusion(self, data: ConfusionData) -> Iterator[Text]:
        width = max(len(label) for label in data.labels) + 1
        yield Text(f"{_basis(data.basis)}: truth down, decided across", style="bold")
        yield Text(" " * width + "".join(label.rjust(width) for label in data.labels))
        for i, (label, counts) in enumerate(zip(data.labels, data.matrix, strict=True)):
            line = Text(label.ljust(width), style=COLOURS[label])
            for j, count in enumerate(counts):
                line.append(str(count).rjust(width), style="bold" if i == j else "default")
            yield line

    def _profiles(self, data: ProfilesData) -> Text:
        scores = ", ".join(f"{profile} {score.macro_f1:.2f}" for profile, score in data.profiles.items())
        untested = ", ".join(data.untested_profiles) or "none"
        never = "never tested" if data.basis == "scorecard" else "not seen yet"
        return Text(f"{_basis(data.basis)}: {scores}; {never}: {untested}", style="bold")

    def _perf(self, data: PerfData) -> Text:
        parts = (
            f"extraction {_latency(data.extraction_ms)}, inference {_latency(data.inference_ms)}",
            f"publishing {_latency(data.publish_ms)}",
            f"{data.rss_bytes / 1e6:.0f} MB, {data.cpu_share:.0%} of a core",
            f"outbox {data.outbox_depth}, dropped {data.dropped}",
        )
        return Text("; ".join(parts), style="blue")


def _basis(basis: str) -> str:
    return "scorecard (by the trainer)" if basis == "scorecard" else "so far in this replay"


def _interval(interval: Interval, sign: str = "") -> str:
    return interval.shown(f"{sign}.3f", without=" (one episode: no interval yet)")


def _latency(latency: Latency) -> str:
    return "-" if latency.p50 is None else f"{latency.p50:.2f} ms"
