"""Runs an exported cascade: Predictor locally, RemotePredictor on a server. explain.py reports the decisions.

This package builds no net.
"""

from kits_tf import lazy
from kits_tf.serving.server import Server

__all__ = ["Server"]

# Imported at their first use. The API pages show them in their own modules.
__getattr__ = lazy.attach(__name__, Predictor="kits_tf.serving.predictor", RemotePredictor="kits_tf.serving.client")
