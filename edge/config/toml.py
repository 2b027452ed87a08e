"""TOML files as a user writes them: read within bounds, and refused in one line that names the place."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from contracts.errors import ConfigError
from contracts.files import read_file

_LARGEST = 1 << 20


def read_toml(path: Path) -> tuple[dict[str, Any], str]:
    """What it says, and its text. Raises `MissingError`, `UnreadableError`, `BoundError`, `ConfigError`."""
    try:
        text = read_file(path, _LARGEST).decode("utf-8-sig")
        return tomllib.loads(text), text
    except UnicodeDecodeError:
        raise ConfigError(path, "not UTF-8", expected="a TOML file", remedy="save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        where = f"{path}:{line[1]}" if line else path
        found = re.sub(r" \(at line.*\)$", "", str(error))
        raise ConfigError(where, f"no TOML: {found}", expected="a TOML file", remedy="correct that line") from None
    except (RecursionError, ValueError) as error:  # nested too deeply, or a number of thousands of digits
        raise ConfigError(path, f"no TOML: {error}", expected="a TOML file", remedy="correct it") from None


def nearest(key: str, names: Iterable[str]) -> str:
    """The remedy for an unknown key."""
    known = list(names)
    close = difflib.get_close_matches(key, known, 1, 0.5)
    return f"did you mean `{close[0]}`?" if close else f"one of {', '.join(known)}"
