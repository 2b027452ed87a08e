"""What changed between two bundles: scores in pairs, over the held-out episodes that both were judged on; and facts."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from contracts.bundle.archive import Bundle
from contracts.errors import BundleError
from contracts.events.payloads import Interval
from edge import scores
from trainer.bundle.held_out import MEMBER, read_held_out

_SEED = 0


class Change(msgspec.Struct, kw_only=True):
    """One fact that is not the same. None: there is none."""

    what: str
    first: str | None
    second: str | None


class Difference(msgspec.Struct, kw_only=True):
    """Of two bundles. Differences: second less first, paired by episode; alone: episodes that only one was judged on.

    per_class: second's F1 less first's; untested_classes: those without a true window, of which it says nothing.
    """

    first: str
    second: str
    episodes: int
    windows: int
    alone: tuple[int, int]
    macro_f1: tuple[Interval, Interval]
    difference: Interval
    per_class: dict[str, float]
    untested_classes: list[str]
    changes: list[Change]


def differ(first: Bundle, second: Bundle) -> Difference:
    """Raises `BundleError` where the two share no held-out window."""
    one, other = (read_held_out(bundle.members.get(MEMBER), bundle.path) for bundle in (first, second))
    common = sorted(one.episodes.keys() & other.episodes.keys())
    if not common or one.classes != other.classes:
        raise BundleError(
            second.path,
            f"no episode in common with {first.manifest.name}" if not common else "other classes",
            expected="both judged on the same held-out windows",
            remedy="build both on the same store, with the same split",
        )
    confusions = one.confusions(common), other.confusions(common)
    _require_same_windows(confusions[0], confusions[1], common, first, second)
    totals = [some.sum(axis=0) for some in confusions]
    f1 = [scores.by_class(total, one.classes) for total in totals]
    return Difference(
        first=first.manifest.name,
        second=second.manifest.name,
        episodes=len(common),
        windows=int(totals[0].sum()),
        alone=(len(one.episodes) - len(common), len(other.episodes) - len(common)),
        macro_f1=(scores.f1_interval(confusions[0], seed=_SEED), scores.f1_interval(confusions[1], seed=_SEED)),
        difference=scores.paired_interval(confusions[1], confusions[0], seed=_SEED),
        per_class={name: f1[1][name] - f1[0][name] for name in one.classes if name in f1[0] and name in f1[1]},
        untested_classes=scores.untested(totals[0], one.classes),
        changes=list(_changes(first, second)),
    )


def _require_same_windows(
    one: scores.Ints, other: scores.Ints, episodes: list[str], first: Bundle, second: Bundle
) -> None:
    """As many windows of each true class in every episode: of others no pairs can be made."""
    unlike = [name for name, a, b in zip(episodes, one, other, strict=True) if (a.sum(axis=1) != b.sum(axis=1)).any()]
    if unlike:
        raise BundleError(
            second.path,
            f"other windows of {unlike[0]} than {first.manifest.name}",
            expected="both judged on the same held-out windows",
            remedy="build both with the same feature schema and labels",
        )


def _changes(first: Bundle, second: Bundle) -> Iterator[Change]:
    """Facts of the manifests, the sizes of what runs, and versions, where they differ."""
    facts = [_facts(bundle) for bundle in (first, second)]
    for name in dict.fromkeys([*facts[0], *facts[1]]):
        values = facts[0].get(name), facts[1].get(name)
        if values[0] != values[1]:
            yield Change(what=name, first=values[0], second=values[1])


def _facts(bundle: Bundle) -> dict[str, str]:
    manifest = bundle.manifest
    sizes = {f"size of {one.member}": f"{manifest.members[one.member].bytes} bytes" for one in manifest.artifacts}
    return {
        "architecture": manifest.architecture,
        "threat model": manifest.threat_model,
        "form": manifest.form,
        "channels": str(len(manifest.channels)),
        **sizes,
        "temperature": f"{manifest.temperature:g}",
        "abstains below": f"{manifest.abstain_below:g}",
        "alarm rises at": "two in a row" if manifest.filter is None else f"log odds {manifest.filter.raise_at:g}",
        "seed": str(manifest.seed),
        "recipe": manifest.recipe,
        "feature schema": manifest.schema_hash,
        "dataset": manifest.corpus_digest,
        "split": manifest.split_digest,
        "signed by": bundle.key or "nobody that is trusted here",
        **manifest.versions,
    }


def in_words(found: Difference) -> Iterator[str]:
    """For people."""

    yield f"first    {found.first}: macro F1 {found.macro_f1[0].shown()}"
    yield f"second   {found.second}: macro F1 {found.macro_f1[1].shown()}"
    yield f"second less first, paired: {found.difference.shown('+.3f')} ({_judgement(found.difference)})"
    yield f"on {found.windows} windows of {found.episodes} held-out episodes that both were judged on"
    if any(found.alone):
        yield f"left out: {found.alone[0]} of the first's episodes, {found.alone[1]} of the second's"
    yield "per class " + ", ".join(f"{name} {f1:+.2f}" for name, f1 in found.per_class.items())
    if found.untested_classes:
        yield f"classes that were never tested: {', '.join(found.untested_classes)}"
    for change in found.changes:
        yield f"{change.what}: {change.first or 'none'} -> {change.second or 'none'}"


def _judgement(difference: Interval) -> str:
    if difference.low is None or difference.high is None:
        return "too few episodes to say"
    if difference.low > 0:
        return "better"
    return "worse" if difference.high < 0 else "no difference can be shown"
