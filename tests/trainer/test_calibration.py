"""Temperatures, calibration error, abstention."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.scores import calibrated
from trainer.evaluate.calibration import (
    BINS,
    abstention,
    calibration,
    calibration_error,
    chosen_threshold,
    fitted_temperature,
    reliability,
)


def drawn(windows: int, sharper: float, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Probabilities that are honest, then `sharper` times as sure of themselves; and labels drawn from the honest."""
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 1.5, (windows, 4))
    honest = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    y = (rng.random((windows, 1)) > honest.cumsum(axis=1)).sum(axis=1).clip(max=3)
    return calibrated(honest.astype(np.float32), 1 / sharper), y


def test_temperature_undoes_false_confidence_and_false_modesty() -> None:
    for sharper in (1.0, 3.0, 0.4):
        p, y = drawn(20_000, sharper)
        assert abs(fitted_temperature(p, y) / sharper - 1) < 0.05


def test_calibration_lowers_the_error_of_what_is_too_sure_and_keeps_decisions() -> None:
    p, y = drawn(5000, 3.0)
    test, truth = drawn(5000, 3.0, seed=1)
    found = calibration(test, truth, fitted_temperature(p, y))
    assert found.error_after < 0.03 < 0.15 < found.error_before
    assert found.log_loss_after < found.log_loss_before
    np.testing.assert_array_equal(calibrated(test, found.temperature).argmax(axis=1), test.argmax(axis=1))


def test_calibration_error_equals_the_naive_one() -> None:
    p, y = drawn(400, 2.0)
    confidence, right = p.max(axis=1).astype(float), p.argmax(axis=1) == y
    naive = 0.0
    for i in range(BINS):
        within = (confidence > i / BINS) & (confidence <= (i + 1) / BINS)
        if within.any():
            naive += within.sum() / len(y) * abs(right[within].mean() - confidence[within].mean())
    assert np.isclose(calibration_error(p, y), naive)
    assert sum(count for count, _, _ in reliability(p, y)) == 400


def test_threshold_leaves_a_tenth_of_the_validation_windows_undecided() -> None:
    p, _ = drawn(1000, 1.0)
    threshold = chosen_threshold(p)
    assert abs((p.max(axis=1) < threshold).mean() - 0.1) < 0.005


def test_threshold_does_not_ask_for_certainty() -> None:
    sure = np.tile(np.array([[1, 0]], np.float32), (50, 1))
    assert chosen_threshold(sure) == 0.99
    assert (sure.max(axis=1) >= chosen_threshold(sure)).all()
    p = np.array([[0.55556, 0.44444]] * 30, np.float32)
    assert (p.max(axis=1) >= chosen_threshold(p)).all()  # rounded down, so that what reached it still does


def test_abstention_decides_less_and_errs_less() -> None:
    p, y = drawn(4000, 1.0)
    found = abstention(p, y, chosen_threshold(p))
    assert np.isclose(found.coverage, 0.9, atol=0.01)
    assert found.risk is not None
    assert found.risk < found.risk_all
    assert np.isclose(found.risk_all, (p.argmax(axis=1) != y).mean())
    coverage, risk = np.array(found.curve).T
    assert coverage[-1] == 1
    assert np.isclose(risk[-1], found.risk_all)
    half = np.argsort(-p.max(axis=1), kind="stable")[:2000]
    assert np.isclose(np.interp(0.5, coverage, risk), (p[half].argmax(axis=1) != y[half]).mean(), atol=0.01)


def test_abstention_from_everything_has_no_risk() -> None:
    p, y = drawn(50, 1.0)
    found = abstention(p, y, 1.0)
    assert (found.coverage, found.risk) == (0, None)
