"""The error tree."""

from __future__ import annotations

import pickle

from contracts import errors
from contracts.errors import BusyError, MissingError, PhasewatchError, WorkError


def test_error_is_one_line_with_path_found_expected_and_remedy() -> None:
    error = MissingError("a/b", "no\nsuch file", expected="one", remedy="make it")
    assert str(error) == "a/b: no such file; expected one; make it"


def test_error_crosses_process_borders_whole() -> None:
    error = BusyError("a", "taken", expected="free", remedy="wait")
    again = pickle.loads(pickle.dumps(error))  # as a worker pool does, on our own machine
    assert type(again) is BusyError
    assert str(again) == str(error)


def test_exit_status_is_1_for_faults_in_the_work_and_2_for_bad_input() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PhasewatchError)]
    assert {kind.exit_status for kind in kinds if issubclass(kind, WorkError)} == {1}
    assert {kind.exit_status for kind in kinds if not issubclass(kind, WorkError)} == {2}


def test_every_error_is_drawn_in_the_tree() -> None:
    assert errors.__doc__ is not None
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, PhasewatchError):
            assert name in errors.__doc__
