"""What a labelled recording says of itself, without a guest: how the sampling fared is in the manifest."""

from __future__ import annotations

from pathlib import Path

import msgspec

from contracts.telemetry.episode import Episode, read_episode
from edge.collectors.base import Stamp, Taken, now
from edge.collectors.find import Known, Where
from edge.collectors.proc import ProcCollector
from edge.collectors.supervise import Supervised
from edge.config import Config, Guest
from edge.config.settings import BrokerTable
from edge.record.labelled import About
from edge.session.recording import Recording


def test_manifest_counts_rows_that_came_too_late(tmp_path: Path, episode: Episode) -> None:
    guest = Guest(id="g", pidfile="/nowhere")
    recording = Recording(guest, Config(broker=BrokerTable(url="mqtt://127.0.0.1"), guest=[guest]), None)
    recording._supervised = [Supervised(ProcCollector(Where(), Known(), None), recording._put, "g proc")]
    at = now()
    recording.begin(tmp_path, About(profile="own", sample_name="s"), "clean", "e", "h", at)
    row = episode.rows["proc"][0]
    for mono in (at.mono_ns + 1, at.mono_ns - 1_000_000_000):  # in time, and of a time that is over
        stamp = Stamp(at.wall_ns + mono - at.mono_ns, mono)
        stamped = msgspec.structs.replace(row, t_wall_ns=stamp.wall_ns, t_mono_ns=mono)
        recording._put("proc", [Taken(stamped, stamp)])
    (folder,) = recording.end()
    found = read_episode(folder, allow_missing=True)
    assert len(found.rows["proc"]) == 1
    assert found.manifest.host["sampling"]["proc"]["late_rows"] == 1
