"""The first half of the method: where the kidneys are, and their outline with any tumor in it.

Coarse net over whole slices, count of the components it found, correction net over sagittal planes if they are not
two, fine net over each kidney; parts of its result where there was no kidney before are dropped. Coordinates of kidneys
are on the normalized grid (config.spacing_mm), z, y, x.

Source: Zhang et al., KiTS19 entry, section 1; where it is silent, kits_tf/config and the comments here decide.
"""

import typing

import tensorflow as tf

from kits_tf.cascade import tiling
from kits_tf.config import CascadeConfig
from kits_tf.ops import components, crop, resample
from kits_tf.ops.window import scale_window
from kits_tf.volume import AIR_HU

# On probabilities, a hair below one half: a voxel exactly between a slice with and one without the mask belongs to the
# mask, however sums of floats are rounded.
THRESHOLD = 0.5 - 1e-5


class Kidneys(typing.NamedTuple):
    """What a kidney mask (M in the method) holds: one row per component large enough to be a kidney."""

    start: tf.Tensor  # int32 (kidneys, 3), first voxel of the component's box on the normalized grid
    stop: tf.Tensor  # int32 (kidneys, 3), exclusive
    centre: tf.Tensor  # float32 (kidneys, 3), centroid in voxels
    voxels: tf.Tensor  # float64 (components,), normalized voxels of every component, the small ones too
    mask: tf.Tensor  # bool (z, y, x), the mask itself on its own grid, small components too
    scale: tf.Tensor  # float32 (3,), with offset: from voxel edges of that grid to those of the normalized one
    offset: tf.Tensor  # float32 (3,)


class Blocks(typing.NamedTuple):
    """Where the fine net looks for one kidney: the tiles' positions and the box they cover together."""

    positions: tuple  # three int32 vectors, first voxels of the tiles along z, y, x
    start: tf.Tensor  # int32 (3,)
    stop: tf.Tensor  # int32 (3,), exclusive


def even_positions(start: tf.Tensor, stop: tf.Tensor, size: int) -> tf.Tensor:
    """Tiles of one size from start to stop, side by side as far as they fit, evenly overlapping where they do not."""
    return crop.cover_axis(start, stop, tf.cast(start + stop, tf.float32) / 2.0, size, 0)


def coarse_slices(volume: tf.Tensor, grid: tf.Tensor, config: CascadeConfig) -> tf.Tensor:
    """What the coarse net sees before the window: float32 HU (normalized z, size, size)."""
    return resample.resample_square(volume, grid, config.coarse.size_voxels, AIR_HU)


def coarse_mask(net: tiling.Net, slices_hu: tf.Tensor, config: CascadeConfig) -> tf.Tensor:
    """The coarse net's answer on its own grid: bool (normalized z, size, size)."""
    size, batch = config.coarse.size_voxels, config.coarse.predict_batch
    positions = (even_positions(0, tf.shape(slices_hu)[0], batch), tf.constant([0]), tf.constant([0]))
    image = scale_window(slices_hu, config.window_hu)
    return tiling.predict_tiles(net, [image], positions, (batch, size, size), tiling.AXIAL) > THRESHOLD


def coarse_scale(grid: tf.Tensor, config: CascadeConfig) -> tuple[tf.Tensor, tf.Tensor]:
    """(scale, offset), float32 (3,): a coordinate c of the coarse grid's voxel edges is c * scale - offset."""
    square = tf.maximum(grid[1], grid[2])
    ratio = tf.cast(square, tf.float32) / config.coarse.size_voxels
    offset = [tf.cast(resample.pad_to_square(grid[axis], square), tf.float32) for axis in (1, 2)]
    return tf.stack([1.0, ratio, ratio]), tf.stack([0.0, *offset])


def find_kidneys(mask: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor, grid: tf.Tensor, min_voxels: float) -> Kidneys:
    """The components of a mask that are large enough to be kidneys.

    Args:
        mask: bool (z, y, x), on the normalized grid or a coarser one.
        scale, offset: float32 (3,), from voxel edges of the mask to those of the normalized grid.
        grid: int32 (3,), the normalized grid's voxels; boxes are clipped to it.
        min_voxels: a component must cover more normalized voxels than this.
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
    """A mask looked up at places of the normalized grid: each takes the voxel that holds it; outside there is none.

    Args:
        mask: bool (z, y, x).
        scale, offset: as find_kidneys takes them.
        places: float32 vectors along z, y, x, coordinates of voxel edges (the middle of voxel 0 is 0.5).

    Returns:
        bool, one voxel for each combination of places.
    """
    for axis, along in enumerate(places):
        voxel = tf.cast(tf.floor((along + offset[axis]) / scale[axis]), tf.int32)
        size = tf.shape(mask)[axis]
        inside = tf.reshape((voxel >= 0) & (voxel < size), [-1 if other == axis else 1 for other in range(3)])
        mask = tf.gather(mask, tf.clip_by_value(voxel, 0, size - 1), axis=axis) & inside
    return mask


def centroid(mask: tf.Tensor) -> tf.Tensor:
    """The mean position of a mask's voxels, float32 (3,); the array's middle if it is empty."""
    means = []
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        hits = tf.cast(tf.math.count_nonzero(mask, axis=others), tf.float64)
        places = tf.cast(tf.range(tf.size(hits)), tf.float64)
        total = tf.reduce_sum(hits)
        mean = tf.where(total > 0, tf.reduce_sum(hits * places) / tf.maximum(total, 1.0), tf.reduce_mean(places))
        means.append(tf.cast(mean, tf.float32))
    return tf.stack(means)


def body_centre(slices_hu: tf.Tensor, config: CascadeConfig) -> tf.Tensor:
    """The centroid of the body (the largest component above body_hu) on the coarse grid; its middle in bare air."""
    numbered, count = components.label_components(slices_hu > config.body_hu)
    sizes = components.component_sizes(numbered, count)
    largest = tf.cond(count > 0, lambda: tf.argmax(sizes, output_type=tf.int32) + 1, lambda: 0)
    return centroid(tf.equal(numbered, largest) & (numbered > 0))


def correct(net: tiling.Net, volume: tf.Tensor, grid: tf.Tensor, centre: tf.Tensor, found: Kidneys,
            config: CascadeConfig) -> Kidneys:
    """The correction net over the sagittal planes that hold some of the body, cropped in z and y around the
    centroid of the coarse foreground.

    One crop, as in the method, unless a coarse component as large as a kidney, with a margin, reaches beyond it: then
    as many as cover it. Outside the crops the mask is empty.

    Args:
        net: the correction net.
        volume: (z, y, x) HU, the input's grid.
        grid: int32 (3,), the normalized grid's voxels.
        centre: float32 (3,), the centroid on the normalized grid.
        found: Kidneys of the coarse mask; may be none.
        config: CascadeConfig.

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

    # The block that the crops cover, cut at the volume's edge: beyond it there is air, and no kidney.
    start = tf.stack([positions[0][0], positions[1][0], 0])
    stop = tf.stack([positions[0][-1] + tile[0], positions[1][-1] + tile[1], grid[2]])
    start = tf.clip_by_value(start, 0, grid - 1)
    stop = tf.clip_by_value(stop, start + 1, grid)
    image_hu = resample.resample_box(volume, grid, start, stop - start, AIR_HU)
    # Beside the body there is no kidney either: a third of the planes of an ordinary scan.
    left, right = crop.box_of(tf.reduce_any(image_hu > config.body_hu, axis=(0, 1)))
    positions.append(even_positions(left[0], right[0], settings.predict_batch))
    inside = [axis_positions - start[axis] for axis, axis_positions in enumerate(positions)]
    mask = tiling.predict_tiles(net, [scale_window(image_hu, config.window_hu)], inside, tile, tiling.SAGITTAL)
    return find_kidneys(mask > THRESHOLD, tf.ones(3), -tf.cast(start, tf.float32), grid, config.kidney_min_voxels)


def kidney_blocks(kidneys: Kidneys, index: int | tf.Tensor, grid: tf.Tensor, config: CascadeConfig) -> Blocks:
    """Where the fine net and the tumor refiner look for one kidney.

    Its slices and a few beyond either pole; in-plane one crop around its centroid, or several where the kidney with a
    margin is larger than the crop.
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


def region_around(kidneys: Kidneys, grid: tf.Tensor, config: CascadeConfig) -> tuple[tf.Tensor, tf.Tensor]:
    """The one box of the normalized volume that all later stages work in, clipped to the volume: (start, stop)."""
    starts, stops = tf.map_fn(
        lambda index: kidney_blocks(kidneys, index, grid, config)[1:], tf.range(tf.shape(kidneys.start)[0]),
        fn_output_signature=(tf.TensorSpec((3,), tf.int32), tf.TensorSpec((3,), tf.int32)))
    # At least half a tile of real tissue around, so that a tile laid over a small kidney does not see false air.
    pad = [max(around, size // 2) for around, size in zip(tumor_pad(config), config.tumor3d.tile_voxels, strict=True)]
    start = tf.clip_by_value(tf.reduce_min(starts, axis=0) - pad, 0, grid - 1)
    return start, tf.clip_by_value(tf.reduce_max(stops, axis=0) + pad, start + 1, grid)


def tumor_pad(config: CascadeConfig) -> tuple[int, int, int]:
    """The frame around the fine result in which tumors are looked for: voxels along z, y, x."""
    pad = config.tumor3d.roi_pad_voxels
    return config.slices_of(pad), pad, pad


def predict_kidneys(net: tiling.Net, channels: list[tf.Tensor], kidneys: Kidneys, origin: tf.Tensor, grid: tf.Tensor,
                    config: CascadeConfig, batch: int, active: tf.Tensor | None = None,
                    elsewhere: float = 0.0) -> tf.Tensor:
    """A net's probabilities over the axial crops of every kidney, each kidney on its own.

    Within a kidney overlapping crops are blended; between kidneys the larger probability counts.

    Args:
        net: the fine net or the tumor refiner.
        channels: list of float32 (z, y, x), the region's image and whatever else the net sees.
        kidneys: Kidneys on the normalized grid.
        origin: int32 (3,), the region's first voxel on that grid.
        grid: int32 (3,), that grid's voxels.
        config: CascadeConfig.
        batch: slices per call of the net.
        active: bool (z, y, x) or None; slices of a kidney beyond the first and last active one are left out.
        elsewhere: what to give where no crop lies; not above zero.

    Returns:
        float32 (z, y, x), the region's shape.
    """
    shape = tf.shape(channels[0])

    def one_kidney(index, done):
        blocks = kidney_blocks(kidneys, index, grid, config)
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
                            (0, tf.fill(shape, elsewhere)), parallel_iterations=1)
    return done


def keep_found(probabilities: tf.Tensor, kidneys: Kidneys, origin: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Drops the parts of the fine result that are not connected to M: as a lesion that touches no kidney goes, so does
    a part (26 neighbours) that shares and neighbours no voxel of the mask in which the kidneys were found.

    The fine net learns from crops around a kidney alone; where they reach a neighbour, beyond a pole or in a corner, it
    may take that for kidney.

    Args:
        probabilities: float32 (z, y, x), the region's, from the fine net.
        kidneys, origin: as predict_kidneys takes them.

    Returns:
        (probabilities, dropped): zero in the parts that were dropped, elsewhere as given, so that the edges of the kept
        parts stay where the net put them when they are interpolated; int32, how many parts those are.
    """
    middles = [tf.cast(origin[axis] + tf.range(size), tf.float32) + 0.5
               for axis, size in enumerate(tf.unstack(tf.shape(probabilities)))]
    found = mask_at(kidneys.mask, kidneys.scale, kidneys.offset, middles)
    outlined = probabilities > THRESHOLD
    connected, _, dropped = components.connected_to(outlined, found)
    return tf.where(outlined & ~connected, 0.0, probabilities), dropped
