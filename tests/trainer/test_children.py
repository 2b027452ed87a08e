"""What the compile stage starts: it may die or hang without harm, and no more of it runs at once than was allowed."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ParityError
from tests.bundles import library
from tests.compilers import counted, most_at_once
from tests.conftest import Build
from tests.golden.models import FOLDER, FOREST
from trainer.compile import candidates, measure, prove
from trainer.compile import forests as trees
from trainer.compile.candidate import Candidate, Facts
from trainer.compile.child import Ended, run_child
from trainer.compile.convert import Converted, convert
from trainer.compile.measure import run_candidate

HANGS = 7
"""Which of the libraries of tests/bundles hangs."""


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Candidate:
    """A native library that loads, and whose first call never returns."""
    monkeypatch.setenv(f"PW{HANGS}_HANG", "1")
    (artifact, _) = trees.tree_artifacts((platform.machine(),))
    members = {artifact.member: library(HANGS, 216)}
    return Candidate(form="hangs", artifacts=(artifact,), members=members, small=True, facts=Facts())


def limit(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    monkeypatch.setattr(measure, "LIMIT_S", seconds)
    monkeypatch.setattr(measure, "LIMIT_PER_WINDOW_S", 0)


def test_a_candidate_that_hangs_is_ended_and_said_to_take_too_long(
    hanging: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, 2)
    np.save(tmp_path / "w.npy", np.zeros((3, 216), np.float32))
    with pytest.raises(ParityError, match=r"model\.\w+\.so in treelite-native: took over 2 s; expected to run; do not"):
        list(run_candidate(hanging, tmp_path / "w.npy", 5))


@pytest.mark.slow
def test_a_candidate_that_hangs_is_refused_and_the_build_goes_on(
    built: Build, hanging: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer.fits.record import load_fits

    (job,) = [job for job in load_fits(built.out).wanted("held_out_host") if job.title == "gbt-oracle"]
    real = candidates.candidates_of

    def made(*arguments: object) -> Iterator[tuple[str, Candidate | str]]:
        limit(monkeypatch, 2)
        yield "hangs", hanging
        limit(monkeypatch, 600)
        form, fitted = next(real(*arguments))  # type: ignore[arg-type]  # whatever they are
        yield form, fitted

    monkeypatch.setattr(prove, "candidates_of", made)
    outcome = prove.prove_job(job, built.out / "dataset", built.out, False)
    assert outcome.proven is not None
    verdicts = {one.form: one.verdict for one in outcome.compilation.tried}
    assert verdicts.pop("hangs").startswith("refused: model.")
    assert [verdict.partition(":")[0] for verdict in verdicts.values()] == ["ships"]


def test_a_program_is_said_to_hang_to_die_or_to_complain() -> None:
    def ended(script: str) -> Ended:
        return run_child([sys.executable, "-c", script], 600)

    assert run_child([sys.executable, "-c", "while True: pass"], 1).fault == "took over 1 s"
    assert ended("import os; os.abort()").fault == "died of SIGABRT"
    assert ended("print('a')").said == b"a\n"
    assert ended("raise SystemExit('a\\nb')").complaints == ("a", "b")


@given(workers=st.integers(1, 1024), forests=st.integers(0, 40))
def test_compilers_of_all_forests_together_are_no_more_than_the_workers(workers: int, forests: int) -> None:
    each = trees.compilers_each(workers, forests)
    assert each >= 1
    assert min(workers, forests) * each <= workers


@pytest.mark.parametrize("compilers", [1, 2])
def test_a_forest_is_compiled_by_as_many_compilers_as_it_may_use(
    compilers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compilers of which each waits until so many have started: fewer at once, and none would end."""
    expected = min(compilers, len(os.sched_getaffinity(0)))
    monkeypatch.setenv("PATH", counted(tmp_path, together=expected))
    checkpoint = tmp_path / trees.CHECKPOINT
    checkpoint.write_bytes((FOLDER / f"{FOREST}.tl").read_bytes())
    made = convert("gbt", {"f": checkpoint}, machines=(platform.machine(),), compilers=compilers)["f"]
    assert isinstance(made, Converted), made
    assert most_at_once(tmp_path) == expected


def test_a_compiler_that_hangs_is_said_to_take_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "COMPILER_LIMIT_S", 1)
    with pytest.raises(ParityError, match="sleep: took over 1 s; expected a library; check that it makes shared"):
        trees._run(["sleep", "infinity"], tmp_path)
    with pytest.raises(ParityError, match="cc: .*no input files; expected a library"):
        trees._run(["cc"], tmp_path)
