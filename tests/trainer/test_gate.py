"""The gate: what may ship, what may not and why, and which of several is taken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.bundle.archive import Artifact
from contracts.events.payloads import Interval
from contracts.vocabulary import PHASES
from edge import scores
from trainer.compile.bars import AGREEMENT, CALIBRATION_MARGIN, MARGIN, TAIL_MARGIN
from trainer.compile.candidate import Candidate, Facts
from trainer.compile.choice import Attempt, chosen, verdicts
from trainer.compile.compilation import Judged
from trainer.compile.gate import Ground
from trainer.compile.measure import Run
from trainer.dataset.samples import Samples
from trainer.evaluate.resampled import Resampled

Floats = NDArray[np.float32]


def samples(episodes: int, each: int, seed: int) -> Samples:
    """Windows of all phases in every episode."""
    y = np.tile(np.arange(each) % 5, episodes)
    names = np.repeat([f"e{i}" for i in range(episodes)], each).astype(object)
    n = len(y)
    some = np.array(["x"] * n, object)
    times = np.arange(n, dtype=np.int64) * 5_000_000_000
    return Samples(np.empty((n, 0), np.float32), y, (), np.ones(n, np.float32), times, names, some, some, some)


def spoken(y: NDArray[np.int64], seed: int, *, wrong: float = 0.2, sure: float = 2.5) -> Floats:
    """Probabilities of a model that is right on most windows."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 0.7, (len(y), 5))
    says = np.where(rng.random(len(y)) < wrong, rng.integers(0, 5, len(y)), y)
    logits[np.arange(len(y)), says] += sure
    p = np.exp(logits)
    said: Floats = (p / p.sum(axis=1, keepdims=True)).astype(np.float32)
    return said


@pytest.fixture(scope="module")
def ground() -> Ground:
    validation, test = samples(8, 40, 1), samples(40, 50, 2)
    return Ground(
        classes=PHASES,
        validation=validation,
        test=test,
        model=(spoken(validation.y, 1), spoken(test.y, 2)),
        resampled=Resampled(test.episode_id, 0, replicates=1000),
    )


def judged(ground: Ground, test: Floats, validation: Floats | None = None, exact: Floats | None = None) -> Judged:
    before = ground.model[0] if validation is None else validation
    said = np.concatenate([test, before])
    artifact = Artifact(runtime="tflite", member="m")
    candidate = Candidate(form="f", artifacts=(artifact,), members={"m": b""}, small=True, facts=Facts(), exact=exact)
    run = Run(artifact=artifact, runtime="r", probabilities=said, p50_ms=1, p99_ms=2)
    return ground.judge(candidate, run, before, test)


def test_a_perfect_copy_passes(ground: Ground) -> None:
    found = judged(ground, ground.model[1])
    assert found.refused == ()
    assert found.difference == Interval(value=0, low=0, high=0)
    assert found.tail == Interval(value=0, low=0, high=0)
    assert found.calibration == 0
    assert found.argmax_agreement == 1


def test_a_little_noise_passes(ground: Ground) -> None:
    rng = np.random.default_rng(3)
    noisy = np.clip(ground.model[1] + rng.normal(0, 2e-4, ground.model[1].shape), 1e-6, 1).astype(np.float32)
    assert judged(ground, noisy).refused == ()


def test_a_worse_copy_is_refused_for_its_macro_f1(ground: Ground) -> None:
    worse = ground.model[1].copy()
    right = np.flatnonzero(worse.argmax(axis=1) == ground.test.y)
    flipped = right[:: len(right) // 40][:40]  # 2 % of 2000 windows: within the agreement
    worse[flipped] = np.roll(worse[flipped], 1, axis=1)
    found = judged(ground, worse)
    assert found.argmax_agreement > AGREEMENT
    assert found.difference.value > -0.03
    assert found.difference.low is not None
    assert found.difference.low < -MARGIN
    assert [reason.split(" may be ")[0] for reason in found.refused] == ["macro F1"]
    assert "points worse (bar: 1)" in found.refused[0]


def test_another_model_however_good_is_refused(ground: Ground) -> None:
    better = ground.model[1].copy()
    wrong = np.flatnonzero(better.argmax(axis=1) != ground.test.y)
    better[wrong, ground.test.y[wrong]] = 2.0
    better /= better.sum(axis=1, keepdims=True)
    found = judged(ground, better)
    assert found.difference.low is not None
    assert found.difference.low > 0
    assert any(reason.startswith("decides like its model on 8") for reason in found.refused), found.refused


def test_a_copy_whose_tail_is_spoiled_is_refused_though_it_decides_alike(ground: Ground) -> None:
    sure = replace(ground, model=(ground.model[0], spoken(ground.test.y, 4, wrong=0.0, sure=1.8)))
    spoiled = sure.model[1].astype(np.float64)
    clean = np.flatnonzero((sure.test.y == 0) & (spoiled.argmax(axis=1) == 0))[::10]
    spoiled[clean] = [0.253, 0.0, 0.249, 0.249, 0.249]  # still decided clean, and as suspect as most that are infected
    found = judged(sure, spoiled.astype(np.float32))
    assert found.argmax_agreement == 1
    assert found.tail is not None
    assert found.tail.low is not None
    assert found.tail.low < -TAIL_MARGIN
    assert any(reason.startswith("true positives at 1 % false ones may be ") for reason in found.refused)


def test_a_copy_that_is_no_longer_calibrated_is_refused(ground: Ground) -> None:
    """Its temperature is chosen on validation, where it seems fine."""
    sharp = ground.model[1].astype(np.float64) ** 4
    found = judged(ground, (sharp / sharp.sum(axis=1, keepdims=True)).astype(np.float32))
    assert found.calibration > CALIBRATION_MARGIN
    assert any(reason.startswith("calibration error ") for reason in found.refused)
    # with the same sharpening on validation the temperature takes it back
    before = ground.model[0].astype(np.float64) ** 4
    mended = judged(
        ground,
        (sharp / sharp.sum(axis=1, keepdims=True)).astype(np.float32),
        (before / before.sum(axis=1, keepdims=True)).astype(np.float32),
    )
    assert mended.calibration < CALIBRATION_MARGIN
    assert not any(reason.startswith("calibration") for reason in mended.refused)


def test_an_exact_artifact_that_is_off_or_no_number_is_refused(ground: Ground) -> None:
    whole = np.concatenate([ground.model[1], ground.model[0]])
    assert judged(ground, ground.model[1], exact=whole).refused == ()
    off = judged(ground, ground.model[1], exact=whole + np.float32(1e-4))
    assert off.refused == ("1.0e-04 off what it was compiled from (at most 1e-05)",)
    nothing = judged(ground, ground.model[1] * np.float32(np.nan))
    assert "probabilities that are not numbers" in nothing.refused


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_a_window_without_numbers_is_no_decision_like_the_models_and_in_no_score(ground: Ground, odd: float) -> None:
    silent = ground.model[1].copy()
    silent[::10, 2] = odd
    found = judged(ground, silent)
    assert "probabilities that are not numbers" in found.refused
    assert found.argmax_agreement == 0.9
    rest = np.arange(len(silent)) % 10 > 0
    expected = scores.macro_f1_of(ground.test.y[rest], ground.model[1][rest].argmax(axis=1), 5)
    assert found.macro_f1 == expected
    assert np.isfinite(found.calibration)


def trial(
    form: str, size: int, p50: float, *refused: str, small: bool = True, runtimes: int = 1, **more: Any
) -> Attempt:
    artifact = Artifact(runtime="tflite", member="m")
    zero = Interval(value=0, low=0, high=0)
    one = [
        Judged(
            runtime=f"r{i}", p50_ms=p50, p99_ms=p50, argmax_agreement=1, max_probability_difference=0, macro_f1=0.5,
            difference=zero, tail=None, calibration=0, refused=refused if i == 0 else (),
        )
        for i in range(runtimes)
    ]  # fmt: skip
    facts = Facts(**more)
    candidate = Candidate(form=form, artifacts=(artifact,), members={"m": bytes(size)}, small=small, facts=facts)
    return Attempt(form=form, candidate=candidate, judged=tuple(one))


def test_the_smallest_that_passes_ships_and_the_fastest_of_equals() -> None:
    trials = [trial("a", 300, 1), trial("b", 200, 5), trial("c", 200, 4), trial("d", 100, 1, "macro F1")]
    best = chosen(trials, allow_float=False)
    assert best is not None
    assert best.form == "c"
    tried, _ = verdicts(trials, best)
    assert {one.form: one.verdict for one in tried} == {
        "a": "passes, but a smaller one does",
        "b": "passes, but a smaller one does",
        "c": "ships: the smallest that passes",
        "d": "refused: macro F1",
    }
    assert [one.ships for one in tried] == [False, False, True, False]


def test_of_forests_as_large_as_each_other_the_one_with_fewer_nodes_ships_whatever_the_clock_says() -> None:
    trials = [trial("more", 200, 1, nodes=90), trial("fewer", 200, 2, nodes=60)]
    best = chosen(trials, allow_float=False)
    assert best is not None
    assert best.form == "fewer"


def test_a_large_form_ships_only_when_asked_for_and_no_small_one_passes() -> None:
    trials = [
        trial("float32", 300, 1, small=False),
        trial("int8", 100, 1, "macro F1 …"),
        Attempt(form="x", fault="dead"),
    ]
    assert chosen(trials, allow_float=False) is None
    _, refused = verdicts(trials, None)
    assert refused == "no small form passes (int8: macro F1 …; x: dead); --allow-float ships the large one"
    best = chosen(trials, allow_float=True)
    assert best is not None
    assert best.form == "float32"
    assert verdicts(trials, best)[0][0].verdict == "ships: no smaller one passes, and --allow-float was given"
    small = [*trials, trial("float16", 200, 1)]
    best = chosen(small, allow_float=True)
    assert best is not None
    assert best.form == "float16"


def test_a_small_form_that_is_slower_says_so_and_why_it_ships() -> None:
    trials = [trial("float32", 300, 0.010, small=False, runtimes=2), trial("int8", 100, 0.030, runtimes=2)]
    (ships,) = [one for one in verdicts(trials, chosen(trials, allow_float=False))[0] if one.ships]
    assert ships.verdict == (
        "ships: the smallest that passes; slower than float32 (30 against 10 µs in r0, 30 against 10 µs in r1), "
        "but size comes first"
    )


def test_refusals_name_the_runtime_where_not_all_share_them_and_operators_nobody_has() -> None:
    assert trial("a", 1, 1, "worse", runtimes=2).refusal == "worse in r0"
    assert trial("a", 1, 1, "worse").refusal == "worse"
    assert trial("a", 1, 1, foreign=("FlexConv",)).refusal == "operators that no interpreter has built in: FlexConv"
