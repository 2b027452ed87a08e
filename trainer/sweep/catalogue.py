"""The sweep's index: one Parquet file, one row per episode."""

from __future__ import annotations

import contextlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from contracts.errors import DatasetError, MissingError
from contracts.files import writing
from contracts.vocabulary import SOURCES
from trainer.sweep.checks import SourceFacts
from trainer.sweep.finding import Finding
from trainer.sweep.reasons import VERDICTS, Reason, worst

FORMAT = b"phasewatch index 2"
ACROSS = ("duplicate-copy", "duplicate-id", "duplicate-rows")
"""Reasons that come from other episodes: they are found anew by every sweep."""
_BATCH = 256
_TEXTS = ("path", "host_id", "episode_id", "guest_id", "profile", "sample_name")
_DIGESTS = ("manifest_sha256", "content_sha256", "fingerprint")

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in _TEXTS),
        ("started_wall_ns", pa.int64()),
        ("ended_wall_ns", pa.int64()),
        ("verdict", pa.string()),
        ("reasons", pa.list_(pa.struct([("code", pa.string()), ("source", pa.string()), ("detail", pa.string())]))),
        *((f"rows_{source}", pa.int64()) for source in SOURCES),
        *((f"seconds_{source}", pa.float64()) for source in SOURCES),
        *((f"longest_gap_{source}", pa.float64()) for source in SOURCES),
        ("usable_sources", pa.list_(pa.string())),
        ("stored_bytes", pa.int64()),
        ("windows", pa.int64()),
        *((name, pa.string()) for name in _DIGESTS),
        ("sketch", pa.list_(pa.int64())),
        ("boots", pa.list_(pa.string())),
        ("validator_version", pa.int32()),
    ]
)
"""Columns of the index. A source that could not be read has nulls."""


class Census(msgspec.Struct, kw_only=True):
    """Episodes, counted: verdict -> n, code -> n, host -> verdict -> n, profile -> verdict -> n."""

    complete: bool
    """False: the sweep was stopped, and there are more."""
    episodes: int = 0
    verdicts: dict[str, int] = {}
    reasons: dict[str, int] = {}
    hosts: dict[str, dict[str, int]] = {}
    profiles: dict[str, dict[str, int]] = {}


class Tally:
    """Counts findings as they pass."""

    def __init__(self) -> None:
        self._verdicts, self._reasons = Counter[str](), Counter[str]()
        self._hosts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._profiles: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def passing(self, findings: Iterable[Finding]) -> Iterator[Finding]:
        """The same findings, counted."""
        for finding in findings:
            self._verdicts[finding.verdict] += 1
            self._reasons.update({reason.code for reason in finding.reasons})
            self._hosts[finding.host_id][finding.verdict] += 1
            self._profiles[finding.profile or "(not known)"][finding.verdict] += 1
            yield finding

    def census(self, *, complete: bool) -> Census:
        """What has passed so far."""
        return Census(
            complete=complete,
            episodes=self._verdicts.total(),
            verdicts={verdict: self._verdicts[verdict] for verdict in VERDICTS},
            reasons=dict(sorted(self._reasons.items())),
            hosts={name: dict(self._hosts[name]) for name in sorted(self._hosts)},
            profiles={name: dict(self._profiles[name]) for name in sorted(self._profiles)},
        )


def write_index(path: Path, findings: Iterable[Finding], *, complete: bool) -> None:
    """Write the index, whole or not at all. Raises `StorageError`."""
    metadata = {"format": FORMAT, "complete": str(complete).lower()}
    source = iter(findings)
    with writing(path) as file, pq.ParquetWriter(file, SCHEMA.with_metadata(metadata), compression="zstd") as writer:
        while some := [_row(finding) for finding in islice(source, _BATCH)]:
            writer.write_table(pa.Table.from_pylist(some, SCHEMA))


def read_index(path: Path) -> Iterator[Finding]:
    """The findings of an index, batch by batch. Raises `MissingError`, `DatasetError`."""
    with _opened(path) as file:
        for batch in file.iter_batches(_BATCH):
            for row in batch.to_pylist():
                yield _finding(row)


def is_complete(path: Path) -> bool:
    """Whether the sweep that wrote it came to its end. Raises `MissingError`, `DatasetError`."""
    with _opened(path) as file:
        return bool(file.schema_arrow.metadata[b"complete"] == b"true")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with pa.OSFile(os.fsencode(path)) as stored:  # a name it would read as an address
            file = pq.ParquetFile(stored)
            if (file.schema_arrow.metadata or {}).get(b"format") != FORMAT or file.schema_arrow.names != SCHEMA.names:
                raise DatasetError(
                    path,
                    "another kind of Parquet file",
                    expected="an index",
                    remedy="choose another file, or remove it",
                )
            yield file
    except FileNotFoundError:
        raise MissingError(
            path, "no such file", expected="an index", remedy="make one with `trainer validate STORE`"
        ) from None
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(
            path,
            f"not Parquet ({' '.join(str(error).split())[:80]})",
            expected="an index",
            remedy="choose another file, or remove it",
        ) from None


def _row(finding: Finding) -> dict[str, Any]:
    plain = {*Finding.__struct_fields__, "usable_sources"}
    row = {name: getattr(finding, name) for name in SCHEMA.names if name in plain}
    row["reasons"] = [msgspec.structs.asdict(reason) for reason in finding.reasons]
    for source, facts in finding.sources.items():
        for name in ("rows", "seconds", "longest_gap"):
            row[f"{name}_{source}"] = getattr(facts, name)
    return row


def _finding(row: dict[str, Any]) -> Finding:
    sources = {
        source: SourceFacts(
            row[f"rows_{source}"],
            row[f"seconds_{source}"],
            row[f"longest_gap_{source}"],
            source in row["usable_sources"],
        )
        for source in SOURCES
        if row[f"rows_{source}"] is not None
    }
    names = [name for name in Finding.__struct_fields__ if name not in ("sources", "reasons")]
    return Finding(
        **{name: row[name] for name in names}, reasons=[Reason(**some) for some in row["reasons"]], sources=sources
    )


def with_reason(finding: Finding, reason: Reason) -> Finding:
    """A finding with one more reason."""
    reasons = [*finding.reasons, reason]
    return msgspec.structs.replace(finding, reasons=reasons, verdict=worst(reasons))


def by_itself(finding: Finding) -> Finding:
    """A finding without what other episodes have to do with it."""
    reasons = [reason for reason in finding.reasons if reason.code not in ACROSS]
    return msgspec.structs.replace(finding, reasons=reasons, verdict=worst(reasons))
