"""The 46 channels, and registries of one's own."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from contracts.errors import ConfigError, MissingError
from contracts.features.channels import default_channels, read_channels, view_of
from contracts.features.schema import feature_schema


def test_channels_are_46_with_the_sources_of_the_design() -> None:
    assert Counter(channel.source for channel in default_channels()) == {
        "proc": 16,
        "qmp": 10,
        "guest": 10,
        "netflow": 10,
    }


def test_view_hides_the_guest_from_realistic_alone() -> None:
    channels = default_channels()
    assert len(view_of(channels, "oracle")) == 46
    assert len(view_of(channels, "realistic")) == 36
    assert not [name for name in view_of(channels, "realistic") if name.startswith("guest.")]


def test_no_channel_carries_port_numbers_or_levels_that_creep() -> None:
    for channel in default_channels():
        if channel.field in ("sport", "dport"):
            assert channel.kind == "flow_distinct"
        if channel.field in ("rss_bytes", "mem_free_kb", "slab_kb"):
            assert channel.kind == "change"


def test_read_channels_takes_a_registry_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[[channel]]\nname = "forks"\nsource = "guest"\nkind = "rate"\nfield = "ctxt"\nunit = "/s"\n')
    (channel,) = read_channels(path)
    assert channel.id == "guest.forks"
    assert feature_schema((channel,)).hash != feature_schema().hash


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('kind = "rate"\nfield = "nothing"', "source guest has no field 'nothing'"),
        ('kind = "rate"\nfield = "boot_id"', "kind rate cannot use field 'boot_id'"),
        ('kind = "flow_starts"', "kind flow_starts does not go with source guest"),
        ('kind = "rate"\nfield = "ctxt"\ndivisor = 0', "Expected `int` >= 1"),
        ('kind = "rate"\nfield = "ctxt"\nclip = "window"', "kind rate makes nothing of clip"),
        ('kind = "rate"\nfield = "ctxt"\ndirection = "in"', "kind rate makes nothing of direction"),
        ('kind = "rate"\nfield = "ctxt"\ncolour = "red"', "unknown field `colour`"),
        ('kind = "rate"\nfield = "ctxt"\ndivisor = "2"', "Expected `int`, got `str`"),
    ],
)
def test_read_channels_refuses_what_cannot_be_made(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'[[channel]]\nname = "x"\nsource = "guest"\nunit = "/s"\n{text}\n')
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_channels(path)


def test_read_channels_refuses_a_name_twice_and_an_empty_list(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    one = '[[channel]]\nname = "x"\nsource = "guest"\nkind = "rate"\nfield = "ctxt"\nunit = "/s"\n'
    path.write_text(one + one)
    with pytest.raises(ConfigError, match="its id is there twice"):
        read_channels(path)
    path.write_text("channel = []")
    with pytest.raises(ConfigError, match="no channel; expected at least one"):
        read_channels(path)
    with pytest.raises(MissingError, match="cannot be read"):
        read_channels(tmp_path / "absent.toml")
