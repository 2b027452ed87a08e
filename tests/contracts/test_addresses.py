"""One address, many spellings."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.telemetry.addresses import canonical_address, canonical_addresses


@given(st.ip_addresses(v=6), st.booleans(), st.booleans())
def test_ipv6_is_one_address_however_it_is_spelled(address: ipaddress.IPv6Address, long: bool, upper: bool) -> None:
    text = address.exploded if long else address.compressed
    assert canonical_address(text.upper() if upper else text) == canonical_address(str(address))


@given(st.ip_addresses(v=4))
def test_ipv4_inside_ipv6_is_that_ipv4_address(address: ipaddress.IPv4Address) -> None:
    assert canonical_address(f"::ffff:{address}") == canonical_address(str(address)) == str(address)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("fe80::1%eth0", "fe80::1"),
        ("FD00:0:0:0::2", "fd00::2"),
        ("0.0.0.0", "0.0.0.0"),
        ("10.0.0.01", None),  # an octal number, or a decimal one: nobody can tell
        ("10.0.0", None),
        ("host.example", None),
        ("", None),
    ],
)
def test_an_address_has_one_spelling_and_anything_else_has_none(text: str, found: str | None) -> None:
    assert canonical_address(text) == found


def test_what_is_no_address_equals_no_guest() -> None:
    assert canonical_addresses(["guest", "::ffff:192.0.2.1"]) == {"192.0.2.1"}
