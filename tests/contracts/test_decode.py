"""A document is decoded as its type, or refused in one line that names the fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.bundle import archive
from contracts.decode import decoded, key_twice
from contracts.errors import BundleError, DatasetError, RowError, TornError
from contracts.events.envelope import decode_event
from contracts.features.schema import FeatureSchema
from edge.deploy.deployment import STATE, read_deployment
from tests.bundles import make_bundle

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def read(data: bytes) -> Any:
    return decoded(data, Any, "x.json", DatasetError, expected="a document", remedy="write it again")


@given(VALUES)
def test_a_document_comes_back_as_it_was_written(document: Any) -> None:
    assert read(msgspec.json.encode(document)) == document


@given(VALUES, st.text(max_size=3), VALUES, VALUES)
def test_a_key_twice_is_refused_at_any_depth(around: Any, key: str, one: Any, other: Any) -> None:
    twice = f"{{{json.dumps(key)}: {json.dumps(one)}, {json.dumps(key)}: {json.dumps(other)}}}"
    for text in (twice, f"[{json.dumps(around)}, {twice}]", f'{{"a": {{"b": {twice}}}}}'):
        assert key_twice(text.encode()) == key
        with pytest.raises(DatasetError, match=r"x\.json: `.*` twice; expected each key once; write it again"):
            read(text.encode())


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a": 1} x'])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(DatasetError, match=r"x\.json: .*; expected a document; write it again"):
        read(data)


def test_a_bundle_whose_manifest_says_a_thing_twice_is_refused(
    tmp_path: Path, schema: FeatureSchema, signing_key: Path
) -> None:
    made = make_bundle(tmp_path, schema, signing_key)
    files = archive._unpack(made, made.read_bytes())
    files.pop(archive.SIGNATURE)
    files[archive.MANIFEST] = b'{"architecture": "mlp", ' + files[archive.MANIFEST][1:]
    made.write_bytes(archive._pack(files))
    with pytest.raises(BundleError, match=r"manifest\.json: `architecture` twice; expected each key once"):
        archive.read_bundle(made, schema=schema, trust=None, allow_unsigned=True)


def test_a_deployment_that_says_a_thing_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / STATE).write_text('{"current": null, "current": null}')
    with pytest.raises(TornError, match=r"deployment\.json: `current` twice; expected each key once"):
        read_deployment(tmp_path)


def test_an_event_that_says_a_thing_twice_is_refused() -> None:
    with pytest.raises(RowError, match=r"event: `type` twice; expected each key once"):
        decode_event(b'{"type": "phasewatch.perf.v1", "type": "phasewatch.window.v1"}')


@pytest.mark.parametrize("skipped", [b'"\xff"', b'{"\xff\xfe":1}'])
def test_bytes_that_are_no_text_are_refused_where_the_decoder_would_skip_them(skipped: bytes) -> None:
    with pytest.raises(RowError, match="utf-8"):
        decode_event(b'{"type":"phasewatch.perf.v1","of no interest":%s}' % skipped)
