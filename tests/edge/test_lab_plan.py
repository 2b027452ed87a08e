"""A recipe and a seed make one plan, in which the time says nothing of the phase; bad recipes are refused in a line."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import ConfigError
from contracts.vocabulary import PHASES, PROFILES
from edge.lab.behaviours import RANGES, variant
from edge.lab.plan import EVERYDAY, Planned, plan
from edge.lab.recipe import read_recipe
from edge.lab.worker import LINE

RECIPE = Path(__file__).parents[2] / "firmware-config" / "lab" / "corpus.toml"
BUNDLED = "9421ed47bca7cc704f4b42a3312dd3b270aa8882cc3dcb792306cb62b23cd532"
"""Over the digests of the plan by which tests/corpus was recorded: whoever changes what a recipe and a seed make raises
`edge.lab.plan.VERSION`, and records anew."""


def planned(seed: int = 1) -> list[Planned]:
    return plan(read_recipe(RECIPE), seed)


def test_plan_is_the_same_for_the_same_recipe_and_seed() -> None:
    assert hashlib.sha256("".join(one.digest for one in planned()).encode()).hexdigest() == BUNDLED
    assert {one.digest for one in planned(2)}.isdisjoint(one.digest for one in planned(1))


def test_plan_of_fewer_episodes_is_the_beginning_of_a_longer_one() -> None:
    import msgspec

    recipe = read_recipe(RECIPE)
    assert plan(msgspec.structs.replace(recipe, episodes=20), 1) == planned()[:20]


@given(seed=st.integers(0, 2**40))
@settings(max_examples=10, deadline=None)
def test_plan_holds_together_whatever_the_seed(seed: int) -> None:
    recipe = read_recipe(RECIPE)
    for one in planned(seed):
        at = [mark.at_ms for mark in one.marks]
        assert at[0] == 0
        assert at == sorted(set(at))
        assert at[-1] < one.length_ms
        for before, after in itertools.pairwise(one.marks):
            assert after.phase in recipe.phases[before.phase].next
            low, high = recipe.phases[before.phase].seconds
            if before.at_ms > 0:  # the first may have begun before the episode
                assert low * 1000 - 1 <= after.at_ms - before.at_ms <= high * 1000 + 1
        times = [order.at_ms for order in one.orders]
        assert times == sorted(times)
        assert -one.settle_ms <= times[0]
        assert times[-1] < one.length_ms
        live: set[str] = set()
        for order in one.orders:
            assert len(order.line) < LINE
            verb, name, *_ = order.line.split()
            assert (name in live) == (verb == "stop")
            (live.add if verb == "start" else live.remove)(name)
            assert len(live) <= 64
        assert (one.profile == EVERYDAY) == ({mark.phase for mark in one.marks} == {"clean"}) or one.profile != EVERYDAY
        assert len({*one.ports.tcp, *one.ports.udp}) >= 8


def test_plan_gives_every_host_its_profiles_its_clean_episodes_and_its_own_variants() -> None:
    by_host: dict[str, Counter[str]] = {}
    samples: dict[tuple[str, str], set[str]] = {}
    for one in planned():
        by_host.setdefault(one.host.id, Counter())[one.profile] += 1
        samples.setdefault((one.profile, one.sample_name), set()).add(one.host.id)
    assert len(by_host) == 6
    for counts in by_host.values():
        assert set(counts) == {*PROFILES, EVERYDAY}
        assert counts[EVERYDAY] in (5, 6)
    rare = [hosts for (profile, sample), hosts in samples.items() if profile != EVERYDAY and int(sample[1:]) > 4]
    assert all(len(hosts) == 1 for hosts in rare)
    assert set().union(*rare) == {"pc-1", "pc-2", "micro-1", "arm-1"}


def test_time_since_the_start_says_nothing_of_the_phase() -> None:
    """In a thousand infected episodes the shares of the phases are the same early and late."""
    early, late = (Counter[str]() for _ in range(2))
    for one in itertools.chain.from_iterable(planned(seed) for seed in range(16)):
        if one.profile != EVERYDAY:
            for when, counter in ((5_000, early), (140_000, late)):
                counter[[mark.phase for mark in one.marks if mark.at_ms <= when][-1]] += 1
    total = early.total()
    assert total > 1000
    for phase in PHASES:
        share, other = early[phase] / total, late[phase] / total
        spread = 4 * np.sqrt(2 * share * (1 - share) / total)  # four standard deviations of their difference
        assert abs(share - other) < spread, (phase, share, other)


def test_variant_is_the_same_wherever_it_occurs_and_lies_in_its_ranges() -> None:
    for profile in PROFILES:
        drawn = [variant(profile, f"s{i:02d}") for i in range(1, 9)]
        assert drawn[0] == variant(profile, "s01")
        assert len({tuple(one.values()) for one in drawn}) == 8
        for one in drawn:
            assert all(round(max(1, low)) <= one[name] <= round(high) for name, (low, high) in RANGES[profile].items())


def test_walk_goes_every_way_that_the_recipe_allows() -> None:
    recipe = read_recipe(RECIPE)
    seen = {
        (before.phase, after.phase)
        for seed in range(6)
        for one in planned(seed)
        for before, after in itertools.pairwise(one.marks)
    }
    assert seen == {(phase, next) for phase, table in recipe.phases.items() for next in table.next}


@pytest.mark.parametrize(
    ("old", "new", "refusal"),
    [
        ("episodes = 102", "episods = 102", r"corpus\.toml:\d+: unknown key `episods`.*did you mean `episodes`\?"),
        ("episodes = 102", "", r"no `episodes`.*say episodes = …"),
        ("cores = 0.5", "core = 0.5", r"corpus\.toml:\d+: unknown key `core`.*did you mean `cores`\?"),
        ('machine = "virt"', 'machine = "sun"', r"corpus\.toml:\d+: `machine`: Invalid enum value 'sun'"),
        ("[phases.dormant]", "[phases.asleep]", r"after `infecting` comes `dormant`|no phase `asleep`"),
        ("infecting = 0.3 }", "infected = 0.3 }", r"after `clean` comes `infected`.*one of armed, infecting"),
        ("seconds = [10, 200]", "seconds = [3, 200]", r"`seconds`: from 3 to 200, and it must lie between 10 and"),
        ("seconds = [10, 200]", "seconds = [200, 10]", r"`seconds`: from 200 to 10"),
        ("minutes = [2.5, 7.0]", "minutes = [0.1, 7.0]", r"`minutes`: from 0\.1 to 7"),
        ("cores = 0.5", "cores = 2.5", r"2\.5 cores for 1 CPU"),
        ('id = "pc-2"', 'id = "pc-1"', r"corpus\.toml:\d+: host `pc-1` is there twice"),
        ("everyday = 0.35", "everyday = 1.5", r"`everyday`: Expected `float` <= 1\.0"),
        ("episodes = 102", "episodes = [", r"no TOML"),
    ],
)
def test_bad_recipe_is_refused_in_one_line(tmp_path: Path, old: str, new: str, refusal: str) -> None:
    text = RECIPE.read_text()
    assert old in text
    path = tmp_path / "corpus.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError) as raised:
        read_recipe(path)
    said = str(raised.value)
    assert re.search(refusal, said), said
    assert "\n" not in said
