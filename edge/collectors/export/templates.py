"""What exporters said of their records: templates by exporter, observation domain and id, bounded."""

from __future__ import annotations

import struct
from collections import OrderedDict
from typing import NamedTuple

VARIABLE = 65535
"""A field's length that stands in each record (RFC 7011, 7)."""
MOST_TEMPLATES = 256
"""Of one exporter and domain; the one that was heard of least lately goes. Exporters use two to ten."""
MOST_FIELDS = 256
MOST_RECORD = 4096
"""Bytes of a record's fixed fields; a datagram holds no longer one."""


_PAIR = struct.Struct(">HH")


class Field(NamedTuple):
    """One field: the information element, its enterprise (0: IANA's), and its length in bytes."""

    element: int
    enterprise: int
    length: int


class Template(NamedTuple):
    """The fields of a record. scope: how many of them say what the others are about (options); none for flows."""

    fields: tuple[Field, ...]
    scope: int
    shortest: int
    """Bytes of the shortest record; at least 1, so that records come to an end."""

    @classmethod
    def of(cls, fields: tuple[Field, ...], scope: int) -> Template | None:
        """None for one that no honest exporter has."""
        shortest = sum(1 if field.length == VARIABLE else field.length for field in fields)
        if not 0 < len(fields) <= MOST_FIELDS or not 0 < shortest <= MOST_RECORD or scope > len(fields):
            return None
        return cls(fields, scope, shortest)


class Templates:
    """Those of one exporter and domain."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, Template] = OrderedDict()

    def put(self, number: int, template: Template) -> None:
        """A template, in the place of the one before."""
        self._known[number] = template
        self._known.move_to_end(number)
        if len(self._known) > MOST_TEMPLATES:
            self._known.popitem(last=False)

    def learn(self, body: bytes, *, scoped: bool, enterprises: bool) -> int:
        """A set of templates, of flows or (`scoped`) of options, and of withdrawals; how many of them are malformed.

        enterprises: of IPFIX, not of v9. Raises `struct.error` where one is cut off.
        """
        at = malformed = 0
        while at + 4 <= len(body):
            number, count = _PAIR.unpack_from(body, at)
            at += 4
            if number < 256 and not (enterprises and count == 0):
                break  # padding
            if count == 0:
                self.withdraw(number if number >= 256 else None)
                continue
            scope = 0
            if scoped:
                (scope,) = struct.unpack_from(">H", body, at)
                at += 2
            fields, at = _fields(body, at, count, enterprises=enterprises)
            malformed += self._keep(number, fields, scope)
        return malformed

    def learn_options(self, body: bytes) -> int:
        """v9's templates of options, which say the lengths of both parts in bytes; its scopes are no elements."""
        at = malformed = 0
        while at + 6 <= len(body):
            number, scopes, options = struct.unpack_from(">HHH", body, at)
            at += 6
            if number < 256 or scopes % 4 or options % 4:
                break
            first, at = _fields(body, at, scopes // 4, enterprises=False)
            rest, at = _fields(body, at, options // 4, enterprises=False)
            malformed += self._keep(number, [*(one._replace(enterprise=-1) for one in first), *rest], scopes // 4)
        return malformed

    def _keep(self, number: int, fields: list[Field], scope: int) -> bool:
        template = Template.of(tuple(fields), scope)
        if template is None:
            self.withdraw(number)
        else:
            self.put(number, template)
        return template is None

    def withdraw(self, number: int | None) -> None:
        """One, or all."""
        if number is None:
            self._known.clear()
        else:
            self._known.pop(number, None)

    def get(self, number: int) -> Template | None:
        """The one with a number, if it was said."""
        return self._known.get(number)

    def __len__(self) -> int:
        return len(self._known)


def _fields(body: bytes, at: int, count: int, *, enterprises: bool) -> tuple[list[Field], int]:
    """So many fields of a template, and where they end."""
    found = []
    for _ in range(count):
        element, length = _PAIR.unpack_from(body, at)
        at += 4
        enterprise = 0
        if enterprises and element & 0x8000:
            (enterprise,) = struct.unpack_from(">I", body, at)
            element, at = element & 0x7FFF, at + 4
        elif not enterprises and length == VARIABLE:
            length = 0  # v9 has none of variable length
        found.append(Field(element, enterprise, length))
    return found, at
