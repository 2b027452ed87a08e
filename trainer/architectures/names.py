"""What the architectures are called."""

from contracts.errors import ConfigError

NAMES = ("gbt", "mlp", "cnn", "gru", "lstm", "transformer")


def unknown(name: str) -> ConfigError:
    """There is no such architecture."""
    return ConfigError(
        "--architectures", f"no architecture {name!r}", expected=f"some of {', '.join(NAMES)}", remedy="name those"
    )
