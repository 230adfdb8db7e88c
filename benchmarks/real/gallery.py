"""Draws one picture per scan that shows missed and false kidney.

Takes scan, labels and reference; writes a PNG of nine panels: a coronal projection of the whole scan, and axial slices,
half of them spread over the kidneys and half with the largest errors. Slices are counted from 0 at the feet, as in
scans.csv. The patient's right is at the picture's left. A single slice with a tumor gets three panels per kidney.
"""

import io
import pathlib

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benchmarks.real import slices
from kits_tf.box import common_box
from kits_tf.files.atomic import write_bytes
from kits_tf.labels import foreground, tumor
from kits_tf.reporting.overlay import FAINT, INK, PAPER, WINDOW_HU, outlines
from kits_tf.volume import BODY_HU, Volume

SLICES, PANELS_WIDE = 8, 3
PROJECTION = "coronal projection"
WIDTH, DPI = 15.0, 100  # inches
PREDICTED, REFERENCE, TUMOR, MISSED, FALSE = "#56b4e9", "#ffffff", "#ff3df2", "#e8590c", "#f0e442"
FILLED = 0.45  # opacity
LINES = {"prediction": {"color": PREDICTED, "linewidth": 1.4}, "called tumor": {"color": TUMOR, "linewidth": 1.4},
         "reference": {"color": REFERENCE, "linewidth": 0.9, "linestyle": (0, (5, 3))}}


def slices_to_show(outlined: np.ndarray, wrong: np.ndarray, count: int = SLICES) -> list[int]:
    """Chooses the slices to show.

    Args:
        outlined: number of pixels in any outline, per slice; if all are 0, slices are spread over the whole scan.
        wrong: number of pixels that differ from the reference, per slice.
        count: number of slices; fewer if the scan has fewer.

    Returns:
        Sorted slice numbers. Half are spread evenly over the slices with outlines. The others have the largest errors
        and are not adjacent, as long as other slices with errors are left.
    """
    there = np.flatnonzero(outlined)
    first, last = (there[0], there[-1]) if there.size else (0, len(outlined) - 1)

    def spread(number):
        return [int(place) for place in np.rint(np.linspace(first, last, number + 2)[1:-1])]

    chosen = set(spread(count // 2 if wrong.any() else count))
    for apart in (max(2, (last - first) // count), 1):
        for place in np.argsort(-wrong, kind="stable"):
            near = any(abs(int(place) - other) < apart for other in chosen)
            if len(chosen) < count and wrong[place] and not near:
                chosen.add(int(place))
    for place in spread(min(len(outlined), 4 * count)) + list(range(len(outlined))):
        if len(chosen) < count:
            chosen.add(place)
    return sorted(chosen)


def draw(path: str | pathlib.Path, ct: Volume, labels: Volume, reference: np.ndarray | None, title: str,
         remark: str = "") -> None:
    """Draws one scan and writes a PNG. The file appears complete or not at all.

    Args:
        path: the .png file.
        ct: Volume in Hounsfield units.
        labels: Volume of class ids, on the scan's grid.
        reference: bool (z, y, x), the kidneys; None if unknown: then only tumor counts as an error.
        title, remark: the lines at the top and at the bottom of the picture.
    """
    predicted, lesions = foreground(labels.voxels), tumor(labels.voxels)
    true = predicted if reference is None else reference
    wrong = (predicted ^ true) | lesions
    shown = slices_to_show((predicted | true).sum(axis=(1, 2)), wrong.sum(axis=(1, 2)))
    box = common_box(ct.voxels > BODY_HU) or tuple(slice(0, size) for size in ct.voxels.shape)
    view, depth = (slice(None), *box[1:]), ct.voxels.shape[0]

    def cut(mask, take):
        return None if mask is None else take(mask)

    panels = []
    for name, take, voxel_mm in [
            (PROJECTION, lambda mask: mask[view].any(axis=1), (ct.spacing_mm[0], ct.spacing_mm[2])),
            *((f"slice {depth - 1 - z} from the feet", lambda mask, z=z: mask[z][view[1:]], ct.spacing_mm[1:])
              for z in shown)]:
        image = _projection(ct.voxels[view]) if name == PROJECTION else take(ct.voxels)
        masks = {"prediction": take(predicted), "called tumor": take(lesions), "reference": cut(reference, take)}
        panels.append((name, image, masks, voxel_mm))
    _write(path, panels, title, remark)


def draw_crop(path: str | pathlib.Path, one: slices.Crop, found: slices.Answers, pixel_mm: tuple[float, float],
              title: str) -> None:
    """Draws the nets' results for one kidney of a slice: its outline, its tumor given the true kidney, and its tumor
    given fine's kidney.

    Args:
        path: the .png file. Pictures of KiTS19's slices may not be published.
        one, found: as in slices.score.
        pixel_mm: size of a normalized pixel.
        title: the line at the top.
    """
    view = (0, *common_box(found.looked)[1:])
    low, high = WINDOW_HU
    image = low + (high - low) * one.image.numpy()[view]
    panels = [(name, image, {"prediction": mask[view], "called tumor": None, "reference": true[view]}, pixel_mm)
              for name, mask, true in (("kidney by fine", found.fine, foreground(one.labels)),
                                       ("tumor, true kidney given", found.by_true, tumor(one.labels)),
                                       ("tumor, fine's kidney given", found.by_fine, tumor(one.labels)))]
    _write(path, panels, title, "")


def _projection(hu):
    """Returns means along y, stretched to the slices' display window."""
    means = np.clip(hu, *WINDOW_HU).mean(axis=1)
    darkest, brightest = np.percentile(means, (2, 99.5))
    return np.interp(means, (darkest, max(brightest, darkest + 1)), WINDOW_HU)


def _write(path, panels, title, remark):
    rows = -(-len(panels) // PANELS_WIDE)
    wide = max(image.shape[1] * mm[1] for _, image, _, mm in panels)
    heights = [max(image.shape[0] * mm[0] for _, image, _, mm in panels[row * PANELS_WIDE:(row + 1) * PANELS_WIDE])
               for row in range(rows)]
    scale = (WIDTH / PANELS_WIDE - 0.1) / max(wide, max(heights) / 1.3)
    height = sum(heights) * scale + 0.3 * rows + 1.35
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor=PAPER)
    canvas = FigureCanvasAgg(figure)
    figure.text(0.01, 1 - 0.3 / height, title, color=INK, fontsize=13, weight="bold", va="center", parse_math=False)
    figure.text(0.01, 0.52 / height, remark[:220], color=FAINT, fontsize=9, va="center", parse_math=False)
    top = height - 0.6
    for index, (name, image, masks, voxel_mm) in enumerate(panels):
        row, column = divmod(index, PANELS_WIDE)
        size = (image.shape[1] * voxel_mm[1] * scale, image.shape[0] * voxel_mm[0] * scale)
        bottom = top - sum(heights[:row]) * scale - 0.3 * row - size[1]
        axes = figure.add_axes((column / PANELS_WIDE + 0.003, bottom / height, size[0] / WIDTH, size[1] / height))
        _draw(axes, image, masks)
        figure.text(column / PANELS_WIDE + 0.003, (bottom - 0.05) / height, name, color=FAINT, fontsize=9.5, va="top")
    handles = [Line2D([], [], label=name, **style) for name, style in LINES.items()]
    handles += [Patch(color=color, alpha=FILLED, label=name) for name, color in (("missed", MISSED), ("false", FALSE))]
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), frameon=False, labelcolor=INK, fontsize=11,
                  borderaxespad=0.3)
    png = io.BytesIO()
    canvas.print_png(png)
    write_bytes(path, png.getvalue())


def _draw(axes, image, masks):
    axes.imshow(image, cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1], aspect="auto", interpolation="bilinear")
    reference = masks["reference"]
    if reference is not None:
        for mask, color in ((reference & ~masks["prediction"], MISSED), (masks["prediction"] & ~reference, FALSE)):
            rgba = np.zeros((*mask.shape, 4))
            rgba[mask] = [*(int(color[place:place + 2], 16) / 255 for place in (1, 3, 5)), FILLED]
            axes.imshow(rgba, aspect="auto", interpolation="nearest")
    for name, style in LINES.items():
        if masks[name] is not None:
            axes.add_collection(LineCollection(outlines(masks[name]), **{f"{key}s": value for key, value in
                                                                        style.items()}), autolim=False)
    axes.set_axis_off()
