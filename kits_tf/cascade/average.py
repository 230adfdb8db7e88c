"""Several nets, and one net's view of mirrored images, as one net: the mean of their probabilities.

Averaging is what nnU-Net (Isensee et al. 2021) does with its five folds and with test-time mirroring. As there, an
image is mirrored only along axes that the net was trained on mirrored images of: a net that never saw the liver on the
left is not asked about it. Each stage is averaged by itself, before its threshold, so the cascade's rules see one net.
"""

import itertools

import tensorflow as tf

from kits_tf import config as configs
from kits_tf.cascade.tiling import Net
from kits_tf.config import plane_axes


def mirrored_axes(config: configs.CascadeConfig) -> dict[str, str]:
    """The axes that each stage's training mirrored images along.

    Returns:
        dict from stage to names of axes, "" for none. In the presets it is "x" for the nets that see a kidney at a
        time, and none for coarse and correction, which see the whole body.
    """
    axes = {}
    for stage in configs.STAGES:
        augment = config.stage(stage).training.augment
        mirrored = {"x": augment.flip_x, "y": augment.flip_y}
        axes[stage] = "".join(axis for axis in plane_axes(stage) if mirrored.get(axis))
    return axes


def average(members: list[Net], stage: str, mirrored: str = "") -> Net:
    """The mean of nets, each on the image and on its mirror images.

    Args:
        members: list of functions from float32 (n, [z,] y, x, channels) to probabilities with one channel.
        stage: one of config.STAGES; says which axes the members' tensors have.
        mirrored: names of axes; the image is mirrored along every combination of them, and the answer back.

    Returns:
        A function of the same kind. One after another: a member's activations are gone before the next one runs.
    """
    in_plane = [plane_axes(stage).index(name) - 3 for name in mirrored]  # the plane's axes, the last before channels
    views = [list(view) for count in range(len(in_plane) + 1) for view in itertools.combinations(in_plane, count)]
    runs = [(view, member) for view in views for member in members]

    def call(inputs):
        total = None
        for view, member in runs:
            with tf.control_dependencies([] if total is None else [total]):
                seen = tf.identity(inputs)
            answer = tf.reverse(member(tf.reverse(seen, view)), view) if view else member(seen)
            total = answer if total is None else total + answer
        return total / len(runs)

    return call if len(runs) > 1 else members[0]
