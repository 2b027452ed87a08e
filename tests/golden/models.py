"""Golden models: four small ones with fixed weights, windows, and what each says of them.

What is fitted anew differs from processor to processor, so a test that asks for certain figures asks these. Obtained
with `python -m tests.golden.models` (2026-11-25, x86_64, tensorflow 2.21.0, xgboost 3.2.0, treelite 4.8.1,
ai-edge-litert 2.3.0): cnn, gru and gbt, fitted to eight channels of the 44 recordings that were in tests/corpus-ordered
at revision 2188f78, of which twelve are left. Run anew, it fits others, to recordings of tests/corpus.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from edge.runtimes import Runtime
    from trainer.architectures.gbt import GbtModel

Floats = NDArray[np.float32]
FOLDER = Path(__file__).with_name("models")
FOREST = "forest"
NETS = {"cnn-dynamic-int8": 5e-4, "gru-dynamic-int8": 5e-4, "gru-float16": 2e-5}
"""By name, how far a probability may be off on another machine."""
CHANNELS, ROUNDS = 8, 4
WIDTHS = {"cnn": 16, "gru": 24}
"""The narrowest of which TensorFlow quantizes every matrix: it leaves those alone that have less than 1024 weights."""
EACH, CLEAR = 3, 0.01
"""Windows of each phase, and by how much their first probability leads."""
NUDGES, NUDGE = 40, 3e-5
"""A net's int8 steps hang on floats that another machine rounds otherwise. Windows are taken on which all nets say
nearly the same after so many random changes of every value, by so much of it at most."""


@dataclass(frozen=True)
class Golden:
    """One model. data: a .tflite, or Treelite's checkpoint; windows: (N, C, T) or (N, F); expected: (N, K)."""

    data: bytes
    windows: Floats
    expected: Floats


def golden(name: str) -> Golden:
    """A model of `NETS`, or the `FOREST`."""
    forest = name == FOREST
    with np.load(FOLDER / "windows.npz", allow_pickle=False) as kept:
        data = (FOLDER / f"{name}.{'tl' if forest else 'tflite'}").read_bytes()
        return Golden(data, kept["summaries" if forest else "tensors"], kept[name])


def main() -> None:
    """Fit, convert, choose windows, and write it all down."""
    from trainer.workers.tensorflow_ready import prepare

    prepare()
    from contracts.features.channels import view_of
    from contracts.features.schema import feature_schema
    from edge.runtimes import GtilRuntime, TfliteRuntime
    from tests.recordings import some
    from trainer.architectures.architecture import FitSettings, Model
    from trainer.architectures.gbt import GbtModel
    from trainer.architectures.named import architecture_named
    from trainer.architectures.net import NetModel
    from trainer.compile.nets import to_tflite
    from trainer.dataset.side import side_of
    from trainer.extraction.extract import Extraction, extract_store
    from trainer.workers.start import engine

    schema = feature_schema()
    seen = view_of(schema.channels, "realistic")
    channels = seen[:: len(seen) // CHANNELS][:CHANNELS]
    with tempfile.TemporaryDirectory() as folder, engine(1) as made:
        store = some(Path(folder) / "store")
        dataset = extract_store(Extraction(store=store, out=Path(folder) / "set", schema=schema), made)
        episodes = sorted(set(dataset.load_ids().episode_id))

        def fitted(name: str, **settings: float) -> Model:
            architecture = architecture_named(name)
            train, validation = (side_of(dataset, architecture.view, channels, episodes[i::2]) for i in (0, 1))
            model = architecture.fit(train, validation, FitSettings(seed=0, quick=True, settings=settings)).model
            assert model is not None
            return model

        nets = {name: fitted(name, width=width) for name, width in WIDTHS.items()}
        forest = fitted("gbt", depth=3)
        judged = [side_of(dataset, architecture_named(name).view, channels, episodes[1::2]) for name in ("cnn", "gbt")]
        tensors, summaries = (side.at(np.arange(len(side))) for side in judged)
    runtimes: dict[str, Runtime] = {}
    for name in NETS:
        architecture, _, form = name.partition("-")
        model = nets[architecture]
        assert isinstance(model, NetModel)
        data = to_tflite(form.replace("-", " "), model)
        (FOLDER / f"{name}.tflite").write_bytes(data)
        runtimes[name] = TfliteRuntime.load(data, classes=5)
    assert isinstance(forest, GbtModel)
    (FOLDER / f"{FOREST}.tl").write_bytes(_checkpoint(forest))
    trees = GtilRuntime.load((FOLDER / f"{FOREST}.tl").read_bytes(), classes=5)
    rows = _steady(list(runtimes.values()), tensors, judged[0].y)
    said = {name: runtime.predict_many(tensors[rows]) for name, runtime in runtimes.items()}
    said[FOREST] = trees.predict_many(summaries[rows])
    np.savez_compressed(FOLDER / "windows.npz", tensors=tensors[rows], summaries=summaries[rows], **said)


def _checkpoint(model: GbtModel) -> bytes:
    import treelite

    with tempfile.TemporaryDirectory() as folder:
        treelite.frontend.from_xgboost(model.booster[:ROUNDS]).serialize(f"{folder}/model.tl")
        return Path(folder, "model.tl").read_bytes()


def _steady(runtimes: Sequence[Runtime], windows: Floats, y: NDArray[np.int64]) -> NDArray[np.intp]:
    """Rows of the windows of each phase that are clear, and that nudges move the least."""
    rng, worst = np.random.default_rng(0), np.zeros(len(windows))
    for runtime in runtimes:
        plain = runtime.predict_many(windows)
        second, first = np.sort(plain, axis=1)[:, -2:].T
        worst[first - second < CLEAR] = 1.0
        for _ in range(NUDGES):
            nudged = (windows * (1 + rng.uniform(-NUDGE, NUDGE, windows.shape))).astype(np.float32)
            worst = np.maximum(worst, np.abs(runtime.predict_many(nudged) - plain).max(axis=1))
    chosen = [at[np.argsort(worst[at], kind="stable")][:EACH] for at in (np.flatnonzero(y == k) for k in np.unique(y))]
    rows = np.sort(np.concatenate(chosen))
    print(f"nudges move a probability on the chosen windows by {worst[rows].max():.1e} at most")
    return rows


if __name__ == "__main__":
    main()
