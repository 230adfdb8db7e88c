"""Names and colors of the labels for other programs: labels.ctbl for 3D Slicer, labels.txt for ITK-SNAP.

The colors are those of the overlays.
"""

import pathlib
from collections.abc import Sequence

from kits_tf.files.atomic import write_text
from kits_tf.labels import BACKGROUND, CLASS_NAMES, KIDNEY, TUMOR
from kits_tf.reporting.overlay import LINES

COLORS = {BACKGROUND: "#000000", KIDNEY: LINES["kidney (with tumor)"]["color"], TUMOR: LINES["tumor"]["color"]}
SNAP_HEAD = """\
################################################
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
# Fields:
#    IDX:   Zero-based index
#    -R-:   Red color component (0..255)
#    -G-:   Green color component (0..255)
#    -B-:   Blue color component (0..255)
#    -A-:   Label transparency (0.00 .. 1.00)
#    VIS:   Label visibility (0 or 1)
#    MSH:   Label mesh visibility (0 or 1)
#  LABEL:   Label description
################################################
"""


def slicer_table(values: Sequence[int]) -> str:
    """Returns a color table of 3D Slicer: per line value, name, red, green, blue and opacity, 0 to 255.

    Args:
        values: the value of background, kidney and tumor in the label files.
    """
    lines = [f"{value} {CLASS_NAMES[class_id]} {' '.join(map(str, _rgb(class_id)))} {255 if class_id else 0}"
             for class_id, value in enumerate(values)]
    return "\n".join(["# Color table file labels.ctbl", f"# {len(lines)} values", *lines, ""])


def snap_labels(values: Sequence[int]) -> str:
    """Returns a label description file of ITK-SNAP. Args as slicer_table."""
    lines = []
    for class_id, value in enumerate(values):
        red, green, blue = _rgb(class_id)
        shown, name = int(class_id > 0), CLASS_NAMES[class_id] if class_id else "Clear Label"
        lines.append(f'{value:5d} {red:5d} {green:4d} {blue:4d} {shown:8d} {shown:2d} {shown:2d}    "{name}"')
    return SNAP_HEAD + "\n".join([*lines, ""])


def _rgb(class_id):
    return tuple(bytes.fromhex(COLORS[class_id][1:]))


WRITERS = {"labels.ctbl": slicer_table, "labels.txt": snap_labels}


def write(folder: str | pathlib.Path, values: Sequence[int]) -> None:
    """Writes the files of WRITERS into a folder, atomically. `values` as of slicer_table."""
    for name, make in WRITERS.items():
        write_text(pathlib.Path(folder) / name, make(values))
