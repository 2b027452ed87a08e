"""What a model has seen, so that an agent can say that a window is unlike all of it."""

from __future__ import annotations

from typing import Annotated

import msgspec

MEMBER, CENTRES = "familiar.json", "familiar-centres.f16"
"""Members of a bundle: this document, and (M, V) little-endian float16, the levels of windows learned from."""
Profile = Annotated[str, msgspec.Meta(max_length=200)]


class Familiar(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """profiles: of each of the M windows; tested: the profiles that the held-out side has. distances: of the windows
    that the model was tuned by, each to the nearest of the M, ascending."""

    profiles: tuple[Profile, ...]
    tested: tuple[Profile, ...]
    distances: tuple[Annotated[float, msgspec.Meta(ge=0, le=100)], ...]
