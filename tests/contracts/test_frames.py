"""Compressed files are read whatever their frames are like, and what cannot be read says why."""

from __future__ import annotations

import struct
import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import BoundError, TornError
from contracts.telemetry import zstd as expansion
from contracts.telemetry.lines import row_batches
from contracts.telemetry.zstd import PIECE, compress, expanded
from tests.recordings import ONE, expand

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

NAME = Path("qmp.jsonl.zst")
QMP = expand((ONE / "qmp.jsonl.zst").read_bytes(), NAME)
ROWS = QMP.splitlines(keepends=True)


def skippable(size: int, kind: int = 14) -> bytes:
    """A frame that decoders read over, such as the index at the end of a seekable file."""
    return struct.pack("<II", 0x184D2A50 + kind, size) + b"\xff" * size


def frame(data: bytes, *, checksum: bool = True, window_log: int = 0, dictionary: zstd.ZstdDict | None = None) -> bytes:
    parameter = zstd.CompressionParameter
    options: dict[int, int] = {parameter.checksum_flag: int(checksum)}
    if window_log:
        options |= {parameter.window_log: window_log, parameter.enable_long_distance_matching: 1}
    compressor = zstd.ZstdCompressor(options=options, zstd_dict=dictionary)
    return bytes(compressor.compress(data) + compressor.flush())


frames = st.one_of(
    st.builds(
        lambda at, size, checksum: (ROWS[at][:size], frame(ROWS[at][:size], checksum=checksum)),
        st.integers(0, len(ROWS) - 1), st.integers(0, 400), st.booleans(),
    ),
    st.builds(lambda size, checksum: (b"\n" * size, frame(b"\n" * size, checksum=checksum)),
              st.integers(0, 5000), st.booleans()),
    st.builds(lambda data: (data, frame(data)), st.binary(max_size=3000)),
    st.builds(lambda size, kind: (b"", skippable(size, kind)), st.integers(0, 300), st.integers(0, 15)),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(frames, max_size=12), st.integers(1, 700), st.integers(1, 3000))
def test_frames_one_after_the_other_are_one_file_however_they_are_cut(
    some: list[tuple[bytes, bytes]], cut: int, piece: int
) -> None:
    """The reference expands each frame whole."""
    stored = b"".join(one for _, one in some)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expansion, "SLICE", cut)
        patch.setattr(expansion, "PIECE", piece)
        pieces = list(expanded(stored, NAME))
    assert b"".join(pieces) == b"".join(text for text, _ in some)
    assert all(len(one) == piece for one in pieces[:-1])


def test_a_frame_for_every_row_is_read() -> None:
    stored = b"".join(map(frame, ROWS * 8))
    assert expand(stored, NAME) == QMP * 8


def test_a_frame_for_every_second_of_a_day_is_read_in_whole_pieces_with_an_index_at_its_end() -> None:
    """As a recorder flushes that may lose its power: two rows in a frame."""
    stored = frame(b"".join(ROWS[:2])) * 86_400 + skippable(86_400 * 8 + 9)
    pieces = list(expanded(stored, NAME))
    assert {len(one) for one in pieces[:-1]} == {PIECE}
    assert sum(map(len, pieces)) == 86_400 * len(b"".join(ROWS[:2]))
    assert sum(len(batch) for batch in row_batches(stored, "qmp", NAME)) == 2 * 86_400


@pytest.mark.parametrize("empty", [compress(b""), skippable(0), compress(b"\n")], ids=["empty", "skippable", "a byte"])
def test_frames_without_rows_are_refused_when_they_are_many(empty: bytes) -> None:
    assert len(expand(empty * 60, NAME)) <= 60
    found = r"6[5-7] zstd frames in \d+ bytes of rows; expected a row in a frame at least; compress it again"
    with pytest.raises(BoundError, match=rf"^qmp\.jsonl\.zst: {found}"):
        expand(empty * 1_000_000, NAME)


def test_many_frames_take_no_more_memory_than_one() -> None:
    stored = frame(b"".join(ROWS[:4])) * 20_000
    tracemalloc.start()
    for _ in expanded(stored, NAME):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * PIECE


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 200))
def test_many_frames_that_end_early_are_torn(cut: int) -> None:
    stored = frame(QMP[:3000]) + skippable(100) + frame(QMP[3000:6000])
    whole = frame(QMP[:3000])
    with pytest.raises(TornError, match=r"ends in the middle of a zstd frame after \d+ bytes of rows"):
        expand(stored[:-cut], NAME)
    with pytest.raises(TornError, match="ends in the middle of a zstd frame after 3000 bytes of rows"):
        expand(whole + skippable(200)[:-cut], NAME)


@pytest.mark.parametrize(
    ("stored", "kind", "message"),
    [
        (b"hello", TornError, r"not zstd \(.*\); expected a whole zstd file; copy it again"),
        (
            compress(ROWS[0]) + b"and more",
            TornError,
            r"not zstd after \d{3} bytes of rows \(.*\); expected a whole zstd file",
        ),
        (
            compress(QMP)[:-1] + b"\x00",
            TornError,
            r"damaged zstd \(.*checksum\); expected a whole zstd file; copy it again",
        ),
        (
            frame(ROWS[0], dictionary=zstd.train_dict(ROWS, 4000)),
            TornError,
            r"zstd with a dictionary; expected zstd without; compress it again, without a dictionary",
        ),
        (
            frame(QMP, window_log=31),
            BoundError,
            r"zstd with a window of 2048 MiB; expected 128 MiB at most; compress it again, without --long",
        ),
        (
            frame(ROWS[0]) + frame(QMP, window_log=28),
            BoundError,
            r"zstd with a window of 256 MiB; expected 128 MiB at most",
        ),
        (
            bytes.fromhex("28b52ffda0") + struct.pack("<I", 200 << 20) + b"\x01\x00\x00",
            BoundError,
            r"zstd with a window of 200 MiB; expected 128 MiB at most",
        ),
    ],
    ids=["no zstd", "something after it", "damaged", "dictionary", "window", "second frame's window", "one segment"],
)
def test_what_cannot_be_expanded_says_what_it_is(stored: bytes, kind: type[TornError], message: str) -> None:
    with pytest.raises(kind, match=rf"^qmp\.jsonl\.zst: {message}") as refusal:
        expand(stored, NAME)
    assert type(refusal.value) is kind


def test_a_window_at_its_bound_is_read() -> None:
    assert expand(frame(QMP, window_log=27), NAME) == QMP
