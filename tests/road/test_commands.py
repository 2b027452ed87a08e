"""Both command lines as a user meets them: help with examples, refusals in one line, exit statuses."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from contracts.bundle import archive as bundles
from contracts.bundle.keys import generate_key
from contracts.features.schema import feature_schema
from tests.conftest import Build
from tests.recordings import ONE, ORDERED, copy_of, edit_manifest, edit_row
from trainer.cli import VERBS

NOWHERE = "mqtt://127.0.0.1:1"
ROOT = Path(__file__).parents[2]


def run(program: str, *arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"{program}.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **(env or {})})


def refused(done: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
    """One line, the status, and the words."""
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize(
    "command",
    [
        ["trainer"],
        *(["trainer", verb.__name__.rpartition(".")[2]] for verb in VERBS),
        ["edge"],
        ["edge", "replay"],
    ],
    ids=" ".join,
)
def test_help_has_an_example(command: list[str]) -> None:
    done = run(command[0], *command[1:], "--help")
    assert done.returncode == 0
    assert f"example:\n  {command[0]} " in done.stdout


def test_demo_help_has_an_example() -> None:
    done = subprocess.run([sys.executable, "-m", "trainer.demo", "--help"], capture_output=True, text=True, check=False)
    assert "example:\n  make demo" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trainer"], ["the following arguments are required: COMMAND", "see trainer --help"]),
        (["trainer", "build"], ["the following arguments are required: STORE, --out"]),
        (["trainer", "build", "x", "--out", "y", "--seed", "a"], ["'a' is no whole number from 0 to 4294967295"]),
        (["trainer", "build", "x", "--out", "y", "--workers", "0"], ["'0' is no whole number from 1 to 1024"]),
        (["trainer", "validate", "x", "--workers", "2", "--cluster", "tcp://h:1"], ["not allowed with argument"]),
        (["trainer", "validate", "nowhere"], ["nowhere: no such folder; expected <host_id>/<episode_id>/episode.json"]),
        (["trainer", "explain", "nowhere"], ["nowhere: no such folder; expected an episode's folder"]),
        (["trainer", "extract", "nowhere", "--out", "build/x"], ["nowhere: no such folder"]),
        (["trainer", "extract", "x", "--out", "y", "--shard-mb", "0"], ["'0' is no whole number from 1 to 4096"]),
        (["trainer", "split", "nowhere"], ["nowhere: no such folder; expected a dataset; make one with `trainer ex"]),
        (["trainer", "split", "nowhere", "--recipe", "random"], ["no recipe 'random'; expected held_out_host, held"]),
        (["trainer", "split", "nowhere", "--embargo", "-1"], ["'-1' is no whole number from 0"]),
        (["trainer", "describe", "nowhere"], ["nowhere: no such folder; expected a dataset"]),
        (["trainer", "build", "x", "--out", "y", "--seed", "-1"], ["'-1' is no whole number from 0 to 4294967295"]),
        (
            ["trainer", "build", "x", "--out", "y", "--threat-models", ","],
            ["an empty list ','; expected a name or more"],
        ),
        (["trainer", "build", "x", "--out", "y", "--architectures", ""], ["an empty list ''"]),
        (["edge", "replay", "x", "--bundle", "b", "--broker", "u", "--drain-timeout", "nan"], ["no number of seconds"]),
        (["edge", "replay", "x"], ["the following arguments are required: --broker"]),
        (["edge", "replay", "x", "--bundle", "b", "--broker", "u", "--speed", "-1"], ["neither max nor a number from"]),
        (["edge", "replay", "x", "--bundle", "b", "--broker", "u", "--node", "a/b"], ["not made of letters"]),
        (["edge", "replay", "x", "--bundle", "b", "--broker", "http://x"], ["scheme 'http'; expected mqtt://"]),
        (["edge", "replay", "x", "x", "--bundle", "b", "--broker", NOWHERE], ["one is named twice"]),
    ],
)
def test_wrong_use_is_one_line_and_status_2(arguments: list[str], words: list[str]) -> None:
    refused(run(arguments[0], *arguments[1:]), 2, *words)


@pytest.mark.parametrize("option", [["--architectures", "svm"], ["--threat-models", "divine"]])
def test_build_refuses_names_it_does_not_know(tmp_path: Path, signing_key: Path, option: list[str]) -> None:
    done = run("trainer", "build", ORDERED, "--out", tmp_path, "--key", signing_key, *option)
    refused(done, 2, f"{option[0]}: no ", option[1], "expected ")


def test_build_refuses_an_empty_store(tmp_path: Path, signing_key: Path) -> None:
    (tmp_path / "store").mkdir()
    done = run("trainer", "build", tmp_path / "store", "--out", tmp_path / "out", "--key", signing_key)
    refused(done, 2, "an empty store; expected <host_id>/<episode_id>/episode.json; point at a folder")


def test_build_leaves_a_bad_episode_out_and_says_so(tmp_path: Path, signing_key: Path) -> None:
    copy_of(ORDERED / "lab-q35-1" / "lab-q35-1-io-walk-s01", tmp_path / "store")
    edit_row(copy_of(ONE, tmp_path / "store"), "proc", 5, lambda row: row.update(utime="12"))
    done = run("trainer", "build", tmp_path / "store", "--out", tmp_path / "out", "--key", signing_key, "--workers", 2)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "extract: left out 1 rejected (row-invalid 1); " in done.stderr
    assert "1 episodes on lab-q35-1 leave nothing to hold out" in done.stderr.splitlines()[-1]
    why = run("trainer", "explain", tmp_path / "store" / "lab-q35-2" / ONE.name)
    assert why.returncode == 1
    assert "proc.jsonl.zst:6: Expected `int | null`, got `str` - at `$.utime`" in why.stdout


def test_build_leaves_an_episode_without_netflow_out_unless_asked(tmp_path: Path, signing_key: Path) -> None:
    edit_manifest(copy_of(ONE, tmp_path / "store"), lambda manifest: manifest["files"].pop("netflow.jsonl.zst"))
    arguments = ("build", tmp_path / "store", "--out", tmp_path / "out", "--key", signing_key, "--workers", 1)
    done = run("trainer", *arguments)
    assert done.returncode == 2
    assert "no usable episode; expected accepted ones" in done.stderr.splitlines()[-1]
    asked = run("trainer", *arguments, "--include-degraded")
    assert "1 episodes on lab-q35-2 leave nothing to hold out" in asked.stderr.splitlines()[-1]


def test_build_refuses_channels_that_leave_a_threat_model_blind(tmp_path: Path) -> None:
    registry = tmp_path / "mine.toml"
    registry.write_text('[[channel]]\nname = "x"\nsource = "guest"\nkind = "rate"\nfield = "ctxt"\nunit = "/s"\n')
    done = run("trainer", "build", ORDERED, "--out", tmp_path, "--unsigned", "--channels", registry)
    refused(done, 2, "mine.toml: no channel that realistic may see")


def test_build_says_in_one_line_when_its_folder_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    done = run("trainer", "build", ORDERED, "--out", tmp_path / "out", "--unsigned")
    refused(done, 1, "cannot be written", "free some space or choose another folder")


def test_build_refuses_to_share_its_folder(tmp_path: Path, signing_key: Path) -> None:
    from contracts.files import locked

    with locked(tmp_path / ".lock"):
        done = run("trainer", "build", ORDERED, "--out", tmp_path, "--key", signing_key)
    refused(done, 2, ".lock: another process works here; expected to be alone")


def test_build_makes_a_key_for_its_user_once(tmp_path: Path) -> None:
    (tmp_path / "store" / "host" / "broken-off").mkdir(parents=True)
    env = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    first = run("trainer", "build", tmp_path / "store", "--out", tmp_path / "out", env=env)
    key = tmp_path / "config" / "phasewatch" / "trainer.key"
    trusted = key.parent / "trust" / "trainer.pub"
    assert f"made a signing key, {key}; this machine trusts {trusted}" in first.stderr
    assert [path.name for path in trusted.parent.iterdir()] == ["trainer.pub"]
    assert key.stat().st_mode & 0o777 == 0o600
    again = run("trainer", "build", tmp_path / "store", "--out", tmp_path / "out", env=env)
    assert "made a signing key" not in again.stderr
    assert "no usable episode" in again.stderr.splitlines()[-1]


@pytest.mark.slow
class TestReplayRefuses:
    """Every refusal of `edge replay`, before the first event."""

    def replay(self, built: Build, folder: Path, *arguments: object, episode: Path = ONE, bundle: Path | None = None,
               trust: Path | None = None) -> subprocess.CompletedProcess[str]:  # fmt: skip
        path = bundle or built.bundle("gbt-realistic")
        fixed = ("--bundle", path, "--broker", NOWHERE, "--trust", trust or built.key.parent)
        return run("edge", "replay", episode, *fixed, "--outbox", folder / "o", "--drain-timeout", 0, *arguments)

    def test_an_episode_that_is_not_there(self, built: Build, tmp_path: Path) -> None:
        done = self.replay(built, tmp_path, episode=tmp_path / "e")
        refused(done, 2, "episode.json: no such file; expected a regular file")

    def test_a_torn_file(self, built: Build, tmp_path: Path, spoiled: Path) -> None:
        data = (spoiled / "guest.jsonl.zst").read_bytes()
        (spoiled / "guest.jsonl.zst").write_bytes(data[: len(data) // 2])
        done = self.replay(built, tmp_path, episode=spoiled)
        refused(done, 2, "guest.jsonl.zst: sha256 ", "as episode.json says; copy the file again")

    def test_an_episode_without_netflow(self, built: Build, tmp_path: Path, spoiled: Path) -> None:
        edit_manifest(spoiled, lambda manifest: manifest["files"].pop("netflow.jsonl.zst"))
        refused(self.replay(built, tmp_path, episode=spoiled), 2, "episode.json: no netflow file")

    def test_an_unsigned_bundle(self, built: Build, tmp_path: Path) -> None:
        files = bundles._unpack(tmp_path, built.bundle("gbt-realistic").read_bytes())
        del files["signature.json"]
        (tmp_path / "b.bundle").write_bytes(bundles._pack(files))
        done = self.replay(built, tmp_path, bundle=tmp_path / "b.bundle")
        refused(done, 2, "b.bundle: not signed; expected a signature by a trusted key; build it with a key, or run")
        allowed = self.replay(built, tmp_path, "--allow-unsigned", bundle=tmp_path / "b.bundle")
        assert "events are kept in" in allowed.stderr.splitlines()[-1]

    def test_a_bundle_by_a_stranger(self, built: Build, tmp_path: Path) -> None:
        generate_key(tmp_path / "trust" / "other.key")
        refused(
            self.replay(built, tmp_path, trust=tmp_path / "trust"), 2, "signed by key ", "a key of the trust folder"
        )

    def test_a_bundle_of_another_schema(self, built: Build, tmp_path: Path) -> None:
        registry = tmp_path / "mine.toml"
        text = resources.files("contracts.features").joinpath("channels.toml").read_text()
        registry.write_text(text.replace('transform = "log1p"', 'transform = "identity"', 1))
        done = self.replay(built, tmp_path, "--channels", registry)
        found = f"feature schema {feature_schema().hash[:12]}…; expected "
        refused(done, 2, "bundle gbt-realistic-", found, "rebuild it with this")

    @pytest.mark.parametrize("member", ["model.tl", "schema.json", "scorecard.json", "manifest.json", "signature.json"])
    def test_a_changed_byte_in_any_member(self, built: Build, tmp_path: Path, member: str) -> None:
        files = bundles._unpack(tmp_path, built.bundle("gbt-realistic").read_bytes())
        files[member] = files[member][:-2] + bytes([files[member][-2] ^ 1]) + files[member][-1:]
        (tmp_path / "b.bundle").write_bytes(bundles._pack(files))
        refused(self.replay(built, tmp_path, bundle=tmp_path / "b.bundle"), 2, "b.bundle", "expected ")

    def test_a_trust_folder_that_is_not_there(self, built: Build, tmp_path: Path) -> None:
        refused(self.replay(built, tmp_path, trust=tmp_path / "none"), 2, "none: no such folder; expected a folder of")

    def test_an_outbox_that_cannot_be_written(self, built: Build, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        done = self.replay(built, tmp_path, "--outbox", tmp_path / "file" / "o")
        refused(done, 1, "cannot be written", "free some space or choose another folder")


def tracked() -> dict[str, str]:
    """Every tracked text file but the recordings, by name: arrays and models are not text."""
    git = shutil.which("git")
    assert git
    listed = subprocess.run([git, "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = [
        name
        for name in listed.splitlines()
        if not {"corpus", "corpus-ordered", "seeds"} & set(Path(name).parts)
        and not name.endswith((".npz", ".tflite", ".tl"))
    ]
    texts = (name for name in names if not name.endswith(".png"))
    return {name: (ROOT / name).read_text() for name in texts if (ROOT / name).exists()}


def test_addresses_in_the_project_are_standards_and_licences_alone() -> None:
    """No registry, no mirror: packages come from wherever the reader's own tools take them."""
    hosts = {host for text in tracked().values() for host in re.findall(r"https?:/{2}([\w.-]+)", text)}
    refused, guests = {"pi", "x"}, {"10.77.0.1", "10.77."}  # in tests: by our own hand, and in a namespace
    formats = {"json-schema.org", "www.w3.org", "www.apache.org", "www.debian.org", "libvirt.org"}
    examples = {"host", "example", "example.invalid"}
    assert hosts <= {*formats, *examples, "127.0.0.1", *refused, *guests}


def test_no_file_names_a_folder_of_the_machine_it_was_written_on() -> None:
    for name, text in tracked().items():
        # install.sh puts the agent into /opt/phasewatch; /root/ is a folder of the machines that the tests boot
        text = re.sub(r"/opt/phasewatch\b", "", text)
        text = re.sub(r"/root/\w", "", text) if name.startswith("tests/boot/") else text
        assert not re.search(r"(?<![\w.~/])/(?:home|root|work|opt|Users)/\w", text), name


@pytest.mark.parametrize(
    "name", ["constraints.txt", "firmware-config/requirements.txt", "firmware-config/requirements-dashboard.txt"]
)
def test_pinned_packages_are_names_versions_and_hashes_alone(name: str) -> None:
    pin = r"[a-z0-9][a-z0-9.-]*==[\w.]+(?: ; [\w .'<>=!()]+)? \\"
    for line in (ROOT / name).read_text().splitlines():
        assert re.fullmatch(rf"{pin}|    --hash=sha256:[0-9a-f]{{64}}(?: \\)?", line), line
