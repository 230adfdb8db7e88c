"""Runs an exported cascade: Predictor for Volumes, explain.py for what it decided on the way. Builds no net."""

from kits_tf.serving.predictor import Predictor

__all__ = ["Predictor"]
