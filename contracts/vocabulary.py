"""The words for behaviour: phases (the classes), the lab's profiles, and the threat models."""

from __future__ import annotations

from typing import Literal, get_args

Phase = Literal["clean", "armed", "infecting", "infected_running", "dormant"]
PHASES: tuple[Phase, ...] = get_args(Phase)
"""The classes, in the order in which an infection goes through them. A label is an index into this tuple."""

CLEAN: Phase = "clean"
INFECTED: frozenset[Phase] = frozenset({"infecting", "infected_running", "dormant"})
"""What an alarm is for. `armed` is neither: something was delivered, and nothing has happened yet."""

PROFILES: tuple[str, ...] = ("cpu-saturate", "io-walk", "bursty-c2", "scan-and-dial", "low-and-slow", "bulk-upload")
"""The families of behaviour in the lab's recordings. A recording may name another: models predict phases only."""

Source = Literal["proc", "qmp", "guest", "netflow"]
SOURCES: tuple[Source, ...] = get_args(Source)
"""Where a row came from."""

Doubt = Literal["clock", "silent", "doubled"]
"""Why a source is not believed. clock: its records cannot be of this time. silent, doubled: flow records hold far
fewer, or far more, packets than the tap counted."""

MARK = "mark"
"""The last level of the topics by which recordings are labelled (docs/recording.md): what comes there is no event."""

ThreatModel = Literal["realistic", "oracle"]
THREAT_MODELS: tuple[ThreatModel, ...] = get_args(ThreatModel)
"""`realistic` sees what the host sees; `oracle` also believes what the guest says of itself."""


def sources_of(threat_model: ThreatModel) -> tuple[Source, ...]:
    """The sources that a threat model may look at, in the order of `SOURCES`."""
    return SOURCES if threat_model == "oracle" else tuple(source for source in SOURCES if source != "guest")
