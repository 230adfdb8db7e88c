"""What the server of harness/commands.py imports before it forks. It must start no thread and run no operation."""

import tensorflow  # noqa: F401

import kits_tf.cascade
import kits_tf.evaluation.evaluator
import kits_tf.reporting.predictions
import kits_tf.serving.client
import kits_tf.serving.predictor
import kits_tf.training.loop
import kits_tf.training.task  # noqa: F401
