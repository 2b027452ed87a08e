"""A bundle on recordings that came after it, through the edge's own runtime and alarm.

Whatever was extracted, decided and raised here is what an agent extracts, decides and raises. Recordings that it was
trained on are refused: they say nothing of how good it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from contracts.bundle.archive import Bundle, document, read_bundle
from contracts.bundle.keys import TrustedKeys
from contracts.errors import ConfigError, SchemaMismatchError
from contracts.events.payloads import Interval
from contracts.features.schema import FeatureSchema
from edge import scores
from edge.familiar import UNFAMILIAR, nearest, p_values, standardised
from edge.model.opened import Active, activate
from trainer.bundle.learned import already_learned, read_learned
from trainer.dataset.dataset import Dataset
from trainer.dataset.side import Side, side_of
from trainer.evaluate.alarms import alarms
from trainer.evaluate.breakdown import by_group, per_class
from trainer.evaluate.familiarity import flag_rate, levels_of
from trainer.evaluate.figures import Alarms, Group
from trainer.evaluate.listening import listen, sure_of
from trainer.evaluate.observed import blind_windows
from trainer.evaluate.resampled import Resampled
from trainer.extraction.extract import Extraction, extract_store
from trainer.sweep.catalogue import read_index
from trainer.workers.engine import Engine
from trainer.workers.progress import say

_SEED = 0
_SHOWN = 3


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle did. All intervals are 95 %, by episode.

    macro_f1: of each window's most probable class; filtered_macro_f1: of the phases that its filter makes of them, None
    without one; unfamiliar: the share of windows that are flagged, None where the bundle cannot say; learned: episodes
    that it learned from and that were let in all the same; card_macro_f1: what its scorecard says of its held-out side.
    """

    bundle: str
    digest: str
    runtime: str
    key: str | None
    episodes: int
    windows: int
    hosts: list[str]
    macro_f1: Interval
    filtered_macro_f1: Interval | None
    card_macro_f1: Interval
    per_class: dict[str, Interval]
    per_host: dict[str, Group]
    per_profile: dict[str, Group]
    labels: list[str]
    confusion: list[list[int]]
    undecided: float
    alarms: Alarms
    filtered: bool
    unfamiliar: Interval | None
    learned: list[str]


def judge_bundle(
    path: Path,
    store: Path,
    out: Path,
    engine: Engine,
    *,
    trust: TrustedKeys | None,
    allow_unsigned: bool = False,
    learned_too: bool = False,
    degraded: bool = False,
) -> Judged:
    """out: where the dataset goes. Raises `BundleError` and its kin, `ConfigError` for recordings that were learned
    from, and what an extraction raises."""
    read = read_bundle(path, schema=None, trust=None, allow_unsigned=True)
    schema = _schema_of(read)
    active = activate(path, schema, trust, allow_unsigned=allow_unsigned)
    dataset = extract_store(Extraction(store=store, out=out, schema=schema, degraded=degraded), engine)
    ids = {str(name) for name in dataset.load_ids().episode_id}
    findings = [one for one in read_index(out / "index.parquet") if one.episode_id in ids]
    known = already_learned(read_learned(read), findings)
    if known and not learned_too:
        shown = ", ".join(f"{name} (as {twin})" for name, twin in sorted(known.items())[:_SHOWN])
        raise ConfigError(
            store,
            f"{len(known)} of {len(ids)} recordings that {active.ref.name} was trained on: {shown}"
            + (", …" if len(known) > _SHOWN else ""),
            expected="recordings that came after it",
            remedy="take them out of the store, or judge them all the same with --include-learned",
        )
    say(f"judge: {active.ref.name} in {active.ref.runtime} on {len(dataset)} windows of {len(ids)} episodes")
    return _judged(active, dataset, sorted(known))


def _schema_of(bundle: Bundle) -> FeatureSchema:
    """The one that a bundle was made for."""
    found = document(bundle, "schema.json", FeatureSchema)
    if found.hash != bundle.manifest.schema_hash:
        raise SchemaMismatchError(
            f"{bundle.path}:schema.json",
            f"feature schema {found.hash[:12]}…",
            expected=f"{bundle.manifest.schema_hash[:12]}…, as its manifest says",
            remedy="build the bundle again",
        )
    return found


def _judged(active: Active, dataset: Dataset, learned: list[str]) -> Judged:
    manifest, ids = active.bundle.manifest, dataset.load_ids()
    side = side_of(dataset, manifest.view, manifest.channels, {str(name) for name in ids.episode_id})
    said = np.concatenate([active.runtime.predict_many(x) for x in side.parts()])
    believed = scores.calibrated(said, manifest.temperature)
    decided, blind = scores.choices(believed), blind_windows(side, manifest.channels)
    sure = sure_of(believed, manifest.abstain_below, blind)
    heard = listen(side.ids, believed, sure, manifest.filter, dataset.classes, dataset.schema, blind)
    resampled, k = Resampled(side.ids.episode_id, _SEED), len(dataset.classes)
    confusions = resampled.confusions(side.y, decided, k)
    total = confusions.sum(axis=0)
    filtered = manifest.filter is not None
    return Judged(
        bundle=active.ref.name,
        digest=active.ref.digest,
        runtime=active.ref.runtime,
        key=active.ref.key,
        episodes=resampled.episodes,
        windows=len(side),
        hosts=sorted({str(host) for host in side.ids.host_id}),
        macro_f1=resampled.interval(confusions, scores.macro_f1),
        filtered_macro_f1=resampled.macro_f1(side.y, heard.phase, k) if filtered else None,
        card_macro_f1=active.scorecard.macro_f1,
        per_class=per_class(confusions, dataset.classes, resampled),
        per_host=by_group(side.ids.host_id, side.ids, decided, k, resampled),
        per_profile=by_group(side.ids.profile, side.ids, decided, k, resampled),
        labels=list(scores.seen(total, dataset.classes)),
        confusion=scores.seen_part(total),
        undecided=float(np.mean(sure < 0)),
        alarms=alarms(side.ids, heard.raised, dataset.classes, dataset.schema, resampled),
        filtered=filtered,
        unfamiliar=_unfamiliar(active, side, resampled),
        learned=learned,
    )


def _unfamiliar(active: Active, side: Side, resampled: Resampled) -> Interval | None:
    known = active.familiar
    if known is None:
        return None
    levels = levels_of(side, len(active.bundle.manifest.channels))
    distance, _ = nearest(standardised(levels, *known.scale), known.centres)
    flags = p_values(distance, known.distances) < UNFAMILIAR
    return flag_rate(flags, np.ones(len(side), np.bool_), resampled)


def in_words(found: Judged) -> Iterator[tuple[str, str]]:
    """Name and value, line by line."""
    alarm, card = found.alarms, found.card_macro_f1
    yield "bundle", f"{found.bundle}, in {found.runtime}, signed by {found.key or 'NOBODY that is trusted here'}"
    yield "judged on", f"{found.windows} windows of {found.episodes} episodes on {', '.join(found.hosts)}"
    if found.learned:
        yield "LEARNED FROM", f"{len(found.learned)} of them, so this is too good: {', '.join(found.learned[:_SHOWN])}"
    yield "macro F1", f"{found.macro_f1.shown()}; on its own held-out side {card.shown()}"
    if found.filtered_macro_f1 is not None:
        yield "", f"{found.filtered_macro_f1.shown()} of the filtered phases"
    daily, most = alarm.false_alarms_per_day, alarm.at_most_per_day
    if daily is None or most is None:
        yield "false alarms", "not counted: no clean window"
    else:
        minutes = f"{alarm.false_alarms} in {alarm.clean_hours * 60:.0f} clean minutes"
        yield "false alarms", f"{daily.shown('.1f')} a clean day, at most {most:.0f} ({minutes})"
    yield (
        "infections",
        f"{alarm.onsets - alarm.missed} of {alarm.onsets} found"
        + (f", median delay {alarm.median_delay_s.shown('.0f')} s" if alarm.median_delay_s is not None else ""),
    )
    for name, one in alarm.per_profile.items():
        delay = f", median delay {one.median_delay_s:.0f} s" if one.median_delay_s is not None else ""
        finds = f"{one.onsets - one.missed} of {one.onsets} found{delay}; " if one.onsets else ""
        yield f"  {name}", f"{finds}{one.false_alarms} false in {one.clean_hours * 60:.0f} clean minutes"
    if not found.filtered:
        yield "", "by the old rule: this bundle has no filter"
    yield "per class", ", ".join(f"{name} {one.value:.2f}" for name, one in found.per_class.items())
    yield "undecided", f"{found.undecided:.1%} of the windows"
    if found.unfamiliar is not None:
        yield "unfamiliar", f"{found.unfamiliar.value:.1%} of the windows, where 1 % would be expected"
    width = max(map(len, found.labels), default=0)
    yield "confusion", f"{'':{width}} " + " ".join(f"{name[:9]:>9}" for name in found.labels)
    for name, row in zip(found.labels, found.confusion, strict=True):
        yield "", f"{name:{width}} " + " ".join(f"{count:>9}" for count in row)
