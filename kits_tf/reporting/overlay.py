"""Draws an overlay picture: three planes through the finding, and a strip of axial slices below.

Takes a scan and its labels; writes a PNG. Planes are shown in radiological convention: the patient's right at the
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

warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # case names may use scripts without a font
WINDOW_HU = (-160.0, 240.0)  # the usual soft tissue window: level 40, width 400
STRIP_SLICES = 6
MARGIN_MM = 20.0  # margin around the foreground in the strip and in tall scans
TALL = 1.15  # scans taller than this many times their width are cropped around the foreground
BARS_MM = {50.0: "5 cm", 20.0: "2 cm", 10.0: "1 cm", 5.0: "5 mm", 1.0: "1 mm"}  # the longest that fits is drawn

PLANES = {  # axis of the cut, axes of the picture's rows and columns, letters at left, right, top and bottom
    "axial": (0, (1, 2), "RLAP"),
    "coronal": (1, (0, 2), "RLHF"),
    "sagittal": (2, (0, 1), "APHF"),
}
LINES: dict[str, dict] = {  # blue and orange are distinguishable with any color vision
    "kidney (with tumor)": {"color": "#56b4e9", "linewidth": 1.5},
    "tumor": {"color": "#ff8c1a", "linewidth": 1.7},
    "true kidney": {"color": "#ffffff", "linewidth": 0.8, "linestyle": (0, (5, 4))},
    "true tumor": {"color": "#fff04d", "linewidth": 0.9, "linestyle": (0, (5, 4))},
}
PAPER, INK, FAINT = "#101214", "#f2f2f2", "#a4abb3"
WIDTH, TALLEST_ROW, TALLEST_STRIP = 14.0, 8.0, 2.6  # inches, like all lengths in the figure below
GAP, TITLE, CAPTION, LEGEND = 0.14, 0.6, 0.32, 0.45
DPI = 100


def draw_overlay(path: str | pathlib.Path, ct: Volume, labels: Volume, case_id: str,
                 truth: Volume | None = None) -> None:
    """Draws labels over a scan and writes a PNG. The file appears complete or not at all.

    The planes go through the widest cross-sections of the labels' largest tumor; without one, of the truth's largest
    tumor; without tumors, of the kidneys; without any foreground, through the middle of the scan.

    Args:
        path: the .png file.
        ct: Volume in Hounsfield units, in the canonical orientation.
        labels: Volume of class ids, on the scan's grid; may be empty.
        case_id: the title.
        truth: Volume of true class ids to compare with, drawn thin and dashed; or None.

    Raises:
        ValueError: if the shapes differ.
    """
    for other in (labels, truth):
        if other is not None and other.voxels.shape != ct.voxels.shape:
            raise ValueError(f"labels must have the scan's shape {ct.voxels.shape}, got {other.voxels.shape}")
    masks = _masks_by_line(labels, truth)
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


def _masks_by_line(labels: Volume, truth: Volume | None = None) -> dict[str, tuple[np.ndarray, Callable]]:
    """Returns the source of each outline in LINES.

    Masks are computed later, for the visible slices only: a mask of a long scan takes a quarter of a gigabyte.

    Returns:
        dict from the line's name to (array of class ids, function from class ids to the mask).
    """
    volumes = [other.voxels for other in (labels, truth) if other is not None]
    return dict(zip(LINES, ((voxels, classes) for voxels in volumes for classes in (foreground, tumor)), strict=False))


def _cut(volumes, box):
    """Applies cut_through to arrays of class ids, inside the box that holds their foreground."""
    if box is None:
        return tuple(size // 2 for size in volumes[0].shape)
    inside = cut_through([(foreground(voxels[box]), tumor(voxels[box])) for voxels in volumes])
    return tuple(block.start + index for block, index in zip(box, inside, strict=True))


def cut_through(regions: list[tuple[np.ndarray, np.ndarray]]) -> tuple[int, ...]:
    """Finds the voxel (z, y, x) whose three planes show most of the finding.

    Args:
        regions: list of (kidney with tumor, tumor) bool arrays (z, y, x), the labels' before the truth's.

    Returns:
        Index (z, y, x): along each axis the largest cross-section of the first non-empty of: the labels' largest tumor,
        the truth's largest tumor, the labels' kidneys, the truth's kidneys. The array's middle if all are empty.
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
    """Returns a mask's outlines, halfway between voxel centers. They are closed even at the picture's edge.

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
        voxel_mm: (height, width) of a voxel, in mm.
        lines: dict from the name of each mask to its outlines, in voxels of the plane.
        letters: orientation letters at left, right, top and bottom.
        caption: the text below the picture.
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
    """Cuts a plane out of the scan. `view` has a slice per axis; the one of the cut axis is not used."""
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
    """Returns axial, coronal and sagittal pictures through a voxel; tall scans are cropped around the foreground."""
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
    """Returns evenly spaced axial pictures through the foreground, cropped to it; of the whole scan if it is empty."""
    shape = ct.voxels.shape
    if box is None:
        box = tuple(slice(0, size) for size in shape)
    view = [_grown(block, size, round(MARGIN_MM / mm)) for block, size, mm in zip(box, shape, ct.spacing_mm,
                                                                                  strict=True)]
    edges = np.linspace(box[0].start, box[0].stop, STRIP_SLICES + 1)
    slices = sorted({int(middle) for middle in (edges[:-1] + edges[1:]) / 2})
    return [_picture(ct, masks, "axial", z, view, f"slice {z + 1}") for z in slices]


def _scale(pictures, width_mm, tallest, places=None):
    """Returns inches per mm, so that a row of pictures fills the figure's width but is not taller than `tallest`."""
    room = WIDTH - GAP * (1 + (places or len(pictures)))
    return min(room / width_mm, tallest / max(picture.height_mm for picture in pictures))


def _place(figure, pictures, scale, middle, lettered=False):
    """Draws a row of pictures, centered horizontally; `middle` is its center's height above the figure's bottom."""
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
    """Writes the orientation letters at left, right, top and bottom; the last two only if there is room."""
    left, right, top, bottom = letters
    inset = 0.06 / height
    places = [(0.015, 0.5, left, "left", "center"), (0.985, 0.5, right, "right", "center")]
    if height > 0.8:
        places += [(0.5, 1 - inset, top, "center", "top"), (0.5, inset, bottom, "center", "bottom")]
    for x, y, letter, ha, va in places:
        axes.text(x, y, letter, transform=axes.transAxes, color=INK, fontsize=12, ha=ha, va=va,
                  path_effects=[withStroke(linewidth=2, foreground=PAPER)])


def _draw_bar(figure, picture, scale, right, middle):
    """Draws the longest scale bar of at most 35 % of the picture's width below it; none if no bar fits."""
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
    """Writes the case at the left, volumes at the right. parse_math is off, since a file name may contain a dollar."""
    width, height = figure.get_size_inches()
    y, left, right = 1 - 0.5 * TITLE / height, GAP / width, 1 - GAP / width
    name = case_id if len(case_id) <= 60 else f"{case_id[:40]}…{case_id[-19:]}"
    figure.text(left, y, name, color=INK, fontsize=16, weight="bold", va="center", parse_math=False)
    text = _volumes(labels) if truth is None else f"{_volumes(labels)}    (true: {_volumes(truth)})"
    figure.text(right, y, text, color=INK, fontsize=13, ha="right", va="center")


def _volumes(labels):
    ml = {value: np.count_nonzero(labels.voxels == value) * labels.voxel_ml for value in (KIDNEY, TUMOR)}
    return ", ".join(f"{CLASS_NAMES[value]} {volume:.1f} ml" for value, volume in ml.items())
