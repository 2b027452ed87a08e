"""Numbers, names and digests as documents hold them: each type once, with its bounds."""

from __future__ import annotations

from typing import Annotated

import msgspec

# In Python `$` also matches before a final line break; the look-ahead makes it mean the end, here and in JSON Schema.
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$(?!\n)")]
"""An id that is safe as a file name and as an MQTT topic level."""
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Whole = Annotated[int, msgspec.Meta(ge=0)]
Amount = Annotated[int, msgspec.Meta(ge=0, le=2**40)]
"""Of bytes or rows in one file."""
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A raw counter or gauge, as the host or the guest reported it."""
Nanoseconds = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
"""A time in ns."""
