"""Who needs TensorFlow has it, and nobody else loads it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from contracts.errors import ConfigError
from trainer.commands.fit_options import require_packages

HANDS_OUT = "trainer.build, trainer.evaluate.answers, trainer.compile.prove, trainer.fits.fit_one, trainer.fits.study"


def test_neither_who_hands_work_out_nor_trees_load_tensorflow() -> None:
    code = f"import sys, {HANDS_OUT}; from trainer.architectures.named import architecture_named"
    code += "; architecture_named('gbt'); print({'keras', 'tensorflow'} & sys.modules.keys())"
    code += "; architecture_named('mlp'); print(sorted({'keras', 'tensorflow'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["set()", "['keras', 'tensorflow']"]


def test_listing_options_loads_no_library_of_a_verb() -> None:
    """Else every `--help`, and every refusal, takes half a second."""
    code = "import sys; from trainer.cli import command_line; command_line().format_help()"
    code += "; print({'numpy', 'pyarrow', 'cryptography', 'cyclonedx', 'rich'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_a_package_that_is_missing_is_named_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "keras" else real(name))
    require_packages({"gbt"})
    words = r"trainer: no package keras; expected the trainer's packages; install phasewatch\[trainer\]"
    with pytest.raises(ConfigError, match=words):
        require_packages({"gbt", "mlp"})
