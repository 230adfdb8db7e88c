"""Runs a net over a volume tile by tile. All tiles have one shape, so that a net is compiled once for any scan.

A tile is a batch of axial slices, a batch of sagittal planes, or one 3D block. Where tiles overlap, their outputs are
blended with weights that fall linearly towards a tile's edge and sum to one at every voxel.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from kits_tf.ops import crop

AXIAL, SAGITTAL, BLOCK = "axial", "sagittal", "block"

Net = Callable[[tf.Tensor], tf.Tensor]  # a stage's net, from images to probabilities


def axis_shares(positions: tf.Tensor, size: int) -> tf.Tensor:
    """Computes each tile's blending weight at every voxel that it covers along one axis.

    Args:
        positions: int32 (n,), the tiles' first voxels, all different.
        size: int, voxels of a tile.

    Returns:
        float32 (n, size), positive; the weights of all tiles that cover a voxel sum to 1.
    """
    voxel = tf.range(size)
    apart = positions[:, tf.newaxis, tf.newaxis] - positions[tf.newaxis, :, tf.newaxis] + voxel  # this, other, voxel
    depth = tf.minimum(apart + 1, size - apart)  # depth inside the other tile; not positive outside it
    total = tf.reduce_sum(tf.nn.relu(tf.cast(depth, tf.float32)), axis=1)
    return tf.cast(tf.minimum(voxel + 1, size - voxel), tf.float32) / total


def predict_tiles(net: Net, channels: list[tf.Tensor], positions: Sequence[tf.Tensor], tile: tuple[int, int, int],
                  plane: str) -> tf.Tensor:
    """Computes a net's probabilities over a volume.

    Args:
        net: function from float32 (n, a, b, channels) or (1, z, y, x, 1) to probabilities of that shape with one
            channel.
        channels: list of float32 arrays (z, y, x) of one shape, the net's input channels; zero outside.
        positions: three int32 vectors, first voxels of the tiles along z, y, x; there is a tile at each combination.
        tile: three ints, the tile's shape along z, y, x.
        plane: AXIAL (z is the batch axis), SAGITTAL (x is the batch axis) or BLOCK (3D, a batch of one).

    Returns:
        float32 (z, y, x), zero outside all tiles.
    """
    shares = [axis_shares(axis_positions, size) for axis_positions, size in zip(positions, tile, strict=True)]
    counts = [tf.size(axis_positions) for axis_positions in positions]

    def step(index, done):
        at = (index // (counts[1] * counts[2]), index // counts[2] % counts[1], index % counts[2])
        start = tf.stack([axis_positions[i] for axis_positions, i in zip(positions, at, strict=True)])
        blocks = tf.stack([crop.crop(channel, start, tile) for channel in channels], axis=-1)
        probabilities = _run(net, blocks, plane)
        weight_z, weight_y, weight_x = (share[i] for share, i in zip(shares, at, strict=True))
        weight = weight_z[:, tf.newaxis, tf.newaxis] * weight_y[:, tf.newaxis] * weight_x
        return index + 1, crop.paste_add(done, probabilities * weight, start)

    total = counts[0] * counts[1] * counts[2]
    _, done = tf.while_loop(lambda index, _: index < total, step, (0, tf.zeros_like(channels[0])),
                            parallel_iterations=1)
    return done


def _run(net, blocks, plane):
    """Calls the net once: takes blocks (z, y, x, channels), returns probabilities (z, y, x)."""
    if plane == AXIAL:
        answer = net(blocks)[..., 0]
    elif plane == SAGITTAL:
        answer = tf.transpose(net(tf.transpose(blocks, (2, 0, 1, 3)))[..., 0], (1, 2, 0))
    else:
        answer = net(blocks[tf.newaxis])[0, ..., 0]
    return tf.ensure_shape(tf.cast(answer, tf.float32), blocks.shape[:-1])
