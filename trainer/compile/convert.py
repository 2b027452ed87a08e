"""Models -> candidates, in processes of their own: a converter that dies takes no build with it.

python -m trainer.compile.convert TASK.json      (written and read here)
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from contracts.errors import PhasewatchError, WorkError
from contracts.files import write_file
from trainer.compile.candidate import Facts
from trainer.compile.child import run_child
from trainer.workers.forked import run_forked

LIMIT_S = 600
"""For one form; the slowest takes ten seconds where it has a core to itself."""
_NETS = ("trainer.compile.flatbuffer", "trainer.compile.nets")
"""What makes candidates of nets."""
_STARTED, _FAILED, _FACTS = "started", "failed", "facts.json"


class Conversion(msgspec.Struct, frozen=True, kw_only=True):
    """What to convert. forms: (name, source) in order, each written into the folder `<out>/<number>`. Paths are bytes:
    not every name is UTF-8.

    A net: the source is its checkpoint's folder. A forest: the source is the file of a booster or of Treelite, for
    `machines`, by so many `compilers` at a time.
    """

    architecture: str
    out: bytes
    forms: dict[int, tuple[str, bytes]]
    machines: tuple[str, ...] = ()
    compilers: int = 1


class Converted(msgspec.Struct, frozen=True, kw_only=True):
    """Members by name, and the facts."""

    members: dict[str, bytes]
    facts: Facts


def convert(
    architecture: str,
    forms: Mapping[str, Path],
    *,
    machines: tuple[str, ...] = (),
    compilers: int = 1,
) -> dict[str, Converted | str]:
    """Every form that could be made, or why not, by name. One process does all; after a death the next goes on.

    forms: the source of each, see `Conversion`.
    """
    found: dict[str, Converted | str] = {}
    with tempfile.TemporaryDirectory(prefix="phasewatch-") as name:
        folder = Path(name)
        while left := {i: (form, source) for i, (form, source) in enumerate(forms.items()) if form not in found}:
            task = Conversion(
                architecture=architecture,
                out=os.fsencode(name),
                forms={i: (form, os.fsencode(source.absolute())) for i, (form, source) in left.items()},
                machines=machines,
                compilers=compilers,
            )
            (folder / "task.json").write_bytes(msgspec.json.encode(task))
            end = _run(architecture, folder, LIMIT_S * len(left))
            for i, (form, _) in left.items():
                outcome = _outcome(folder / str(i), end)
                if outcome is not None:
                    found[form] = outcome
            if not any(form in found for form, _ in left.values()):
                raise WorkError("trainer.compile.convert", end, expected="to begin", remedy="see there")
    return found


def _run(architecture: str, folder: Path, limit_s: float) -> str:
    """How the process ended. A daemonic process, as Dask's workers are, may have no child of multiprocessing's."""
    if architecture == "gbt" or multiprocessing.current_process().daemon:
        ended = run_child([sys.executable, "-m", "trainer.compile.convert", str(folder / "task.json")], limit_s)
        fault, complaints = ended.fault, ended.complaints
    else:
        log = folder / "log"
        fault = run_forked(main, folder / "task.json", limit_s, log, _NETS)
        complaints = tuple(log.read_text(errors="replace").splitlines()) if fault and log.exists() else ()
    return ": ".join([fault or "ended with 0", *complaints[-1:]])


def _outcome(folder: Path, end: str) -> Converted | str | None:
    """What a process left of one form: the form, why there is none, or None if it did not come so far."""
    if (folder / _FAILED).exists():
        return (folder / _FAILED).read_text("utf-8")
    if (folder / _FACTS).exists():
        members = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name.startswith("model.")}
        return Converted(members=members, facts=msgspec.json.decode((folder / _FACTS).read_bytes(), type=Facts))
    return f"the converter {end}" if (folder / _STARTED).exists() else None


def main(path: Path) -> None:
    """Convert, form by form, and say of each that it was started, that it failed, or (last of all) its facts."""
    task = msgspec.json.decode(path.read_bytes(), type=Conversion)
    for i, (form, source) in task.forms.items():
        folder = Path(os.fsdecode(task.out)) / str(i)
        folder.mkdir(exist_ok=True)
        (folder / _STARTED).touch()
        try:
            place = Path(os.fsdecode(source))
            made = _forest(task, place) if task.architecture == "gbt" else _net(task, form, place)
        except (PhasewatchError, RuntimeError, ValueError) as error:  # what TensorFlow's converter raises
            (folder / _FAILED).write_text(" ".join(str(error).split())[:300] or type(error).__name__, "utf-8")
            continue
        for name, data in made.members.items():
            (folder / name).write_bytes(data)
        write_file(folder / _FACTS, msgspec.json.encode(made.facts))


def _forest(task: Conversion, source: Path) -> Converted:
    import treelite
    import xgboost as xgb

    from trainer.compile.forests import CHECKPOINT, compile_forest

    if source.name == CHECKPOINT:
        forest = treelite.Model.deserialize_bytes(source.read_bytes())
    else:
        forest = treelite.frontend.from_xgboost(xgb.Booster(model_file=bytearray(source.read_bytes())))
    members, facts = compile_forest(forest, task.machines, task.compilers)
    return Converted(members=members, facts=facts)


def _net(task: Conversion, form: str, source: Path) -> Converted:
    from trainer.workers.tensorflow_ready import prepare

    prepare()
    from trainer.architectures.named import architecture_named
    from trainer.architectures.net import NetModel
    from trainer.compile.flatbuffer import facts_of
    from trainer.compile.nets import to_tflite

    model = architecture_named(task.architecture).load(source)
    assert isinstance(model, NetModel), type(model)
    data = to_tflite(form, model)
    return Converted(members={"model.tflite": data}, facts=facts_of(data))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
