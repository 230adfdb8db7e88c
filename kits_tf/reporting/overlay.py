"""A picture to judge labels by eye: three planes through the finding, and a strip of axial slices below.

A scan and its labels go in, a PNG comes out. Planes are shown as radiologists hang them: the patient's right at the
picture's left, head up, front up in axial slices. The three planes share one scale in mm.
"""

import dataclasses
import io
import pathlib
import warnings
from collections.abc import Callable

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from scipy import ndimage
from skimage.measure import find_contours

from kits_tf.box import common_box
from kits_tf.files.atomic import write_bytes
from kits_tf.labels import CLASS_NAMES, KIDNEY, TUMOR, foreground, tumor
from kits_tf.volume import Volume

warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # a name in a script that no font here has
WINDOW_HU = (-160.0, 240.0)  # the usual soft tissue window: level 40, width 400
STRIP_SLICES = 6
MARGIN_MM = 20.0  # kept around the foreground in the strip and in tall scans
TALL = 1.15  # scans higher than this many times their width are cut to what matters
BARS_MM = {50.0: "5 cm", 20.0: "2 cm", 10.0: "1 cm", 5.0: "5 mm", 1.0: "1 mm"}  # the longest that fits is drawn

PLANES = {  # the axis that is cut, the axes of the picture's rows and columns, what lies left, right, top and bottom
    "axial": (0, (1, 2), "RLAP"),
    "coronal": (1, (0, 2), "RLHF"),
    "sagittal": (2, (0, 1), "APHF"),
}
LINES: dict[str, dict] = {  # blue and orange are told apart with any colour vision
    "kidney (with tumor)": {"color": "#56b4e9", "linewidth": 1.5},
    "tumor": {"color": "#ff8c1a", "linewidth": 1.7},
    "true kidney": {"color": "#ffffff", "linewidth": 0.8, "linestyle": (0, (5, 4))},
    "true tumor": {"color": "#fff04d", "linewidth": 0.9, "linestyle": (0, (5, 4))},
}
PAPER, INK, FAINT = "#101214", "#f2f2f2", "#a4abb3"
WIDTH, TALLEST_ROW, TALLEST_STRIP = 14.0, 8.0, 2.6  # inches, like all lengths on paper below
GAP, TITLE, CAPTION, LEGEND = 0.14, 0.6, 0.32, 0.45
DPI = 100


def draw_overlay(path: str | pathlib.Path, ct: Volume, labels: Volume, case_id: str,
                 truth: Volume | None = None) -> None:
    """Draws labels over a scan and writes the picture as PNG, whole or not at all.

    The planes go through the largest tumor where it is widest; without a tumor through the widest kidney, without
    either through the middle. Where the labels have no tumor but the truth has one, they go through that.

    Args:
        path: the .png file.
        ct: Volume in Hounsfield units, in the canonical orientation.
        labels: Volume of class ids, as the scan lies; may be empty.
        case_id: the title.
        truth: Volume of true class ids to compare with, drawn thin and dashed; or None.

    Raises:
        ValueError: if the shapes differ.
    """
    for other in (labels, truth):
        if other is not None and other.voxels.shape != ct.voxels.shape:
            raise ValueError(f"labels must have the scan's shape {ct.voxels.shape}, got {other.voxels.shape}")
    masks = masks_by_line(labels, truth)
    volumes = [other.voxels for other in (labels, truth) if other is not None]
    box = common_box(*volumes)

    row, strip = _three_planes(ct, masks, box, _cut(volumes, box)), _axial_strip(ct, masks, box)
    row_scale = _scale(row, sum(picture.width_mm for picture in row), TALLEST_ROW)
    strip_scale = _scale(strip, STRIP_SLICES * strip[0].width_mm, TALLEST_STRIP, places=STRIP_SLICES)
    row_height = row_scale * max(picture.height_mm for picture in row)
    strip_height = strip_scale * strip[0].height_mm
    height = TITLE + row_height + CAPTION + GAP + strip_height + CAPTION + LEGEND

    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor=PAPER)
    canvas = FigureCanvasAgg(figure)
    _write_title(figure, case_id, labels, truth)
    _place(figure, row, row_scale, height - TITLE - row_height / 2, lettered=True)
    _place(figure, strip, strip_scale, LEGEND + CAPTION + strip_height / 2)
    figure.legend(handles=[Line2D([], [], label=name, **LINES[name]) for name in masks], loc="lower center",
                  ncols=len(masks), frameon=False, labelcolor=INK, fontsize=11, borderaxespad=0.4)
    png = io.BytesIO()
    canvas.print_png(png)
    write_bytes(path, png.getvalue())


def masks_by_line(labels: Volume, truth: Volume | None = None) -> dict[str, tuple[np.ndarray, Callable]]:
    """What each of LINES goes around: the name of the line to (array of class ids, which of them make the mask).

    So that masks are made of what is looked at only: one of a long scan is a quarter of a gigabyte.
    """
    volumes = [other.voxels for other in (labels, truth) if other is not None]
    return dict(zip(LINES, ((voxels, classes) for voxels in volumes for classes in (foreground, tumor)), strict=False))


def _cut(volumes, box):
    """As cut_through, of arrays of class ids and the box that holds all that is in them."""
    if box is None:
        return tuple(size // 2 for size in volumes[0].shape)
    inside = cut_through([(foreground(voxels[box]), tumor(voxels[box])) for voxels in volumes])
    return tuple(block.start + index for block, index in zip(box, inside, strict=True))


def cut_through(regions: list[tuple[np.ndarray, np.ndarray]]) -> tuple[int, ...]:
    """Where to cut: the voxel (z, y, x) whose three planes show most of the finding.

    Args:
        regions: list of (kidney with tumor, tumor) bool arrays (z, y, x), the labels' before the truth's.

    Returns:
        Index (z, y, x); along each axis the largest cross-section of the first of: the largest tumor of the labels,
        that of the truth, the kidneys of the labels, those of the truth. The middle if all are empty.
    """
    for mask in [lesions for _, lesions in regions] + [kidney for kidney, _ in regions]:
        box = common_box(mask)
        if box is None:
            continue
        inside = mask[box]
        if any(mask is lesions for _, lesions in regions):
            inside = _largest_component(inside)
        areas = [np.count_nonzero(inside, axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]
        return tuple(block.start + int(area.argmax()) for block, area in zip(box, areas, strict=True))
    return tuple(size // 2 for size in regions[0][0].shape)


def _largest_component(mask):
    components, count = ndimage.label(mask, np.ones((3, 3, 3)))
    if count == 1:
        return mask
    return components == 1 + np.bincount(components.ravel())[1:].argmax()


def outlines(mask: np.ndarray) -> list[np.ndarray]:
    """Closed outlines of a mask, halfway between voxel centres, also where it touches the picture's edge.

    Args:
        mask: bool, shape (rows, columns).

    Returns:
        A list of float arrays (points, 2) of (column, row) positions in voxels.
    """
    box = common_box(mask)
    if box is None:
        return []
    lines = find_contours(np.pad(mask[box], 1).astype(np.float32), 0.5)
    return [line[:, ::-1] + (box[1].start - 1, box[0].start - 1) for line in lines]


@dataclasses.dataclass(frozen=True, eq=False)
class _Picture:
    """A view of one plane.

    Attributes:
        image: Hounsfield units (rows, columns) of the view.
        start: (column, row) of its first voxel in the plane.
        voxel_mm: (height, width) of a voxel.
        lines: name of each mask to its outlines, in voxels of the plane.
        letters: what lies left, right, top and bottom.
        caption: what is shown.
    """

    image: np.ndarray
    start: tuple[int, int]
    voxel_mm: tuple[float, float]
    lines: dict[str, list[np.ndarray]]
    letters: str
    caption: str

    @property
    def height_mm(self) -> float:
        return self.image.shape[0] * self.voxel_mm[0]

    @property
    def width_mm(self) -> float:
        return self.image.shape[1] * self.voxel_mm[1]


def _picture(ct, masks, plane, index, view, caption):
    """Cuts a plane out of the scan; view is a slice along each axis, of which the cut axis' is not used."""
    axis, (rows, columns), letters = PLANES[plane]
    whole = [slice(None)] * 3
    whole[axis] = index
    whole = tuple(whole)
    return _Picture(
        image=ct.voxels[whole][view[rows], view[columns]],
        start=(view[columns].start, view[rows].start),
        voxel_mm=(ct.spacing_mm[rows], ct.spacing_mm[columns]),
        lines={name: outlines(classes(voxels[whole])) for name, (voxels, classes) in masks.items()},
        letters=letters,
        caption=caption,
    )


def _grown(block, size, margin):
    return slice(max(block.start - margin, 0), min(block.stop + margin, size))


def _three_planes(ct, masks, box, cut):
    """Axial, coronal and sagittal pictures through a voxel, of the whole scan unless it is very tall."""
    shape, spacing_mm = ct.voxels.shape, ct.spacing_mm
    view = [slice(0, size) for size in shape]
    width_mm = max(size * mm for size, mm in zip(shape[1:], spacing_mm[1:], strict=True))
    tallest = round(TALL * width_mm / spacing_mm[0])
    if shape[0] > tallest:
        needed = _grown(box[0] if box else slice(cut[0], cut[0] + 1), shape[0], round(MARGIN_MM / spacing_mm[0]))
        height = max(tallest, needed.stop - needed.start)
        start = min(max((needed.start + needed.stop - height) // 2, 0), shape[0] - height)
        view[0] = slice(start, start + height)
    return [_picture(ct, masks, plane, cut[axis], view, f"{plane}, slice {cut[axis] + 1} of {shape[axis]}")
            for plane, (axis, _, _) in PLANES.items()]


def _axial_strip(ct, masks, box):
    """Axial pictures evenly through the foreground and close around it; through the whole scan if there is none."""
    shape = ct.voxels.shape
    if box is None:
        box = tuple(slice(0, size) for size in shape)
    view = [_grown(block, size, round(MARGIN_MM / mm)) for block, size, mm in zip(box, shape, ct.spacing_mm,
                                                                                  strict=True)]
    edges = np.linspace(box[0].start, box[0].stop, STRIP_SLICES + 1)
    slices = sorted({int(middle) for middle in (edges[:-1] + edges[1:]) / 2})
    return [_picture(ct, masks, "axial", z, view, f"slice {z + 1}") for z in slices]


def _scale(pictures, width_mm, tallest, places=None):
    """Inches on paper per mm of patient, so that a row of pictures fills the width but is not taller than allowed."""
    room = WIDTH - GAP * (1 + (places or len(pictures)))
    return min(room / width_mm, tallest / max(picture.height_mm for picture in pictures))


def _place(figure, pictures, scale, middle, lettered=False):
    """Draws a row of pictures about a height above the figure's bottom, centred from left to right."""
    width, height = figure.get_size_inches()
    left = (width - scale * sum(picture.width_mm for picture in pictures) - GAP * (len(pictures) - 1)) / 2
    for picture in pictures:
        wide, high = scale * picture.width_mm, scale * picture.height_mm
        bottom = middle - high / 2
        axes = figure.add_axes((left / width, bottom / height, wide / width, high / height))
        _draw(axes, picture)
        if lettered:
            _write_letters(axes, picture.letters, high)
        figure.text(left / width, (bottom - 0.06) / height, picture.caption, color=FAINT, fontsize=9.5, va="top")
        if lettered or picture is pictures[0]:
            _draw_bar(figure, picture, scale, left + wide, bottom - 0.13)
        left += wide + GAP


def _draw(axes, picture):
    left, top = (first - 0.5 for first in picture.start)
    rows, columns = picture.image.shape
    extent = (left, left + columns, top + rows, top)
    axes.imshow(picture.image, cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1], extent=extent, aspect="auto",
                interpolation="bilinear")
    for name, lines in picture.lines.items():
        axes.add_collection(LineCollection(lines, **{f"{key}s": value for key, value in LINES[name].items()}),
                            autolim=False)
    axes.set_xlim(extent[:2])
    axes.set_ylim(extent[2:])
    axes.set_axis_off()


def _write_letters(axes, letters, height):
    """Says what lies left, right, top and bottom; the latter two only where there is room for them."""
    left, right, top, bottom = letters
    inset = 0.06 / height
    places = [(0.015, 0.5, left, "left", "center"), (0.985, 0.5, right, "right", "center")]
    if height > 0.8:
        places += [(0.5, 1 - inset, top, "center", "top"), (0.5, inset, bottom, "center", "bottom")]
    for x, y, letter, ha, va in places:
        axes.text(x, y, letter, transform=axes.transAxes, color=INK, fontsize=12, ha=ha, va=va,
                  path_effects=[withStroke(linewidth=2, foreground=PAPER)])


def _draw_bar(figure, picture, scale, right, middle):
    """Draws the longest scale bar that takes no more than 35 % of the picture's width, if any does, below it."""
    length_mm = next((mm for mm in BARS_MM if mm <= 0.35 * picture.width_mm), None)
    if length_mm is None:
        return
    width, height = figure.get_size_inches()
    left = right - scale * length_mm
    figure.add_artist(Line2D([left / width, right / width], [middle / height] * 2, color=INK, linewidth=2.5,
                             solid_capstyle="butt"))
    figure.text((left - 0.06) / width, middle / height, BARS_MM[length_mm], color=INK, fontsize=9.5, ha="right",
                va="center_baseline")


def _write_title(figure, case_id, labels, truth):
    """The case at the left, volumes at the right; parse_math is off, since a file's name may hold a dollar."""
    width, height = figure.get_size_inches()
    y, left, right = 1 - 0.5 * TITLE / height, GAP / width, 1 - GAP / width
    name = case_id if len(case_id) <= 60 else f"{case_id[:40]}…{case_id[-19:]}"
    figure.text(left, y, name, color=INK, fontsize=16, weight="bold", va="center", parse_math=False)
    text = _volumes(labels) if truth is None else f"{_volumes(labels)}    (true: {_volumes(truth)})"
    figure.text(right, y, text, color=INK, fontsize=13, ha="right", va="center")


def _volumes(labels):
    ml = {value: np.count_nonzero(labels.voxels == value) * labels.voxel_ml for value in (KIDNEY, TUMOR)}
    return ", ".join(f"{CLASS_NAMES[value]} {volume:.1f} ml" for value, volume in ml.items())
