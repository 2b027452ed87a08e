"""The windows that an agent tells of a recording."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from contracts.bundle.keys import load_trusted_keys
from contracts.features.schema import FeatureSchema
from contracts.telemetry.episode import Episode
from edge.deliver.outbox import opened
from edge.feeds.replay import replay
from edge.model.models import Fixed
from edge.model.opened import activate
from edge.watch.agent import Agent
from edge.watch.health import Health


def windows_of(bundle: Path, schema: FeatureSchema, episode: Episode, key: Path, outbox: Path) -> list[dict[str, Any]]:
    """In order. key: one that the agent trusts; outbox: a file that is not there yet."""
    active = activate(bundle, schema, load_trusted_keys(key.parent))
    with opened(outbox) as box:
        replay(Agent(Fixed(active), schema, node="n", outbox=box, health=Health()), episode, schema, None)
        messages = box.pending(10_000)
    return [json.loads(m.payload)["data"] for m in messages if m.topic.endswith("/window")]
