"""Rows of stored files, for the trainer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trainer.sweep.stored_rows import count


@given(st.binary(), st.integers(0, 255))
def test_count_counts_as_bytes_do(text: bytes, byte: int) -> None:
    assert count(text, byte) == text.count(byte)
