"""Two replicas learn what one device learns; in a process of its own, since devices are laid out only once."""

import pathlib
import subprocess
import sys

TESTS = pathlib.Path(__file__).parents[1]

SCRIPT = """
import sys, pathlib
sys.path.insert(0, {tests!r})
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import dataclasses
import ellipses
from kits_tf import config as configs
from kits_tf.training import loop, stages
folder = pathlib.Path({folder!r})
config = ellipses.tiny_config()
plain = dataclasses.replace(config.fine.net, normalization="none")
config = dataclasses.replace(config, fine=dataclasses.replace(config.fine, net=plain))
config = ellipses.with_training(config, "fine", dice_weight=0.5, example_dice_weight=0.25, cross_entropy_weight=0.5)
data_dir = ellipses.write(folder / "data", config, stages=["fine"])
histories = []
for name, strategy in (("one", tf.distribute.get_strategy()),
                       ("two", tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))):
    task = stages.task(config, "fine", data_dir, 0, 0)
    histories.append(loop.train(task, folder / name, strategy, report=lambda line: None))
for one, two in zip(*histories):
    for column in ("loss", "val_dice"):
        assert abs(one[column] - two[column]) < 1e-3, (column, one, two)
print("equal")
"""


def test_two_replicas_have_the_losses_of_one_device(tmp_path):
    script = SCRIPT.format(tests=str(TESTS), folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=TESTS.parent, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().endswith("equal")
