"""Runs an exported cascade: Predictor locally, RemotePredictor on a server. explain.py reports the decisions.

This package builds no net.
"""

import dataclasses
import pathlib
import typing

from kits_tf import lazy
from kits_tf.serving.server import Server

__all__ = ["Server", "open_predictor"]

# Imported at their first use. The API pages show them in their own modules.
__getattr__ = lazy.attach(__name__, Predictor="kits_tf.serving.predictor", RemotePredictor="kits_tf.serving.client")


def open_predictor(source: pathlib.Path | Server, xla: str = "auto", precision: str = "auto") -> typing.Any:
    """Opens the RemotePredictor of a server, or the Predictor of an export. Both have `explain(volume)`, `path`,
    `config` and `computed`. Imports TensorFlow."""
    if isinstance(source, Server):
        return lazy.load("kits_tf.serving.client").RemotePredictor(*dataclasses.astuple(source), xla, precision)
    return lazy.load("kits_tf.serving.predictor").Predictor(source, xla, precision)
