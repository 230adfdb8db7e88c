"""Writes a study of synthetic cases in KiTS19's layout, with a summary.

    OUTPUT/case_00000/imaging.nii.gz and segmentation.nii.gz
    OUTPUT/study.json        per case: kind, spacing, kidney and tumor volume; phase of hard cases ("native" means
                             non-contrast); for whole-body phantoms also patient, kidneys, findings and scanner
"""

import json
import pathlib

import tqdm

from kits_tf import labels
from kits_tf.errors import InputError
from kits_tf.files.atomic import write_text
from kits_tf.phantoms.abdomen import Scanner, draw_abdomen, kind_of
from kits_tf.phantoms.anatomy import draw_around, find_anatomy
from kits_tf.phantoms.body.scan import draw_body
from kits_tf.phantoms.kidneys import CYCLE
from kits_tf.phantoms.tissues import hard_phase
from kits_tf.quiet import no_bar
from kits_tf.scans.nifti import read_labels, write_volume


def write_study(output: str | pathlib.Path, cases: int, seed: int, scanner: Scanner, first: int = 0,
                anatomy: str | pathlib.Path | None = None, hard: bool = False, body: bool = False,
                field_mm: tuple[float, float] | None = None) -> dict[str, dict]:
    """Writes cases `first` to `first + cases - 1`.

    A case depends on its index, the seed, the scanner and the anatomy, but not on the number of cases. Existing cases
    are overwritten. Every file is either complete or absent.

    Args:
        output: folder, created if absent.
        cases: number of cases, one or more.
        seed: int, zero or more.
        scanner: a Scanner.
        first: index of the first case, zero or more.
        anatomy: folder with KiTS19's case_xxxxx/segmentation.nii.gz, whose kidneys and tumors are used in turn;
            None for synthetic kidneys and tumors.
        hard: make cases as hard as those with anatomy: contrast phases in turn, one case in four non-contrast.
        body: draw whole-body phantoms (kits_tf/phantoms/body); anatomy and hard do not apply.
        field_mm: range of the field of view of whole-body phantoms; None for about the body's width.

    Returns:
        The written cases as in study.json: a dict from case ID to a dict.

    Raises:
        InputError: if a number is out of range, the output folder cannot be created, or the anatomy cannot be used.
    """
    for name, value, least in (("cases", cases, 1), ("seed", seed, 0), ("first", first, 0)):
        if value < least:
            raise InputError(f"--{name} must be {least} or more, got {value}")
    sources = find_anatomy(anatomy) if anatomy else None
    output = pathlib.Path(output)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{output}: cannot be created ({error.strerror}); choose another --output") from error
    written = {}
    for index in tqdm.tqdm(range(first, first + cases), desc="drawing", unit="case", disable=no_bar()):
        source = sources[index % len(sources)] if sources else None
        notes: dict = {}
        if body:
            ct, label_volume, notes = draw_body((seed, index), scanner.size_voxels, scanner.slice_mm, field_mm)
            kind = "body"
        else:
            ct, label_volume, kind = _draw(index, seed, scanner, source, hard)
        case = f"case_{index:05d}"
        write_volume(output / case / "imaging.nii.gz", ct)
        written[case] = {
            "kind": kind, "seed": seed, "spacing_mm": list(ct.spacing_mm), "shape": list(ct.voxels.shape),
            "kidney_ml": _ml(label_volume, labels.KIDNEY), "tumor_ml": _ml(label_volume, labels.TUMOR), **notes,
        }
        if source:
            written[case]["anatomy"] = source.parent.name
        if (source or hard) and not body:
            written[case]["phase"] = _phase(index, source).name
        _write_summary(output / "study.json", written)
        write_volume(output / case / "segmentation.nii.gz", label_volume)  # last: it marks the case as complete
    return written


def _phase(index, source):
    """Returns the phase of a hard case.

    Synthetic kinds repeat every twelve cases, a multiple of the number of phases; shifting each dozen by one gives
    every kind every phase.
    """
    return hard_phase(index if source else index + index // len(CYCLE))


def _draw(index, seed, scanner, source, hard):
    if source is None:
        kind = kind_of(index)
        return *draw_abdomen((seed, index), kind, scanner, _phase(index, source) if hard else None), kind
    label_volume = read_labels(source)
    try:
        return draw_around(label_volume, (seed, index), _phase(index, source)), label_volume, "anatomy"
    except ValueError as error:
        raise InputError(f"{source}: {error}") from error


def _ml(label_volume, class_id):
    return round(float((label_volume.voxels == class_id).sum()) * label_volume.voxel_ml, 2)


def _write_summary(path, written):
    """Adds cases to study.json; keeps the entries of earlier runs, unless the file cannot be read."""
    try:
        known = dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        known = {}
    write_text(path, json.dumps(dict(sorted((known | written).items())), indent=2) + "\n")
