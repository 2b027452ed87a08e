"""The architectures by name. This is the list; nothing registers itself. Keras is loaded for those that need it."""

from __future__ import annotations

from trainer.architectures.architecture import Architecture
from trainer.architectures.names import unknown


def architecture_named(name: str) -> Architecture:
    """Raises `ConfigError` for a name that is not there."""
    match name:
        case "gbt":
            from trainer.architectures.gbt import Gbt

            return Gbt()
        case "mlp":
            from trainer.architectures.mlp import Mlp

            return Mlp()
        case "cnn":
            from trainer.architectures.cnn import Cnn

            return Cnn()
        case "gru":
            from trainer.architectures.gru import Gru

            return Gru()
        case "lstm":
            from trainer.architectures.lstm import Lstm

            return Lstm()
        case "transformer":
            from trainer.architectures.transformer import Transformer

            return Transformer()
    raise unknown(name)
