"""The presets by name. Each has its own file, whose docstring gives purpose, command, cost and scores."""

from kits_tf.config.cascade import CascadeConfig
from kits_tf.config.presets.demo import DEMO
from kits_tf.config.presets.paper import PAPER
from kits_tf.config.presets.release import RELEASE
from kits_tf.config.presets.small import SMALL

PRESETS: dict[str, CascadeConfig] = {config.preset: config for config in (PAPER, DEMO, SMALL, RELEASE)}
