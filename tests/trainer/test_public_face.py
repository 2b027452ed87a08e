"""`from trainer import …`: what other programs may use, without paying for the rest."""

from __future__ import annotations

import subprocess
import sys

import pytest

import trainer


@pytest.mark.parametrize("name", trainer.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    found = getattr(trainer, name)
    assert found.__name__ == name
    assert found.__doc__
    assert name in dir(trainer)


def test_another_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'trainer' has no attribute 'secret'"):
        trainer.secret  # noqa: B018 # looking it up is the test


def test_importing_trainer_loads_nothing_heavy() -> None:
    script = "import sys, trainer; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert not {"numpy", "pyarrow", "tensorflow", "xgboost", "msgspec"} & set(done.stdout.split())
