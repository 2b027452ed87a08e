"""What elapsed time alone would score: a model that sees nothing of the guest, only how long the episode has run.

Where phases come in a fixed order with similar lengths, this is high, and a score near it says little about the guest.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from contracts.payloads import Interval
from edge.scores import f1_interval
from trainer.architectures.base import FitSettings
from trainer.architectures.gbt import Gbt
from trainer.corpus.samples import Samples
from trainer.evaluate.scorecard import by_episode
from trainer.split import Split


def elapsed_time_alone(samples: Samples, split: Split, seed: int) -> Interval:
    """Macro F1 on the held-out side of a quick gbt that is given seconds since the episode's first window."""
    first = {episode: samples.centre_ns[samples.episode_id == episode].min() for episode in set(samples.episode_id)}
    seconds = (samples.centre_ns - np.array([first[episode] for episode in samples.episode_id])) / 1e9
    blind = dataclasses.replace(samples, x=seconds.astype(np.float32)[:, None], names=("elapsed_s",))
    train, validation, test = (blind.of(side) for side in (split.train, split.validation, split.test))
    model = Gbt().fit(train, validation, FitSettings(seed=seed, quick=True))
    return f1_interval(by_episode(test, model.predict(test.x).argmax(axis=1)), seed=seed)
