"""Live guests for a dashboard: windows of now, by a real agent's outbox and publisher."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from contracts.events.envelope import EVENT_KINDS, encode_event, make_event
from contracts.events.payloads import BundleRef, EpisodeData, TopChannel, WindowData
from contracts.shell.broker import parse_broker
from contracts.vocabulary import PHASES, Phase
from edge.deliver.outbox import Outbox, opened
from edge.session.delivery import Delivery

BUNDLE = BundleRef(name="gbt-realistic-0123456789ab", digest="0" * 64, runtime="treelite", key="k")
STRIDE_NS = 5_000_000_000
_KINDS = {kind.name: kind for kind in EVENT_KINDS}


def put(outbox: Outbox, node: str, guest: str, data: EpisodeData | WindowData, at_ns: int) -> None:
    event = make_event(data, node=node, guest=guest, t_wall_ns=at_ns, schema_hash="a" * 64)
    kind = "episode" if isinstance(data, EpisodeData) else "window"
    outbox.put(
        source=event.source, event_id=event.id, topic=f"phasewatch/{node}/{guest}/{kind}", qos=1, retain=False,
        payload=encode_event(event), schema="a" * 64,
    )  # fmt: skip


def episode(guest: str, began_ns: int, state: str = "started") -> EpisodeData:
    return EpisodeData(
        state=state, mode="live", host_id="h", guest_id=guest, episode_id=f"{guest}-1", bundle=BUNDLE,  # type: ignore[arg-type] # one of two
        started_wall_ns=began_ns,
    )  # fmt: skip


def window(guest: str, end_ns: int, decided: Phase | None = "clean", *, alarm: bool = False) -> WindowData:
    return WindowData(
        episode_id=f"{guest}-1", bundle=BUNDLE, start_wall_ns=end_ns - 10_000_000_000, end_wall_ns=end_ns,
        probabilities={phase: 0.8 if phase == decided else 0.05 for phase in PHASES}, decided=decided, alarm=alarm,
        truth=None, purity=None, observed={"proc": 1.0, "qmp": 0.5}, flags=[],
        top_channels=[TopChannel(channel="proc.cpu_user", score=0.7)], evidence=f"{guest}-evidence" if alarm else None,
    )  # fmt: skip


def windows(outbox: Outbox, node: str, guest: str, count: int, *, alarmed: int = 0) -> int:
    """As many that end now; the last of them with an alarm. Returns the end of the last."""
    last = time.time_ns() // STRIDE_NS * STRIDE_NS
    put(outbox, node, guest, episode(guest, last - count * STRIDE_NS), last - count * STRIDE_NS)
    for i in range(count):
        end, alarm = last - (count - 1 - i) * STRIDE_NS, i >= count - alarmed
        put(outbox, node, guest, window(guest, end, "infected_running" if alarm else "clean", alarm=alarm), end)
    return last


@contextlib.contextmanager
def live_guest(url: str, folder: Path, node: str, guest: str, count: int, alarmed: int = 5) -> Iterator[Delivery]:
    with opened(folder / f"outbox-{node}") as outbox:
        delivery = Delivery(outbox, parse_broker(url), node, lambda _: None)
        windows(outbox, node, guest, count, alarmed=alarmed)
        assert delivery.wait_empty(60)
        yield delivery
        delivery.hang_up()
