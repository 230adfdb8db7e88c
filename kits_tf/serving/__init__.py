"""Runs an exported cascade: Predictor here, RemotePredictor on a server; explain.py for what it decided on the way.

Builds no net.
"""

from kits_tf.serving.client import RemotePredictor
from kits_tf.serving.predictor import Predictor

__all__ = ["Predictor", "RemotePredictor"]
