"""Processes for tests that kill them or configure devices, which a process can do only once.

They are forks of the server of harness/commands.py, so each starts at once.
"""

import json
import os
import pathlib
import sys

import tensorflow as tf

from harness import ellipses
from kits_tf import config as configs
from kits_tf.errors import InputError
from kits_tf.training import failures, loop, workers
from kits_tf.training.task import Run, make_task


def train(config, data_dir, run_dir, strategy="one", devices=1, cluster=None, stage="fine"):
    """Trains a stage deterministically on a CPU split into several devices.

    Args:
        config: the config as JSON.
        cluster: (ports of all workers, index of this one), or None.
    """
    if cluster:
        ports, index = cluster
        os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": [f"127.0.0.1:{port}" for port in ports]},
                                              "task": {"type": "worker", "index": index}})
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0],
                                               [tf.config.LogicalDeviceConfiguration()] * devices)
    tf.config.experimental.enable_op_determinism()
    try:
        task = make_task(configs.from_json(config), stage, data_dir, 0, 0)
        loop.train(Run(task, run_dir), workers.strategy(strategy))
    except InputError as error:
        sys.exit(str(error))
    except failures.StoppedError as error:
        print(error, file=sys.stderr)
        sys.exit(143)


def prepared(folder, **training):
    """Returns a tiny config as JSON, with these training settings of the fine stage, and its data folder."""
    config = ellipses.with_training(ellipses.tiny_config(), "fine", **training)
    return configs.to_json(config), ellipses.write(pathlib.Path(folder) / "data", config, stages=["fine"])
