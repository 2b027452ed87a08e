"""The architectures by name. This tuple is the list; nothing registers itself.

Loads Keras: who wants one of them alone imports its file.
"""

from __future__ import annotations

from contracts.errors import ConfigError
from trainer.architectures.architecture import Architecture
from trainer.architectures.cnn import Cnn
from trainer.architectures.gbt import Gbt
from trainer.architectures.gru import Gru
from trainer.architectures.lstm import Lstm
from trainer.architectures.mlp import Mlp
from trainer.architectures.transformer import Transformer

ARCHITECTURES: tuple[Architecture, ...] = (Gbt(), Mlp(), Cnn(), Gru(), Lstm(), Transformer())


def architecture_named(name: str) -> Architecture:
    """Raises `ConfigError` for a name that is not there."""
    for architecture in ARCHITECTURES:
        if architecture.name == name:
            return architecture
    names = ", ".join(architecture.name for architecture in ARCHITECTURES)
    raise ConfigError("--architectures", f"no architecture {name!r}", expected=f"some of {names}", remedy="name those")
