"""What a candidate must show before it may ship: on the held-out windows it is its model, and not worse.

Non-inferior in macro F1 and in its tail (true positives at 1 % false ones), each by a paired interval, and calibrated
alike after its own temperature; `bars` says how far. In every runtime: what ships runs in whichever a Pi has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contracts.events.payloads import Interval
from edge import scores
from trainer.compile.bars import AGREEMENT, CALIBRATION_MARGIN, EXACT, MARGIN, TAIL_MARGIN
from trainer.compile.candidate import Candidate
from trainer.compile.compilation import Judged
from trainer.compile.measure import Run
from trainer.dataset.samples import Samples
from trainer.evaluate.calibration import calibration_error, fitted_temperature
from trainer.evaluate.detection import detection_of
from trainer.evaluate.filtering import speaks_of_infection
from trainer.evaluate.paired import Duels
from trainer.evaluate.resampled import Resampled

Probabilities = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Ground:
    """What candidates of one model are judged on. model: its own (N, K) of validation and of the held-out side."""

    classes: tuple[str, ...]
    validation: Samples
    test: Samples
    model: tuple[Probabilities, Probabilities]
    resampled: Resampled

    def judge(self, candidate: Candidate, run: Run, validation: Probabilities, test: Probabilities) -> Judged:
        """One candidate in one runtime. validation, test: what it said of those windows, (N, K)."""
        finite = bool(np.isfinite(run.probabilities).all())
        difference, agreement = self._difference(test), scores.agreement(test, self.model[1])
        macro_f1 = scores.macro_f1_of(self.test.y, scores.choices(test), len(self.classes))
        # what is no number says nothing: as likely as any other; it is refused, and its figures are still shown
        validation, test = (np.where(np.isfinite(p), p, np.float32(1 / p.shape[1])) for p in (validation, test))
        tail = self._tail(test) if speaks_of_infection(self.classes) else None
        calibration = self._calibration(validation, test) - self._calibration(*self.model)
        reasons = []
        if not finite:
            reasons.append("probabilities that are not numbers")
        if candidate.exact is not None:
            off = float(np.abs(run.probabilities - candidate.exact).max())
            if not off <= EXACT:
                reasons.append(f"{off:.1e} off what it was compiled from (at most {EXACT:.0e})")
        if agreement < AGREEMENT:
            reasons.append(f"decides like its model on {100 * agreement:.1f} % of windows (bar: {100 * AGREEMENT:g} %)")
        if _lower(difference) <= -MARGIN:
            reasons.append(f"macro F1 may be {-100 * _lower(difference):.1f} points worse (bar: {100 * MARGIN:g})")
        if tail is not None and _lower(tail) <= -TAIL_MARGIN:
            reasons.append(
                f"true positives at 1 % false ones may be {-100 * _lower(tail):.1f} points fewer "
                f"(bar: {100 * TAIL_MARGIN:g})"
            )
        if calibration > CALIBRATION_MARGIN:
            reasons.append(
                f"calibration error {100 * calibration:.1f} points worse (bar: {100 * CALIBRATION_MARGIN:g})"
            )
        return Judged(
            runtime=run.runtime,
            p50_ms=run.p50_ms,
            p99_ms=run.p99_ms,
            argmax_agreement=agreement,
            max_probability_difference=float(np.abs(test - self.model[1]).max()) if finite else 1.0,
            macro_f1=macro_f1,
            difference=difference,
            tail=tail,
            calibration=calibration,
            refused=tuple(reasons),
        )

    def _difference(self, test: Probabilities) -> Interval:
        duels = Duels({"candidate": self._confusions(test), "model": self._confusions(self.model[1])}, self.resampled)
        return duels.pair("candidate", "model").difference

    def _confusions(self, p: Probabilities) -> NDArray[np.int64]:
        return self.resampled.confusions(self.test.y, scores.choices(p), len(self.classes))

    def _tail(self, test: Probabilities) -> Interval | None:
        mine, its = (detection_of(self.test, p, self.classes, self.resampled) for p in (test, self.model[1]))
        if mine is None or its is None:
            return None
        return self.resampled.around(mine[0] - its[0], mine[1] - its[1])

    def _calibration(self, validation: Probabilities, test: Probabilities) -> float:
        temperature = fitted_temperature(validation, self.validation.y)
        return calibration_error(scores.calibrated(test, temperature), self.test.y)


def _lower(interval: Interval) -> float:
    """The lower end; of what cannot be resampled, the value."""
    return interval.value if interval.low is None else interval.low
