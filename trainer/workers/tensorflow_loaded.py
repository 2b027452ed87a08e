"""Imported by name, by a process from which others are forked that begin with TensorFlow."""

from trainer.workers.tensorflow_ready import load

load()
