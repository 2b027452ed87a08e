"""Whether a probability means what it says, and when to decide nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from edge.scores import calibrated
from trainer.architectures.architecture import log_loss
from trainer.evaluate.figures import Abstention, Calibration

Probabilities = NDArray[np.float32]
Labels = NDArray[np.int64]
BINS = 15
"""As in Guo et al., On Calibration of Modern Neural Networks, ICML 2017."""
HOTTEST = 20.0
SUREST = 0.99
UNDECIDED = 0.1
"""Share of the validation windows that the agent leaves undecided."""
CURVE_POINTS = 101


def fitted_temperature(validation: Probabilities, y: Labels) -> float:
    """What to divide the logits by for the least log loss on validation (Guo et al.); from 1/20 to 20."""
    found = minimize_scalar(
        lambda log_t: log_loss(calibrated(validation, float(np.exp(log_t))), y),
        bounds=(-np.log(HOTTEST), np.log(HOTTEST)),
        method="bounded",
    )
    return round(float(np.exp(found.x)), 4)


def calibration(test: Probabilities, y: Labels, temperature: float) -> Calibration:
    """What a temperature does for probabilities (N, K) of the held-out side."""
    after = calibrated(test, temperature)
    return Calibration(
        temperature=temperature,
        error_before=calibration_error(test, y),
        error_after=calibration_error(after, y),
        log_loss_before=log_loss(test, y),
        log_loss_after=log_loss(after, y),
        reliability_before=reliability(test, y),
        reliability=reliability(after, y),
    )


def calibration_error(p: Probabilities, y: Labels) -> float:
    """Expected calibration error: |accuracy - confidence| over `BINS` equal bins of confidence, by their windows.

    Without an interval: resampled, it comes out too large, since noise in a bin only ever adds to it.
    """
    return sum(count * abs(accuracy - confidence) for count, confidence, accuracy in reliability(p, y)) / len(y)


def reliability(p: Probabilities, y: Labels) -> list[tuple[int, float, float]]:
    """Per bin that holds any: windows, mean confidence, accuracy."""
    confidence, right = p.max(axis=1).astype(np.float64), p.argmax(axis=1) == y
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    count, mean, accuracy = (np.bincount(bins, weights=w, minlength=BINS) for w in (None, confidence, right))
    known = np.flatnonzero(count)
    return [(int(count[i]), float(mean[i] / count[i]), float(accuracy[i] / count[i])) for i in known]


def chosen_threshold(validation: Probabilities) -> float:
    """The calibrated confidence that nine of ten validation windows reach at least; never so near 1 that only what is
    certain would be decided."""
    reached = float(np.quantile(validation.max(axis=1), UNDECIDED, method="lower"))
    return min(SUREST, float(np.floor(reached * 1e4)) / 1e4)


def abstention(test: Probabilities, y: Labels, threshold: float) -> Abstention:
    """Risk against coverage (El-Yaniv and Wiener, JMLR 2010) of calibrated probabilities (N, K)."""
    confidence, wrong = test.max(axis=1), test.argmax(axis=1) != y
    order = np.argsort(-confidence, kind="stable")
    risk = np.cumsum(wrong[order]) / np.arange(1, len(y) + 1)
    at = np.unique(np.linspace(0, len(y) - 1, CURVE_POINTS).astype(int))
    kept = confidence >= threshold
    return Abstention(
        threshold=threshold,
        coverage=float(kept.mean()),
        risk=float(wrong[kept].mean()) if kept.any() else None,
        risk_all=float(wrong.mean()),
        area=float(risk.mean()),
        curve=[((int(i) + 1) / len(y), float(risk[i])) for i in at],
    )
