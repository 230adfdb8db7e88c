"""First half of the method: finds the kidneys and outlines them together with their tumors.

The coarse net runs over whole slices. If its mask does not have two components, the correction net runs over sagittal
planes. The fine net runs over each kidney; parts of its result that touch no kidney of the earlier mask are dropped.
Coordinates of kidneys are on the normalized grid (config.spacing_mm), z, y, x.

Source: Zhang et al., KiTS19 entry, section 1. Details it does not give are in kits_tf/config and the comments here.
"""

import typing
from collections.abc import Sequence

import tensorflow as tf

from kits_tf.cascade import tiling
from kits_tf.config import CascadeConfig
from kits_tf.ops import components, crop, resample
from kits_tf.ops.window import scale_window
from kits_tf.volume import AIR_HU, BODY_HU

# Slightly below one half, so that a voxel exactly halfway between a slice with the mask and one without always belongs
# to the mask, however float sums are rounded.
THRESHOLD = 0.5 - 1e-5


class Kidneys(typing.NamedTuple):
    """The contents of a kidney mask (M in the method): one row per component large enough to be a kidney."""

    start: tf.Tensor  # int32 (kidneys, 3), first voxel of the component's box on the normalized grid
    stop: tf.Tensor  # int32 (kidneys, 3), exclusive
    centre: tf.Tensor  # float32 (kidneys, 3), centroid in voxels
    voxels: tf.Tensor  # float64 (components,), size of every component in normalized voxels, including small ones
    mask: tf.Tensor  # bool (z, y, x), the mask on its own grid, including small components
    scale: tf.Tensor  # float32 (3,), with offset: maps voxel edges of the mask's grid to those of the normalized grid
    offset: tf.Tensor  # float32 (3,)


class Region(typing.NamedTuple):
    """The box around the kidneys, in the normalized volume, in which the fine net and the tumor nets work."""

    kidneys: Kidneys
    image: tf.Tensor  # float32 (z, y, x), windowed
    origin: tf.Tensor  # int32 (3,), the region's first voxel in the normalized volume
    grid: tf.Tensor  # int32 (3,), the shape of the whole normalized volume


class Blocks(typing.NamedTuple):
    """The tiles of the fine net for one kidney: their positions and the box that they cover."""

    positions: tuple  # three int32 vectors, first voxels of the tiles along z, y, x
    start: tf.Tensor  # int32 (3,)
    stop: tf.Tensor  # int32 (3,), exclusive


def even_positions(start: tf.Tensor, stop: tf.Tensor, size: int) -> tf.Tensor:
    """Returns the first voxels of as few equal tiles as cover start to stop, evenly spaced."""
    return crop.cover_axis(start, stop, tf.cast(start + stop, tf.float32) / 2.0, size, 0)


def coarse_slices(volume: tf.Tensor, grid: tf.Tensor, config: CascadeConfig) -> tf.Tensor:
    """Returns the coarse net's input before windowing: float32 HU (normalized z, size, size)."""
    return resample.resample_square(volume, grid, config.coarse.size_voxels, AIR_HU)


def coarse_mask(net: tiling.Net, slices_hu: tf.Tensor, config: CascadeConfig) -> tf.Tensor:
    """Returns the coarse net's mask on its own grid: bool (normalized z, size, size)."""
    size, batch = config.coarse.size_voxels, config.coarse.predict_batch
    positions = (even_positions(0, tf.shape(slices_hu)[0], batch), tf.constant([0]), tf.constant([0]))
    image = scale_window(slices_hu, config.window_hu)
    return tiling.predict_tiles(net, [image], positions, (batch, size, size), tiling.AXIAL) > THRESHOLD


def coarse_scale(grid: tf.Tensor, config: CascadeConfig) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the map from the coarse to the normalized grid.

    Returns:
        (scale, offset): float32 (3,). A coordinate c of the coarse grid's voxel edges is c * scale - offset on the
        normalized grid.
    """
    square = tf.maximum(grid[1], grid[2])
    ratio = tf.cast(square, tf.float32) / config.coarse.size_voxels
    offset = [tf.cast(resample.pad_to_square(grid[axis], square), tf.float32) for axis in (1, 2)]
    return tf.stack([1.0, ratio, ratio]), tf.stack([0.0, *offset])


def find_kidneys(mask: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor, grid: tf.Tensor, min_voxels: float) -> Kidneys:
    """Finds the components of a mask that are large enough to be kidneys.

    Args:
        mask: bool (z, y, x), on the normalized grid or a coarser one.
        scale, offset: float32 (3,), map voxel edges of the mask to those of the normalized grid.
        grid: int32 (3,), the normalized grid's shape; boxes are clipped to it.
        min_voxels: a kidney must cover more normalized voxels than this.
    """
    numbered, count = components.label_components(mask)
    voxels = components.component_sizes(numbered, count, tf.reduce_prod(scale))
    chosen = tf.cast(tf.where(voxels > min_voxels)[:, 0], tf.int32) + 1

    def measure(index):
        one = tf.equal(numbered, chosen[index])
        start, stop = (tf.cast(edge, tf.float32) * scale - offset for edge in crop.box_of(one))
        start = tf.clip_by_value(tf.cast(tf.floor(start), tf.int32), 0, grid - 1)
        stop = tf.clip_by_value(tf.cast(tf.math.ceil(stop), tf.int32), start + 1, grid)
        return start, stop, (centroid(one) + 0.5) * scale - offset - 0.5

    start, stop, centre = tf.map_fn(
        measure, tf.range(tf.size(chosen)), parallel_iterations=1,
        fn_output_signature=(tf.TensorSpec((3,), tf.int32), tf.TensorSpec((3,), tf.int32),
                             tf.TensorSpec((3,), tf.float32)))
    return Kidneys(start, stop, centre, voxels, mask, scale, offset)


def mask_at(mask: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor, places: list[tf.Tensor]) -> tf.Tensor:
    """Samples a mask at points of the normalized grid. Each point takes the voxel it lies in; outside it is False.

    Args:
        mask: bool (z, y, x).
        scale, offset: as in find_kidneys.
        places: float32 vectors along z, y, x, in voxel-edge coordinates (the middle of voxel 0 is 0.5).

    Returns:
        bool, one value for each combination of places.
    """
    for axis, along in enumerate(places):
        voxel = tf.cast(tf.floor((along + offset[axis]) / scale[axis]), tf.int32)
        size = tf.shape(mask)[axis]
        inside = tf.reshape((voxel >= 0) & (voxel < size), [-1 if other == axis else 1 for other in range(3)])
        mask = tf.gather(mask, tf.clip_by_value(voxel, 0, size - 1), axis=axis) & inside
    return mask


def centroid(mask: tf.Tensor) -> tf.Tensor:
    """Returns the mean position of a mask's voxels, float32 (3,); the array's middle if the mask is empty."""
    means = []
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        hits = tf.cast(tf.math.count_nonzero(mask, axis=others), tf.float64)
        places = tf.cast(tf.range(tf.size(hits)), tf.float64)
        total = tf.reduce_sum(hits)
        mean = tf.where(total > 0, tf.reduce_sum(hits * places) / tf.maximum(total, 1.0), tf.reduce_mean(places))
        means.append(tf.cast(mean, tf.float32))
    return tf.stack(means)


def body_centre(slices_hu: tf.Tensor) -> tf.Tensor:
    """Returns the centroid of the body on the coarse grid; the grid's middle if the scan is only air.

    The body is the largest component above BODY_HU.
    """
    numbered, count = components.label_components(slices_hu > BODY_HU)
    sizes = components.component_sizes(numbered, count)
    largest = tf.cond(count > 0, lambda: tf.argmax(sizes, output_type=tf.int32) + 1, lambda: 0)
    return centroid(tf.equal(numbered, largest) & (numbered > 0))


def correct(net: tiling.Net, volume: tf.Tensor, grid: tf.Tensor, centre: tf.Tensor, found: Kidneys,
            config: CascadeConfig) -> Kidneys:
    """Runs the correction net over the sagittal planes of the body, cropped in z and y around the coarse centroid.

    Uses one crop, as in the method. If a coarse component of kidney size plus a margin extends beyond it, uses as many
    crops as cover the component. Outside the crops the mask is empty.

    Args:
        net: the correction net.
        volume: (z, y, x) HU, on the input's grid.
        grid: int32 (3,), the normalized grid's shape.
        centre: float32 (3,), the centroid of the coarse foreground on the normalized grid.
        found: Kidneys of the coarse mask; may have no rows.

    Returns:
        Kidneys of the correction net's mask.
    """
    settings = config.correction
    margins = (config.fine.extra_slices, config.fine.margin_voxels)
    positions = []
    for axis, margin in enumerate(margins):
        middle = tf.cast(tf.floor(centre[axis] + 0.5), tf.int32)
        start = tf.reduce_min(tf.concat([[middle], found.start[:, axis] - margin], axis=0))
        stop = tf.reduce_max(tf.concat([[middle + 1], found.stop[:, axis] + margin], axis=0))
        positions.append(crop.cover_axis(start, stop, centre[axis], settings.crop_voxels[axis],
                                         settings.overlap_voxels[axis]))
    tile = (*settings.crop_voxels, settings.predict_batch)

    # The block that the crops cover, clipped to the volume: outside it there is only air.
    start = tf.stack([positions[0][0], positions[1][0], 0])
    stop = tf.stack([positions[0][-1] + tile[0], positions[1][-1] + tile[1], grid[2]])
    start = tf.clip_by_value(start, 0, grid - 1)
    stop = tf.clip_by_value(stop, start + 1, grid)
    image_hu = resample.resample_box(volume, grid, start, stop - start, AIR_HU)
    # Skip planes outside the body: a third of the planes of an ordinary scan.
    left, right = crop.box_of(tf.reduce_any(image_hu > BODY_HU, axis=(0, 1)))
    positions.append(even_positions(left[0], right[0], settings.predict_batch))
    inside = [axis_positions - start[axis] for axis, axis_positions in enumerate(positions)]
    mask = tiling.predict_tiles(net, [scale_window(image_hu, config.window_hu)], inside, tile, tiling.SAGITTAL)
    return find_kidneys(mask > THRESHOLD, tf.ones(3), -tf.cast(start, tf.float32), grid, config.kidney_min_voxels)


def kidney_blocks(kidneys: Kidneys, index: int | tf.Tensor, grid: tf.Tensor, config: CascadeConfig) -> Blocks:
    """Returns the tiles of the fine net and of tumor2d for one kidney.

    They cover the kidney's slices and a few beyond either pole. In-plane there is one crop around the centroid, or
    several if the kidney with its margin is larger than the crop.
    """
    settings = config.fine
    start, stop = kidneys.start[index], kidneys.stop[index]
    first = tf.maximum(start[0] - settings.extra_slices, 0)
    last = tf.minimum(stop[0] + settings.extra_slices, grid[0])
    in_plane = [
        crop.cover_axis(start[axis] - settings.margin_voxels, stop[axis] + settings.margin_voxels,
                        kidneys.centre[index, axis], settings.crop_voxels, settings.overlap_voxels)
        for axis in (1, 2)]
    return Blocks(
        (even_positions(first, last, settings.predict_batch), *in_plane),
        tf.stack([first, in_plane[0][0], in_plane[1][0]]),
        tf.stack([last, in_plane[0][-1] + settings.crop_voxels, in_plane[1][-1] + settings.crop_voxels]))


def region_around(kidneys: Kidneys, volume: tf.Tensor, grid: tf.Tensor, config: CascadeConfig) -> Region:
    """Cuts out the region that all later stages use, clipped to the volume.

    Args:
        kidneys: Kidneys with at least one row.
        volume: (z, y, x) HU, on the input's grid.
        grid: int32 (3,), the normalized grid's shape.
    """
    starts, stops = tf.map_fn(
        lambda index: kidney_blocks(kidneys, index, grid, config)[1:], tf.range(tf.shape(kidneys.start)[0]),
        fn_output_signature=(tf.TensorSpec((3,), tf.int32), tf.TensorSpec((3,), tf.int32)))
    # At least half a tile of real tissue on every side, so that a tile over a small kidney sees no artificial air.
    pad = [max(around, size // 2) for around, size in zip(tumor_pad(config), config.tumor3d.tile_voxels, strict=True)]
    start = tf.clip_by_value(tf.reduce_min(starts, axis=0) - pad, 0, grid - 1)
    stop = tf.clip_by_value(tf.reduce_max(stops, axis=0) + pad, start + 1, grid)
    image_hu = resample.resample_box(volume, grid, start, stop - start, AIR_HU)
    return Region(kidneys, scale_window(image_hu, config.window_hu), start, grid)


def tumor_pad(config: CascadeConfig) -> tuple[int, int, int]:
    """Returns the padding around the fine result in which tumor3d searches: voxels along z, y, x."""
    pad = config.tumor3d.roi_pad_voxels
    return config.slices_of(pad), pad, pad


def predict_kidneys(net: tiling.Net, region: Region, config: CascadeConfig, batch: int,
                    masks: Sequence[tf.Tensor] = (), active: tf.Tensor | None = None) -> tf.Tensor:
    """Runs a net over the axial crops of every kidney, one kidney at a time.

    Overlapping crops of one kidney are blended. Where crops of two kidneys overlap, the larger probability is used.

    Args:
        net: the fine or the tumor2d net.
        batch: slices per call of the net.
        masks: float32 (z, y, x), the net's further input channels over the region.
        active: bool (z, y, x) or None; a kidney's slices before its first and after its last active one are skipped.

    Returns:
        Probabilities, float32 (z, y, x), of the region's shape; -1 outside all crops.
    """
    channels, kidneys, origin, shape = [region.image, *masks], region.kidneys, region.origin, tf.shape(region.image)

    def one_kidney(index, done):
        blocks = kidney_blocks(kidneys, index, region.grid, config)
        start = tf.clip_by_value(blocks.start - origin, 0, shape - 1)
        stop = tf.clip_by_value(blocks.stop - origin, start + 1, shape)
        if active is not None:
            from_slice, to_slice = crop.box_of(tf.slice(active, start, stop - start))
            stop = tf.concat([[start[0] + to_slice[0]], stop[1:]], axis=0)
            start = tf.concat([[start[0] + from_slice[0]], start[1:]], axis=0)

        def answer():
            cut = [tf.slice(channel, start, stop - start) for channel in channels]
            size = config.fine.crop_voxels
            positions = (even_positions(0, stop[0] - start[0], batch),
                         *(blocks.positions[axis] - origin[axis] - start[axis] for axis in (1, 2)))
            found = tiling.predict_tiles(net, cut, positions, (batch, size, size), tiling.AXIAL)
            return crop.paste_max(done, found, start)

        return index + 1, tf.cond(stop[0] > start[0], answer, lambda: done)

    _, done = tf.while_loop(lambda index, _: index < tf.shape(kidneys.start)[0], one_kidney,
                            (0, tf.fill(shape, -1.0)), parallel_iterations=1)
    return done


def keep_found(probabilities: tf.Tensor, region: Region) -> tuple[tf.Tensor, tf.Tensor]:
    """Drops the parts of the fine result that are not connected to M, the mask in which the kidneys were found.

    A part (26 neighbors) is dropped if it neither shares nor touches a voxel of M, like a lesion that touches no
    kidney. The fine net is trained only on crops around kidneys. Where a crop shows another organ, beyond a pole or in
    a corner, the net may segment that organ as kidney.

    Args:
        probabilities: float32 (z, y, x), of the region, from the fine net.

    Returns:
        (probabilities, dropped): the probabilities, zero in the dropped parts and unchanged elsewhere, so that
        interpolation does not move the edges of the kept parts; and int32, the number of dropped parts.
    """
    kidneys = region.kidneys
    middles = [tf.cast(region.origin[axis] + tf.range(size), tf.float32) + 0.5
               for axis, size in enumerate(tf.unstack(tf.shape(probabilities)))]
    found = mask_at(kidneys.mask, kidneys.scale, kidneys.offset, middles)
    outlined = probabilities > THRESHOLD
    connected, _, dropped = components.connected_to(outlined, found)
    return tf.where(outlined & ~connected, 0.0, probabilities), dropped


def keep_largest(probabilities: tf.Tensor, most: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Drops all parts (26 neighbors) of the fine result but the `most` largest ones; 0 keeps all.

    A patient has two kidneys. Other tissue that all nets take for kidney, such as the tip of the spleen or a loop of
    bowel, is nearly always smaller. nnU-Net's postprocessing keeps largest components too (Isensee et al. 2021).

    Args:
        probabilities: float32 (z, y, x), from keep_found.
        most: number of parts to keep.

    Returns:
        (probabilities, dropped) as keep_found.
    """
    if not most:
        return probabilities, tf.constant(0)
    numbered, count = components.label_components(probabilities > THRESHOLD)
    sizes = components.component_sizes(numbered, count)
    rank = tf.argsort(tf.argsort(sizes, direction="DESCENDING", stable=True))
    return tf.where(components.select(numbered, rank >= most), 0.0, probabilities), tf.maximum(count - most, 0)
