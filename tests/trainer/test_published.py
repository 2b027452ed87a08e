"""Files of published sets, as the bench of architectures reads them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from contracts.errors import DatasetError
from tests.bench.public import folds, read_ts
from tests.streams import Words, ended


def test_series_of_unequal_length_are_padded_with_what_was_not_observed(tmp_path: Path) -> None:
    path = tmp_path / "Some_TRAIN.ts"
    path.write_text("#a comment\n@problemName Some\n@data\n1,2,3:4,?,6:b\n\n7:8:a\n")
    found = read_ts(path)
    expected = [[[1, 2, 3], [4, np.nan, 6]], [[7, np.nan, np.nan], [8, np.nan, np.nan]]]
    np.testing.assert_array_equal(found.x, np.array(expected, np.float32))
    assert found.label == ["b", "a"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,x:2:a\n", "could not convert string to float: 'x'; expected numbers between commas"),
        ("1:2:a\n1:a\n", "no series, or of unequal channels; expected as many channels for each"),
        ("@data\n", "no series, or of unequal channels"),
        (
            "1,2,3\n",
            "no series, or of unequal channels; expected as many channels for each; give a .ts file with class",
        ),
    ],
)
def test_a_file_that_is_no_set_of_series_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "Some_TRAIN.ts"
    path.write_text(text)
    with pytest.raises(DatasetError, match=words):
        read_ts(path)


def test_two_files_of_different_sets_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "train.ts").write_text("1:2:a\n1:2:b\n")
    (tmp_path / "test.ts").write_text("1:a\n")
    words: Words = [sys.executable, "-m", "tests.bench.public", tmp_path / "train.ts", tmp_path / "test.ts"]
    status, _, err = ended(words)
    assert status == 2
    assert err.endswith(f"test.ts: 1 channels; expected 2, as in {tmp_path}/train.ts; give both files of one set\n")


def test_every_fold_has_as_many_of_each_class_as_the_next() -> None:
    y = np.repeat([0, 1, 2], [10, 5, 7])
    fold = folds(y)
    for label in range(3):
        counts = np.bincount(fold[y == label], minlength=5)
        assert counts.max() - counts.min() <= 1
