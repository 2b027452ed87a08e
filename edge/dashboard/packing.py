"""One window in forty bytes: as JSON a day of fifty guests would be a gigabyte."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple, get_args

from contracts.events.payloads import Flag, WindowData
from contracts.vocabulary import PHASES, SOURCES, Phase

FLAGS: tuple[Flag, ...] = get_args(Flag)
_HEAD = struct.Struct("<BBBB5H4BB")
_TOP = struct.Struct("<Hf")
_NONE, _NOBODY = 255, 15
_ALARM, _CLOCK_SET = 0x80, 0x40


class Shown(NamedTuple):
    """A window, as pages show it. decided: of itself alone; phase: the filter's, None without one; top: channels, by
    their numbers in the history, and how far off each of them was."""

    end_ns: int
    decided: Phase | None
    phase: Phase | None
    truth: Phase | None
    shadow: Phase | None
    alarm: bool
    clock_set: bool
    flags: tuple[Flag, ...]
    probabilities: tuple[float, ...]
    observed: tuple[float | None, ...]
    top: tuple[tuple[int, float], ...]

    @property
    def told(self) -> Phase | None:
        """The phase to show."""
        return self.phase or self.decided


def pack(data: WindowData, number: Callable[[str], int]) -> bytes:
    """number: of a channel's name."""
    bits = sum(1 << FLAGS.index(flag) for flag in set(data.flags))
    bits |= _ALARM * data.alarm | _CLOCK_SET * (data.clock_set is not None)
    # the filter's phase above the window's own; 0 is none, as in the rows of earlier versions
    filtered = 0 if data.phase is None else PHASES.index(data.phase) + 1
    return _HEAD.pack(
        filtered << 4 | (_NOBODY if data.decided is None else PHASES.index(data.decided)),
        _index(data.truth),
        _index(data.shadow.decided if data.shadow else None),
        bits,
        *(round(65535 * data.probabilities.get(phase, 0.0)) for phase in PHASES),
        *(_NONE if (share := data.observed.get(source)) is None else round(254 * share) for source in SOURCES),
        min(len(data.top_channels), 8),
    ) + b"".join(_TOP.pack(number(one.channel), min(max(one.score, -1e30), 1e30)) for one in data.top_channels[:8])


def unpack(end_ns: int, packed: bytes) -> Shown:
    """The reverse."""
    decided, truth, shadow, bits, *rest = _HEAD.unpack_from(packed)
    return Shown(
        end_ns,
        None if decided & 15 == _NOBODY else PHASES[decided & 15],
        PHASES[(decided >> 4) - 1] if 0 < decided >> 4 < _NOBODY else None,
        _phase(truth),
        _phase(shadow),
        bool(bits & _ALARM),
        bool(bits & _CLOCK_SET),
        tuple(flag for i, flag in enumerate(FLAGS) if bits >> i & 1),
        tuple(share / 65535 for share in rest[:5]),
        tuple(None if share == _NONE else share / 254 for share in rest[5:9]),
        tuple(_TOP.unpack_from(packed, _HEAD.size + i * _TOP.size) for i in range(rest[9])),
    )


def _index(phase: Phase | None) -> int:
    return _NONE if phase is None else PHASES.index(phase)


def _phase(index: int) -> Phase | None:
    return None if index == _NONE else PHASES[index]
