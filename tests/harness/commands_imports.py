"""Imports of the server in harness/commands.py before it forks; they must start no thread and run no operation."""

import tensorflow  # noqa: F401

import kits_tf.cascade
import kits_tf.evaluation.evaluator
import kits_tf.reporting.predictions
import kits_tf.serving.client
import kits_tf.serving.predictor
import kits_tf.training.loop
import kits_tf.training.task  # noqa: F401
