"""Of several candidates, the one that ships: the smallest that passes the gate, the fastest of equals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from trainer.compile.candidate import Candidate
from trainer.compile.compilation import Judged, Tried
from trainer.compile.measure import Run

SLOWER = 1.05
"""Times of microseconds differ by so much from run to run."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
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


def chosen(attempts: Sequence[Attempt], *, allow_float: bool) -> Attempt | None:
    """The best that may ship; a large one only if no small one may, and if that was asked for."""
    passing = [attempt for attempt in attempts if attempt.refusal is None]
    pool = [attempt for attempt in passing if attempt.small] or (passing if allow_float else [])
    return min(pool, key=lambda attempt: attempt.order, default=None)


def verdicts(attempts: Sequence[Attempt], best: Attempt | None) -> tuple[tuple[Tried, ...], str]:
    """Every candidate with its verdict, the largest first, and why none ships (if so)."""
    large = next((attempt for attempt in attempts if attempt.judged and not attempt.small), None)
    tried = [
        Tried(
            form=attempt.form,
            small=attempt.small,
            size=attempt.candidate.size if attempt.candidate else None,
            facts=attempt.candidate.facts if attempt.candidate else None,
            judged=attempt.judged,
            ships=attempt is best,
            verdict=_verdict(attempt, best, large),
        )
        for attempt in attempts
    ]
    tried.sort(key=lambda one: (-(one.size or 0), one.form))
    small = [f"{attempt.form}: {attempt.refusal}" for attempt in attempts if attempt.refusal is not None]
    why = "; ".join(small) or "none was made"
    remedy = "; --allow-float ships the large one" if large is not None and large.refusal is None else ""
    return tuple(tried), f"no small form passes ({why}){remedy}"


def _verdict(attempt: Attempt, best: Attempt | None, large: Attempt | None) -> str:
    if attempt is best:
        why = "the smallest that passes" if attempt.small else "no smaller one passes, and --allow-float was given"
        if large is not None and attempt.small:
            slower = [
                f"{one.p50_ms * 1000:.0f} against {other.p50_ms * 1000:.0f} µs in {one.runtime}"
                for one, other in zip(attempt.judged, large.judged, strict=False)
                if one.p50_ms > SLOWER * other.p50_ms
            ]
            if slower:
                why += f"; slower than {large.form} ({', '.join(slower)}), but size comes first"
        return f"ships: {why}"
    if attempt.refusal is not None:
        return f"refused: {attempt.refusal}"
    return "passes, but a smaller one does" if attempt.small else "for comparison: not quantized"
