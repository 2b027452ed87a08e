"""The six architectures on a published set of labelled multichannel series, by its own split into train and test.

    python -m tests.bench.public JapaneseVowels_TRAIN.ts JapaneseVowels_TEST.ts [--seeds 0,1,2] [--quick]

Takes files of the UEA archive in the `.ts` format (Bagnall et al., 2018; the format is sktime's). Series go through
`write_dataset`; a fifth of the training side stops the fits, no setting is chosen by the test side.
Prints test accuracy per architecture, one figure a seed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contracts.errors import DatasetError
from contracts.features.channels import Channel
from contracts.shell.cli import run

FOLDS = 5


@dataclass(frozen=True, eq=False)
class Series:
    """x: (N, C, T) float32, NaN where a series has ended or nothing was measured; label: (N,) text."""

    x: NDArray[np.float32]
    label: list[str]


def read_ts(path: Path) -> Series:
    """Channels between colons, values between commas, the class last. Raises `DatasetError`."""
    rows = [line.strip() for line in path.read_text("utf-8").splitlines()]
    rows = [row for row in rows if row and row[0] not in "#@"]
    try:
        series = [[[float("nan" if v == "?" else v) for v in c.split(",")] for c in r.split(":")[:-1]] for r in rows]
    except ValueError as error:
        raise DatasetError(path, str(error), expected="numbers between commas, channels between colons",
                           remedy="give a .ts file without time stamps") from None  # fmt: skip
    if len({len(one) for one in series}) != 1 or not series[0]:
        raise DatasetError(path, "no series, or of unequal channels", expected="as many channels for each",
                           remedy="give a .ts file with class labels")  # fmt: skip
    x = np.full((len(series), len(series[0]), max(len(c) for one in series for c in one)), np.nan, np.float32)
    for i, one in enumerate(series):
        for j, channel in enumerate(one):
            x[i, j, : len(channel)] = channel
    return Series(x, [row.rsplit(":", 1)[1] for row in rows])


def folds(y: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) a fold for each series, every class spread evenly over them: archives have classes one after the other."""
    fold = np.zeros(len(y), np.int64)
    for k in np.unique(y):
        (at,) = np.nonzero(y == k)
        fold[at] = np.arange(len(at)) % FOLDS
    return fold


def main() -> int:
    """Returns the exit status."""
    return run("tests.bench.public", _main, None)


def _main(arguments: Sequence[str]) -> int:
    """Fit and judge. Raises `DatasetError`."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.public", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("train", type=Path, metavar="TRAIN.ts")
    parser.add_argument("test", type=Path, metavar="TEST.ts")
    parser.add_argument("--architectures", default="gbt,mlp,cnn,gru,lstm,transformer", metavar="A,…")
    parser.add_argument("--seeds", default="0,1,2", metavar="N,…")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(arguments)
    from trainer.workers.tensorflow_ready import prepare

    prepare()
    from trainer.architectures.architecture import FitSettings
    from trainer.architectures.named import architecture_named
    from trainer.dataset.from_arrays import write_dataset
    from trainer.dataset.side import side_of

    learned, judged = read_ts(options.train), read_ts(options.test)
    if learned.x.shape[1] != judged.x.shape[1]:
        raise DatasetError(options.test, f"{judged.x.shape[1]} channels", expected=f"{learned.x.shape[1]}, as in "
                           f"{options.train}", remedy="give both files of one set")  # fmt: skip
    classes = tuple(sorted({*learned.label, *judged.label}))
    y = np.array([classes.index(label) for label in [*learned.label, *judged.label]])
    steps = max(learned.x.shape[2], judged.x.shape[2])
    x = np.concatenate([np.pad(s.x, ((0, 0), (0, 0), (0, steps - s.x.shape[2])), constant_values=np.nan)
                        for s in (learned, judged)])  # fmt: skip
    host = [f"train-{k}" for k in folds(y[: len(learned.label)])] + ["test"] * len(judged.label)
    channels = tuple(Channel(name=f"c{i}", source="proc", kind="given", unit="1") for i in range(x.shape[1]))
    with tempfile.TemporaryDirectory() as folder:
        dataset = write_dataset(Path(folder) / "dataset", x, None, y, episode_id=host, host_id=host,
                                channels=channels, classes=classes)  # fmt: skip
        for name in options.architectures.split(","):
            architecture = architecture_named(name)
            train, validation, test = (
                side_of(dataset, architecture.view, dataset.schema.channel_ids, some)
                for some in ([f"train-{k}" for k in range(FOLDS - 1)], [f"train-{FOLDS - 1}"], ["test"])
            )
            found = []
            for seed in map(int, options.seeds.split(",")):
                model = architecture.fit(train, validation, FitSettings(seed=seed, quick=options.quick)).model
                answers = np.full((len(test), len(classes)), np.nan) if model is None else model.predict_side(test)
                found.append(float(np.mean(answers.argmax(axis=1) == test.y)))
            print(f"{name}: accuracy {', '.join(f'{one:.3f}' for one in found)} ({len(train)} series to learn from, "
                  f"{len(validation)} to stop by, {len(test)} to judge)", flush=True)  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
