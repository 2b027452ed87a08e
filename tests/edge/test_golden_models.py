"""Models with fixed weights say here what they said where they were made, in every runtime."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge.runtimes import GtilRuntime, NativeRuntime
from tests.golden.models import FOREST, NETS, golden
from tests.pythons.found import HERE, interpreters_of

SCRIPT = """
import json, sys
from edge.runtimes import TfliteRuntime
from tests.golden.models import NETS, golden
models = {name: golden(name) for name in NETS}
print(json.dumps({
    name: TfliteRuntime(one.data, classes=5, interpreter=sys.argv[1]).predict_many(one.windows).tolist()
    for name, one in models.items()
}))
"""


@pytest.mark.parametrize("interpreter", interpreters_of(HERE))
def test_golden_nets_say_what_they_said_where_they_were_made(interpreter: str) -> None:
    # in a process of its own: tflite-runtime breaks once TensorFlow was imported, as other tests here do
    done = subprocess.run([sys.executable, "-c", SCRIPT, interpreter], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    for name, tolerance in NETS.items():
        expected = golden(name).expected
        np.testing.assert_allclose(said[name], expected, rtol=0, atol=tolerance, err_msg=name)
        np.testing.assert_array_equal(np.argmax(said[name], axis=1), expected.argmax(axis=1), err_msg=name)


def test_the_golden_forest_says_what_it_said_where_it_was_made_interpreted_and_compiled(tmp_path: Path) -> None:
    from trainer.compile.convert import Converted, convert

    one = golden(FOREST)
    np.testing.assert_allclose(GtilRuntime.load(one.data, classes=5).predict_many(one.windows), one.expected, atol=1e-6)
    (tmp_path / "model.tl").write_bytes(one.data)
    made = convert("gbt", {"golden": tmp_path / "model.tl"}, machines=(platform.machine(),))["golden"]
    assert isinstance(made, Converted), made
    native = NativeRuntime.load(made.members[f"model.{platform.machine()}.so"], classes=5)
    np.testing.assert_allclose(native.predict_many(one.windows), one.expected, atol=1e-6)
