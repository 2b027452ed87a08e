"""`trainer judge`, the agent and the scorecard: one code, the same alarms on the same windows; and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.bundle.archive import read_bundle
from contracts.features.schema import FeatureSchema
from contracts.telemetry.episode import find_episodes, read_episode
from contracts.vocabulary import PHASES
from edge import scores
from edge.deliver.outbox import opened
from edge.extract import Extractor, summarise, window_ends
from edge.feeds.replay import replay
from edge.model.models import Fixed
from edge.model.opened import Active, activate
from edge.watch.agent import Agent
from edge.watch.health import Health
from tests.conftest import Build
from tests.recordings import columns_of_episode, edit_lines, rename
from trainer.bundle.judged import Judged, in_words, judge_bundle
from trainer.bundle.learned import Learned, already_learned, read_learned
from trainer.cli import main
from trainer.dataset.samples import Samples
from trainer.evaluate.listening import listen
from trainer.workers.start import engine

NAMES = ("gbt-realistic", "cnn-oracle")


@pytest.fixture(scope="session")
def held_out_store(built: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recordings that no model of the build was fitted to or tuned by."""
    store = tmp_path_factory.mktemp("held-out") / "store"
    for host in json.loads((built.out / "index.json").read_text())["held_out"]:
        shutil.copytree(built.store / host, store / host)
    return store


def judged(built: Build, name: str, store: Path, out: Path, **more: Any) -> Judged:
    with engine(1) as made:
        return judge_bundle(built.bundle(name), store, out, made, trust=built.trust, **more)


@pytest.mark.parametrize("name", NAMES)
def test_on_its_own_held_out_side_a_bundle_is_judged_as_its_scorecard_says(
    built: Build, held_out_store: Path, tmp_path: Path, name: str
) -> None:
    found = judged(built, name, held_out_store, tmp_path / "set")
    bundle = read_bundle(built.bundle(name), schema=None, trust=built.trust)
    card = json.loads(bundle.members["scorecard.json"])
    assert found.macro_f1.value == pytest.approx(card["macro_f1"]["value"])
    assert [list(row) for row in card["confusion"]] == found.confusion
    assert (found.windows, found.episodes, found.learned) == (card["windows"], card["episodes"], [])
    alarms = card["alarms"]
    assert found.filtered
    assert (found.alarms.onsets, found.alarms.missed) == (alarms["onsets"], alarms["missed"])
    assert found.alarms.clean_hours == pytest.approx(alarms["clean_hours"])
    assert found.alarms.at_most_per_day == pytest.approx(alarms["at_most_per_day"])


def as_the_trainer_hears(active: Active, path: Path, schema: FeatureSchema) -> dict[int, tuple[str, bool]]:
    """All windows of a recording, labelled or not, by their ends: extracted, answered and listened to at once."""
    episode, manifest = read_episode(path), active.bundle.manifest
    ends = window_ends(episode.manifest.started_wall_ns, episode.manifest.ended_wall_ns, schema)
    windows = Extractor(schema).extract(columns_of_episode(episode, schema), ends)
    tensor = windows.tensor[:, active.channels]
    x = summarise(tensor, schema) if manifest.view == "summary" else tensor
    believed = scores.calibrated(active.runtime.predict_many(x), manifest.temperature)
    names = np.full(len(ends), path.name, object)
    ids = Samples(
        np.empty((len(ends), 0), np.float32), np.zeros(len(ends), np.int64), (), np.ones(len(ends), np.float32),
        ends - schema.window_ns // 2, *(names,) * 4,
    )  # fmt: skip
    view = np.array([channel.source != "netflow" for channel in schema.channels])[active.channels]
    blind = np.isnan(tensor[:, view]).all(axis=(1, 2))
    heard = listen(ids, believed, scores.choices(believed), manifest.filter, PHASES, schema, blind)
    return {int(end): (PHASES[heard.phase[i]], bool(heard.raised[i])) for i, end in enumerate(ends)}


@pytest.mark.parametrize("name", NAMES)
def test_agent_and_trainer_say_the_same_phase_and_alarm_of_the_same_windows(
    built: Build, held_out_store: Path, schema: FeatureSchema, tmp_path: Path, name: str
) -> None:
    active = activate(built.bundle(name), schema, built.trust)
    for path in find_episodes(held_out_store):
        with opened(tmp_path / f"{path.name}.db") as box:
            agent = Agent(Fixed(active), schema, node="n", outbox=box, health=Health())
            replay(agent, read_episode(path), schema, None)
            messages = box.pending(100_000)
        windows = [json.loads(one.payload)["data"] for one in messages if one.topic.endswith("/window")]
        assert len(windows) > 10
        expected = as_the_trainer_hears(active, path, schema)
        assert {w["end_wall_ns"]: (w["phase"], w["alarm"]) for w in windows} == expected


def test_recordings_that_it_was_trained_on_are_refused_under_any_name(built: Build, tmp_path: Path) -> None:
    bundle = read_bundle(built.bundle("gbt-realistic"), schema=None, trust=built.trust)
    learned = read_learned(bundle)
    paths = {path.name: path for path in find_episodes(built.store)}
    of_rows = next(paths[name] for name in learned.episodes if name in paths)
    disguised = tmp_path / "store" / "other-host" / "another-name"
    shutil.copytree(of_rows, disguised)
    rename(disguised, episode_id="another-name", host_id="other-host", guest_id="g9")
    edit_lines(disguised, "proc", lambda lines: [line for i, line in enumerate(lines) if i % 23])
    with pytest.raises(Exception, match=rf"1 of 1 recordings that {bundle.manifest.name} was trained on: ") as refused:
        judged(built, "gbt-realistic", tmp_path / "store", tmp_path / "set", degraded=True)
    assert f"other-host/another-name (as {of_rows.name})" in str(refused.value)
    assert "judge them all the same with --include-learned" in str(refused.value)
    found = judged(built, "gbt-realistic", tmp_path / "store", tmp_path / "set", degraded=True, learned_too=True)
    assert found.learned == ["other-host/another-name"]
    assert any("so this is too good" in value for _, value in in_words(found))


def test_an_older_bundle_that_does_not_say_what_it_learned_from_is_judged_by_nothing() -> None:
    assert already_learned(Learned(episodes={}), []) == {}


def test_judge_prints_json_for_programs_and_lines_for_people(
    built: Build, held_out_store: Path, capsys: pytest.CaptureFixture[str], signing_key: Path
) -> None:
    asked = ["judge", str(built.bundle("gbt-realistic")), str(held_out_store), "--trust", str(signing_key.parent)]
    assert main([*asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["windows"] == sum(map(sum, found["confusion"]))
    assert main(asked) == 0
    said = capsys.readouterr().out
    for word in ("macro F1", "false alarms", "infections", "confusion", "unfamiliar"):
        assert f"\n{word}" in said
    assert f"{found['alarms']['onsets'] - found['alarms']['missed']} of {found['alarms']['onsets']} found" in said


def test_judge_refuses_a_bundle_that_nobody_vouches_for(
    built: Build, held_out_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nobody").mkdir()
    asked = ["judge", str(built.bundle("gbt-realistic")), str(held_out_store), "--trust", str(tmp_path / "nobody")]
    assert main(asked) == 2
    assert "put the maker's .pub file there" in capsys.readouterr().err
