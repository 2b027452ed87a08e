"""Everything that Phasewatch refuses, as one tree.

    PhasewatchError                 exit status 2: bad input or wrong use
    ├── MissingError                a file, folder or source that should be there is not
    │   └── UnreadableError         it is there, and cannot be opened: no permission, a link, no regular file
    ├── TornError                   a file that cannot be read to its end: truncated, not zstd
    │   └── BoundError              too large a file, expansion, window or line to be an honest one
    ├── DigestError                 the bytes are not the bytes that were promised
    ├── RowError                    a row or document that breaks its schema
    │   └── CountError              more or fewer rows than were promised
    ├── LabelError                  labels out of order or outside their episode
    ├── ClockError                  the wall clock was wrong, or was set, while it was recorded
    ├── SchemaMismatchError         made for another feature schema than this program speaks
    ├── DatasetError                a dataset, split or checkpoint that cannot be used
    ├── BundleError                 a bundle that is not what it must be
    │   ├── UnsignedError           nobody vouches for it
    │   └── UntrustedKeyError       somebody does, whom this machine does not know
    │       └── RevokedKeyError     ... or knows, and does not trust any more
    ├── ConfigError                 an option or setting that makes no sense
    ├── BusyError                   another process works on the same output
    └── WorkError                   exit status 1: the work was done, and found faults
        ├── DivergedError           a fit whose loss, or a model whose answers, are no numbers
        ├── ParityError             an artifact that does not behave as its model did
        ├── BrokerError             the broker cannot be reached, or refuses
        ├── GuestError              a guest that does not start, or does not answer
        └── StorageError            the disk is full, or will not be written to

Each says, on one line: where, what was found, what was expected, and the remedy.
"""

from __future__ import annotations

from typing import ClassVar

from contracts.text import printable


class PhasewatchError(Exception):
    """The root. `str()` is one line: `<where>: <found>; expected <expected>; <remedy>`."""

    exit_status: ClassVar[int] = 2

    def __init__(self, where: object, found: str, *, expected: str, remedy: str) -> None:
        self.where = str(where)
        self.found = found
        self.expected = expected
        self.remedy = remedy
        said = " ".join(f"{found}; expected {expected}; {remedy}".split())
        super().__init__(f"{printable(self.where)}: {printable(said)}")

    def __reduce__(self) -> tuple[object, ...]:
        """Errors cross process borders whole (worker pools pickle them on our own machine only)."""
        return _rebuild, (type(self), self.where, self.found, self.expected, self.remedy)


def _rebuild(kind: type[PhasewatchError], where: str, found: str, expected: str, remedy: str) -> PhasewatchError:
    return kind(where, found, expected=expected, remedy=remedy)


class MissingError(PhasewatchError):
    """A file, folder or source that should be there is not."""


class TornError(PhasewatchError):
    """A file that cannot be read to its end."""


class UnreadableError(MissingError):
    """It is there, and cannot be opened."""


class BoundError(TornError):
    """Larger than any honest file, expansion, window or line."""


class DigestError(PhasewatchError):
    """The bytes are not the bytes that were promised."""


class RowError(PhasewatchError):
    """A row or document that breaks its schema."""


class CountError(RowError):
    """More or fewer rows than were promised."""


class LabelError(PhasewatchError):
    """Labels out of order or outside their episode."""


class ClockError(PhasewatchError):
    """The wall clock was wrong, or was set, while it was recorded."""


class SchemaMismatchError(PhasewatchError):
    """Made for another feature schema than this program speaks."""


class DatasetError(PhasewatchError):
    """A dataset, split or checkpoint that cannot be used."""


class BundleError(PhasewatchError):
    """A bundle that is not what it must be."""


class UnsignedError(BundleError):
    """A bundle that nobody vouches for."""


class UntrustedKeyError(BundleError):
    """A bundle signed by a key that this machine does not know."""


class RevokedKeyError(UntrustedKeyError):
    """A bundle signed by a key that was trusted once."""


class ConfigError(PhasewatchError):
    """An option or setting that makes no sense."""


class BusyError(PhasewatchError):
    """Another process works on the same output."""


class WorkError(PhasewatchError):
    """The work was done, and found faults."""

    exit_status = 1


class DivergedError(WorkError):
    """A fit whose loss, or a model whose answers, are no numbers."""


class ParityError(WorkError):
    """An artifact that does not behave as its model did."""


class BrokerError(WorkError):
    """The broker cannot be reached, or refuses."""


class GuestError(WorkError):
    """A guest that does not start, or does not answer."""


class StorageError(WorkError):
    """The disk is full, or will not be written to."""
