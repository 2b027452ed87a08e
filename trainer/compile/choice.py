"""Of several candidates, the one that ships: the smallest that passes the gate, the fastest of equals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from trainer.compile.candidate import Candidate
from trainer.compile.measure import Run
from trainer.compile.record import Judged, Tried

SLOWER = 1.05
"""Times of microseconds differ by so much from run to run."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One form, and how it fared. fault: why it could not be made, or does not run."""

    form: str
    candidate: Candidate | None = None
    runs: list[Run] = field(default_factory=list)
    judged: tuple[Judged, ...] = ()
    fault: str | None = None

    @property
    def refusal(self) -> str | None:
        """Why it may not ship, in all runtimes; None if it may."""
        if self.fault is not None or self.candidate is None:
            return self.fault
        if self.candidate.facts.foreign:
            return f"operators that no interpreter has built in: {', '.join(self.candidate.facts.foreign)}"
        by_reason: dict[str, list[str]] = {}
        for one in self.judged:
            for reason in one.refused:
                by_reason.setdefault(reason, []).append(one.runtime)
        return (
            "; ".join(
                reason if len(where) == len(self.judged) else f"{reason} in {', '.join(where)}"
                for reason, where in by_reason.items()
            )
            or None
        )

    @property
    def small(self) -> bool:
        return self.candidate is not None and self.candidate.small

    @property
    def order(self) -> tuple[int, int, float]:
        """Smaller first, then faster in the runtime that would be used here.

        Of forests those of fewer nodes are faster: libraries are padded to the same size, and times vary.
        """
        assert self.candidate is not None
        return self.candidate.size, self.candidate.facts.nodes, self.judged[0].p50_ms


def chosen(trials: Sequence[Trial], *, allow_float: bool) -> Trial | None:
    """The best that may ship; a large one only if no small one may, and if that was asked for."""
    passing = [trial for trial in trials if trial.refusal is None]
    pool = [trial for trial in passing if trial.small] or (passing if allow_float else [])
    return min(pool, key=lambda trial: trial.order, default=None)


def verdicts(trials: Sequence[Trial], best: Trial | None) -> tuple[tuple[Tried, ...], str]:
    """Every candidate with its verdict, the largest first, and why none ships (if so)."""
    large = next((trial for trial in trials if trial.judged and not trial.small), None)
    tried = [
        Tried(
            form=trial.form,
            small=trial.small,
            size=trial.candidate.size if trial.candidate else None,
            facts=trial.candidate.facts if trial.candidate else None,
            judged=trial.judged,
            ships=trial is best,
            verdict=_verdict(trial, best, large),
        )
        for trial in trials
    ]
    tried.sort(key=lambda one: (-(one.size or 0), one.form))
    small = [f"{trial.form}: {trial.refusal}" for trial in trials if trial.refusal is not None]
    why = "; ".join(small) or "none was made"
    remedy = "; --allow-float ships the large one" if large is not None and large.refusal is None else ""
    return tuple(tried), f"no small form passes ({why}){remedy}"


def _verdict(trial: Trial, best: Trial | None, large: Trial | None) -> str:
    if trial is best:
        why = "the smallest that passes" if trial.small else "no smaller one passes, and --allow-float was given"
        if large is not None and trial.small:
            slower = [
                f"{one.p50_ms * 1000:.0f} against {other.p50_ms * 1000:.0f} µs in {one.runtime}"
                for one, other in zip(trial.judged, large.judged, strict=False)
                if one.p50_ms > SLOWER * other.p50_ms
            ]
            if slower:
                why += f"; slower than {large.form} ({', '.join(slower)}), but size comes first"
        return f"ships: {why}"
    if trial.refusal is not None:
        return f"refused: {trial.refusal}"
    return "passes, but a smaller one does" if trial.small else "for comparison: not quantized"
