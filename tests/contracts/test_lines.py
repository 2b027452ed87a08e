"""Rows are read piece by piece, and nothing makes the reader take more memory than a piece."""

from __future__ import annotations

import json
import random
import tracemalloc
from base64 import b64encode
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import BoundError, RowError, TornError
from contracts.telemetry import lines as module
from contracts.telemetry import zstd as expansion
from contracts.telemetry.lines import MAX_LINE, row_batches
from contracts.telemetry.rows import ROW_TYPES, LabelRow, QmpRow
from contracts.telemetry.zstd import compress
from tests.recordings import ONE, expand

QMP = expand((ONE / "qmp.jsonl.zst").read_bytes(), ONE)


def read(data: bytes, stem: str = "qmp", name: str = "qmp.jsonl") -> list[object]:
    return [row for batch in row_batches(data, stem, Path(name)) for row in batch]


@settings(max_examples=60, deadline=None)
@given(piece=st.integers(1, 3000), cut=st.integers(0, 60_000), zstd=st.booleans())
def test_rows_are_the_same_however_the_file_is_cut_into_pieces(piece: int, cut: int, zstd: bool) -> None:
    data = QMP[: QMP.rfind(b"\n", 0, cut + 1) + 1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PIECE", piece)
        patch.setattr(expansion, "PIECE", piece)
        found = read(compress(data), name="qmp.jsonl.zst") if zstd else read(data)
    assert found == [msgspec.json.decode(line, type=QmpRow) for line in data.splitlines()]


@pytest.mark.parametrize("piece", [7, 1000, 1 << 20])
@pytest.mark.parametrize("number", [1, 2, 250])
def test_a_bad_row_is_named_by_its_line_however_the_file_is_cut(
    piece: int, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PIECE", piece)
    rows = QMP.splitlines(keepends=True)
    rows[number - 1] = b'{"a":1}\n'
    with pytest.raises(RowError, match=rf"^qmp\.jsonl:{number}: Object contains unknown field `a`"):
        read(b"".join(rows))


def test_the_last_row_may_lack_its_line_break() -> None:
    assert read(QMP.rstrip(b"\n")) == read(QMP)


def test_blank_lines_are_no_rows_and_count_as_lines() -> None:
    first, second, *_ = QMP.splitlines(keepends=True)
    assert len(read(first + b"\n\n" + second)) == 2
    with pytest.raises(RowError, match=r"^qmp\.jsonl:4: "):
        read(first + b"\n\n{}\n")


spellings = st.sampled_from(["compact", "spaced", "escaped", "CRLF"])


def spelled(row: dict[str, Any], how: str, *, twice: str = "") -> bytes:
    """A row as some recorder writes it, if need be with one field twice."""
    if how == "escaped":
        row = {**row, "status": 'say \\ "running"'}
    between = (", ", " : ") if how == "spaced" else (",", ":")
    text = json.dumps(row, separators=between)
    if twice:
        text = text[:-1] + between[0] + json.dumps(twice) + between[1] + "7}"
    if how == "escaped":
        text = text.replace("rd_bytes", "rd\\u005fbytes")
    return text.encode() + (b"\r\n" if how == "CRLF" else b"\n")


@settings(max_examples=60, deadline=None)
@given(st.lists(spellings, min_size=1, max_size=40), st.integers(1, 3000))
def test_rows_are_the_same_however_a_recorder_spells_them(how: list[str], piece: int) -> None:
    rows = [msgspec.json.decode(line) for line in QMP.splitlines()[: len(how)]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PIECE", piece)
        found = read(b"".join(map(spelled, rows, how)))
    texts = {"escaped": 'say \\ "running"'}
    assert found == [
        msgspec.convert({**row, "status": texts.get(one, row["status"])}, QmpRow)
        for row, one in zip(rows, how, strict=True)
    ]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(spellings, min_size=1, max_size=20),
    st.data(),
    st.sampled_from(QmpRow.__struct_fields__),
    st.integers(1, 3000),
    st.booleans(),
)
def test_a_field_that_is_there_twice_is_named_with_its_line(
    how: list[str], data: st.DataObject, field: str, piece: int, zstd: bool
) -> None:
    at = data.draw(st.integers(0, len(how) - 1))
    rows = [msgspec.json.decode(line) for line in QMP.splitlines()[: len(how)]]
    value = rows[at].pop(field)
    rows[at] = {field: value, **rows[at]}
    lines = [spelled(row, one, twice=field * (i == at)) for i, (row, one) in enumerate(zip(rows, how, strict=True))]
    if field == "status":
        lines[at] = lines[at].replace(b"7}", b'"7"}')
    stored, name = (compress(b"".join(lines)), "qmp.jsonl.zst") if zstd else (b"".join(lines), "qmp.jsonl")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PIECE", piece)
        patch.setattr(expansion, "PIECE", piece)
        with pytest.raises(RowError, match=rf"^{name}:{at + 1}: `{field}` twice; expected a row of qmp; record"):
            read(stored, name=name)


@pytest.mark.parametrize("between", [b"", b" ", b"\t\r"])
@pytest.mark.parametrize(
    "hidden",
    [b"", b"\n", b"\n \n\n", b"{\n"],
    ids=["alone", "with a blank line", "with blank lines", "with a row on two lines"],
)
def test_two_rows_on_one_line_are_refused_whatever_else_there_is(between: bytes, hidden: bytes) -> None:
    """What is hidden would make the number of lines right again."""
    rows = QMP.splitlines(keepends=True)
    both = rows[1].strip() + between + rows[2]
    rest = hidden + rows[3].removeprefix(b"{") if hidden.startswith(b"{") else hidden + rows[3]
    with pytest.raises(RowError, match=r"^qmp\.jsonl:2: JSON is malformed: trailing characters"):
        read(rows[0] + both + rest)


def test_a_row_on_two_lines_is_refused() -> None:
    rows = QMP.splitlines(keepends=True)
    with pytest.raises(RowError, match=r"^qmp\.jsonl:2: Input data was truncated"):
        read(rows[0] + rows[1].replace(b",", b",\n", 1) + rows[2])


@pytest.mark.parametrize("row", [*ROW_TYPES.values(), LabelRow])
def test_every_field_of_a_row_is_there_and_is_always_text_or_never(row: type[msgspec.Struct]) -> None:
    """The reader counts quotation marks by this."""
    info = msgspec.inspect.type_info(row)
    assert isinstance(info, msgspec.inspect.StructType)
    text = (msgspec.inspect.StrType, msgspec.inspect.LiteralType)
    for field in info.fields:
        assert field.required
        kinds = field.type.types if isinstance(field.type, msgspec.inspect.UnionType) else (field.type,)
        assert len({isinstance(kind, text) for kind in kinds}) == 1


@pytest.mark.parametrize("length", [MAX_LINE + 1, 3 << 20])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_past_its_bound_is_refused(length: int, end: bytes) -> None:
    with pytest.raises(BoundError, match=r"^qmp\.jsonl:2: over 65536 bytes; expected a row of qmp"):
        read(QMP.splitlines(keepends=True)[0] + b" " * length + end)


def test_a_line_at_its_bound_is_read() -> None:
    row = b'{"t_wall_ns":1,"t_mono_ns":1,"phase":"clean"}'
    padded = row + b" " * (MAX_LINE - len(row)) + b"\n"
    assert read(padded * 3, "labels", "labels.jsonl") == [LabelRow(t_wall_ns=1, t_mono_ns=1, phase="clean")] * 3


def test_a_gigabyte_on_one_line_is_refused_in_a_few_megabytes() -> None:
    """Here 60 MB: just under the bound on the ratio, so that the bound on a line is what stops it."""
    noise = b64encode(random.Random(0).randbytes(150_000))
    data = compress(noise + b" " * (60 << 20))
    assert 300 < (60 << 20) / len(data) < 1000
    tracemalloc.start()
    with pytest.raises(BoundError, match="over 65536 bytes"):
        read(data, name="qmp.jsonl.zst")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


def test_a_bomb_is_refused_before_it_goes_off() -> None:
    data = compress(b"\n" * (100 << 20))
    assert len(data) < 20_000
    tracemalloc.start()
    with pytest.raises(BoundError, match="expands past .* bytes; expected a ratio under 1000"):
        read(data, name="qmp.jsonl.zst")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


@given(st.integers(1, 1000))
def test_a_frame_that_ends_early_is_torn(cut: int) -> None:
    data = compress(QMP)
    with pytest.raises(TornError, match=r"ends in the middle of a zstd frame|not zstd"):
        read(data[: max(1, len(data) - cut)], name="qmp.jsonl.zst")
