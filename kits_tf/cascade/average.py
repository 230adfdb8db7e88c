"""Averages the probabilities of several nets, and of one net over mirrored images.

nnU-Net (Isensee et al. 2021) averages its five folds and its test-time mirroring in the same way. As in nnU-Net, images
are mirrored only along axes that were mirrored in training: a net that never saw the liver on the left cannot segment
such an image. Each stage is averaged separately, before its threshold, so the cascade's rules see one net per stage.
"""

import itertools

import tensorflow as tf

from kits_tf import config as configs
from kits_tf.cascade.tiling import Net
from kits_tf.config import plane_axes


def mirrored_axes(config: configs.CascadeConfig) -> dict[str, str]:
    """Returns the axes along which each stage's training mirrors images.

    Returns:
        dict from stage to names of axes, "" for none. In the presets: "x" for the nets that see one kidney at a time,
        none for coarse and correction, which see the whole body.
    """
    axes = {}
    for stage in configs.STAGES:
        augment = config.stage(stage).training.augment
        mirrored = {"x": augment.flip_x, "y": augment.flip_y}
        axes[stage] = "".join(axis for axis in plane_axes(stage) if mirrored.get(axis))
    return axes


def average(members: list[Net], stage: str, mirrored: str = "") -> Net:
    """Returns a net that averages several nets, each on the image and on its mirror images.

    Args:
        members: list of functions from float32 (n, [z,] y, x, channels) to probabilities with one channel.
        stage: one of config.STAGES; determines the axes of the members' tensors.
        mirrored: names of axes. The image is mirrored along every combination of them, and the output mirrored back.

    Returns:
        A function of the same kind. It runs its members one after another, so that a member's activations are freed
        before the next one runs.
    """
    in_plane = [plane_axes(stage).index(name) - 3 for name in mirrored]  # in-plane axes are the last before channels
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
