"""`edge.toml`: the sample reads, and a fault is named with file, line, key and the nearest right name."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from contracts.errors import ConfigError, PhasewatchError
from edge.config import Config, Guest, read_config
from edge.config.reading import host_and_port
from edge.config.settings import PATHS

SAMPLE = Path(__file__).parents[2] / "firmware-config" / "edge.toml"
LEAST = '[broker]\nurl = "mqtt://b"\n[[guest]]\nid = "g"\nqmp = "q"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "edge.toml"
    path.write_text(text)
    return path


def test_the_sample_reads_and_watches_all_four_sources() -> None:
    config = read_config(SAMPLE)
    assert config.sources(config.guest[0]) == ("proc", "qmp", "guest", "netflow")


def test_the_sample_names_every_key_that_there_is_and_no_other() -> None:
    """Lines that are commented out show the rest; uncommented, all of it reads but for what excludes each other."""
    text = re.sub(r"^# (\[|\w+ = )", r"\1", SAMPLE.read_text(), flags=re.M)
    said = {key.strip() for key in re.findall(r"^(\w+) = ", text, flags=re.M)}
    tables = [field.type for field in msgspec.structs.fields(Config)]
    kinds = {kind for table in tables for kind in (table, *getattr(table, "__args__", ()))}
    keys = {key for kind in kinds if isinstance(kind, type) for key in getattr(kind, "__struct_fields__", ())}
    assert said - {"guest"} == (keys | {"node"} | set(Guest.__struct_fields__)) - {"broker", "bundle", "guest"}


def test_relative_paths_lie_beside_the_file(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, LEAST))
    assert config.guest[0].qmp == str(tmp_path / "q")
    assert {"qmp", "pidfile", "feed", "agent", "store", "trust"} <= PATHS


def test_what_is_not_said_is_not_watched(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, LEAST))
    assert config.sources(config.guest[0]) == ("proc", "qmp")


FAULTS = {
    "a key misspelt": (LEAST + 'tapp = "t"\n', r":6: unknown key `tapp`; .*; did you mean `tap`\?"),
    "a table misspelt": (LEAST + "[netfow]\n", r":6: unknown key `netfow`; .*; did you mean `netflow`\?"),
    "nothing alike": (LEAST + "zzz = 1\n", r":6: unknown key `zzz`; .*; one of id, host, addresses, qmp,"),
    "a wrong type": (LEAST + "tap = 3\n", r":6: `tap`: Expected `str \| null`, got `int`"),
    "a key that is missing": ('[broker]\nurl = "mqtt://b"\n[[guest]]\nqmp = "q"\n', r":3: no `id`; .*; say id = …"),
    "no guest": ('[broker]\nurl = "mqtt://b"\n', r"edge\.toml: no \[\[guest\]\]; .*; write a \[\[guest\]\]"),
    "guest as a table": ('[broker]\nurl = "b"\n[guest]\nid = "g"\n', r":3: `guest` is no list of tables"),
    "no broker": ('[[guest]]\nid = "g"\nqmp = "q"\n', r"edge\.toml: no \[broker\]; .*; write one, with its url"),
    "a guest twice": (LEAST + '[[guest]]\nid = "g"\nqmp = "q"\n', r":7: guest `g` is there twice; .*own id"),
    "no source": (LEAST.replace('qmp = "q"\n', ""), r":4: nothing of guest `g` is watched; .*; say at least qmp = …"),
    "two ways": (LEAST + 'name = "n"\npidfile = "p"\n', r":6: both `pidfile` and `name`; .*; find the process in one"),
    "two feeds": (LEAST + 'feed = "f"\nagent = "a"\n', r":7: both `feed` and `agent`; .*; keep the feed"),
    "a tap alone": (LEAST.replace("qmp", "feed") + 'tap = "t"\n', r":6: `tap` without a process; .*"),
    "no address": (LEAST + 'addresses = ["10.0.0"]\n', r":6: address '10\.0\.0'; .*; write IPv4 or IPv6"),
    "no exporter": (LEAST + '[netflow]\nexporters = ["x"]\n', r":7: exporter 'x'; .*; write IPv4 or IPv6"),
    "no port": (LEAST + '[netflow]\nlisten = "127.0.0.1"\n', r":7: listen '127\.0\.0\.1'; .*; write \"host:port\""),
    "no port to scrape": (LEAST + '[prometheus]\nlisten = "x:99999"\n', r":7: listen 'x:99999'; .*"),
    "not TOML": (LEAST + "tap = \n", r":6: no TOML: Invalid value; expected a TOML file; correct that line"),
    "out of range": (LEAST + '[record]\nstore = "s"\nmost_mb = 0\n', r":8: `most_mb`: Expected `int` >= 1"),
    "a name that leaves": (LEAST.replace('"g"', '"../g"'), r":4: `id`: Expected `str` matching regex"),
    "a NUL": (LEAST + 'feed = "a\\u0000b"\n', r":6: `feed`: Expected `str` matching regex"),
    "a long number": ("node = " + "9" * 5000 + "\n" + LEAST, r"no TOML: Exceeds the limit"),
    "a long address": (LEAST + f'addresses = ["fe80::1%{"x" * 100}"]\n', r":6: `addresses`: Expected `str` of length"),
    "no table": ("node = 3\n" + LEAST, r":1: `node`: Expected `str \| null`, got `int`"),
}


@pytest.mark.parametrize(("text", "message"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named_with_its_line_and_remedy(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read_config(written(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_what_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "edge.toml"
    with pytest.raises(PhasewatchError, match="no such file"):
        read_config(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8; expected a TOML file; save it as UTF-8"):
        read_config(path)


@pytest.mark.parametrize(
    ("text", "found"), [("1.2.3.4:5", ("1.2.3.4", 5)), ("[::1]:2055", ("::1", 2055)), ("host:0", ("host", 0))]
)
def test_host_and_port_are_told_apart(text: str, found: tuple[str, int]) -> None:
    assert host_and_port(text) == found


def test_check_config_says_what_is_watched_and_refuses_with_status_two(tmp_path: Path) -> None:
    def checked(text: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "edge.cli", "check-config", str(written(tmp_path, text))]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = checked('node = "n"\n' + LEAST)
    assert (done.returncode, done.stdout) == (0, "node n, events to mqtt://b:1883\nguest g: proc, qmp\n")
    done = checked(LEAST.replace("mqtt://", "http://"))
    assert done.returncode == 2
    assert "scheme 'http'" in done.stderr
