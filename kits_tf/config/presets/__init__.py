"""The presets by name, each in a file of its own that opens with its purpose, cost, scores and command."""

from kits_tf.config.cascade import CascadeConfig
from kits_tf.config.presets.demo import DEMO
from kits_tf.config.presets.paper import PAPER
from kits_tf.config.presets.small import SMALL

PRESETS: dict[str, CascadeConfig] = {config.preset: config for config in (PAPER, DEMO, SMALL)}
