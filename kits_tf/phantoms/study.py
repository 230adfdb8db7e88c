"""Writes a study of synthetic cases in KiTS19's layout, with a summary.

    OUTPUT/case_00000/imaging.nii.gz and segmentation.nii.gz
    OUTPUT/study.json        per case: kind, spacing, kidney and tumor volume; phase of hard cases ("native" means
                             non-contrast); for whole-body phantoms also patient, kidneys, findings and scanner;
                             `drawn_with`, from which the next run sees that the case need not be drawn again
"""

import dataclasses
import json
import pathlib
import typing

import tqdm

import kits_tf
from kits_tf import labels
from kits_tf.errors import InputError
from kits_tf.files.atomic import write_text
from kits_tf.files.checksums import file_facts
from kits_tf.files.lock import only_writer
from kits_tf.files.own import check_own, is_own, staged
from kits_tf.phantoms.abdomen import Scanner, draw_abdomen, kind_of
from kits_tf.phantoms.anatomy import draw_around, find_anatomy
from kits_tf.phantoms.body.lesions import WITH_TUMOR
from kits_tf.phantoms.body.scan import draw_body
from kits_tf.phantoms.kidneys import CYCLE
from kits_tf.phantoms.tissues import hard_phase
from kits_tf.quiet import no_bar
from kits_tf.scans.nifti import read_labels, write_volume

SUMMARY = "study.json"
SCHEMA = 1  # of each case in study.json; raise it when a key goes or means something else


@dataclasses.dataclass(frozen=True)
class Drawn:
    """What is drawn, and over what it is written.

    Attributes:
        anatomy: folder with KiTS19's case_xxxxx/segmentation.nii.gz, whose kidneys and tumors are used in turn; None
            for synthetic kidneys and tumors.
        hard: make cases as hard as those with anatomy: contrast phases in turn, one case in four non-contrast.
        body: draw whole-body phantoms (kits_tf/phantoms/body); anatomy and hard do not apply.
        field_mm: range of the field of view of whole-body phantoms; None for about the body's width.
        tumor_share: share of the whole-body phantoms with kidneys that have a tumor.
        overwrite: whether to write over files that this program did not write (kits_tf.files.own).
    """

    anatomy: str | pathlib.Path | None = None
    hard: bool = False
    body: bool = False
    field_mm: tuple[float, float] | None = None
    tumor_share: float = WITH_TUMOR
    overwrite: bool = False


def write_study(output: str | pathlib.Path, cases: int, seed: int, scanner: Scanner, first: int = 0,
                **options: typing.Any) -> dict[str, dict]:
    """Writes cases `first` to `first + cases - 1`.

    A case depends on its index, the seed, the scanner and the anatomy, but not on the number of cases. Cases that an
    earlier run drew with the same settings are kept, so an interrupted command can be rerun. Other phantoms are
    overwritten, other cases never. Every case is either complete or absent.

    Args:
        output: folder, created if absent.
        cases: number of cases, one or more.
        seed: int, zero or more.
        scanner: a Scanner.
        first: index of the first case, zero or more.
        options: the fields of Drawn.

    Returns:
        All these cases as in study.json: a dict from case ID to a dict.

    Raises:
        InputError: if a number is out of range, the output folder cannot be created, the anatomy cannot be used, or a
            file is in the way that this program did not write. Nothing is written then.
    """
    for name, value, least in (("cases", cases, 1), ("seed", seed, 0), ("first", first, 0)):
        if value < least:
            raise InputError(f"--{name} must be {least} or more, got {value}")
    drawn, output = Drawn(**options), pathlib.Path(output)
    sources = find_anatomy(drawn.anatomy) if drawn.anatomy else None
    indices = range(first, first + cases)
    _check_free(output, [output / f"case_{index:05d}" for index in indices], sources, drawn)
    written = {}
    with only_writer(output):
        known = _read_summary(output)
        for index in tqdm.tqdm(indices, desc="drawing", unit="case", disable=no_bar()):
            source = sources[index % len(sources)] if sources else None
            case = f"case_{index:05d}"
            settings = _settings(seed, scanner, source, drawn)
            if _is_drawn(known.get(case), settings, output / case):
                written[case] = known[case]
                continue
            ct, label_volume, notes = _draw(index, seed, scanner, source, drawn)
            written[case] = {
                "schema": SCHEMA, "kits_tf_version": kits_tf.__version__, "drawn_with": settings,
                "seed": seed, "spacing_mm": list(ct.spacing_mm), "shape": list(ct.voxels.shape),
                "kidney_ml": _ml(label_volume, labels.KIDNEY), "tumor_ml": _ml(label_volume, labels.TUMOR), **notes,
            }
            with staged(output / case, drawn.overwrite) as folder:
                write_volume(folder / "imaging.nii.gz", ct)
                _write_summary(output, written, drawn)
                write_volume(folder / "segmentation.nii.gz", label_volume)  # last: it marks the case as complete
    return written


def _check_free(output, folders, sources, drawn):
    """Raises InputError if a case would replace the anatomy, or a folder that is no phantom."""
    targets = [folder / f"{name}.nii.gz" for folder in folders for name in ("imaging", "segmentation")]
    taken = {path.resolve() for path in sources or ()}
    if sources and (output.resolve() == pathlib.Path(drawn.anatomy).resolve()
                    or any(target.resolve() in taken for target in targets)):
        raise InputError(f"{output}: is the folder of --anatomy, whose files the phantoms would replace; choose "
                         f"another --output")
    others = [path for folder in folders for name in ("imaging.*", "segmentation.*") for path in folder.glob(name)]
    check_own([output / SUMMARY, *targets, *others], drawn.overwrite)


def _settings(seed, scanner, source, drawn):
    """Returns all that a case depends on except its index and the program's version, as JSON values."""
    if source:
        return {"seed": seed, "anatomy": file_facts(source)["sha256"]}
    return {"seed": seed, "size_voxels": scanner.size_voxels, "slice_mm": list(scanner.slice_mm), "hard": drawn.hard,
            "body": drawn.body, "field_mm": drawn.field_mm and list(drawn.field_mm), "tumor_share": drawn.tumor_share}


def _is_drawn(entry, settings, folder):
    """Returns whether a case exists there as this version of the program draws it."""
    paths = [folder / f"{name}.nii.gz" for name in ("imaging", "segmentation")]
    return (entry is not None and entry.get("kits_tf_version") == kits_tf.__version__
            and entry.get("drawn_with") == settings and all(path.is_file() and is_own(path) for path in paths))


def _phase(index, source):
    """Returns the phase of a hard case.

    Synthetic kinds repeat every twelve cases, a multiple of the number of phases; shifting each dozen by one gives
    every kind every phase.
    """
    return hard_phase(index if source else index + index // len(CYCLE))


def _draw(index, seed, scanner, source, drawn):
    """Returns (scan, labels, notes for study.json)."""
    if drawn.body:
        ct, label_volume, notes = draw_body((seed, index), scanner.size_voxels, scanner.slice_mm, drawn.field_mm,
                                             drawn.tumor_share)
        return ct, label_volume, {"kind": "body", **notes}
    phase = _phase(index, source) if source or drawn.hard else None
    notes = {"phase": phase.name} if phase else {}
    if source is None:
        kind = kind_of(index)
        return *draw_abdomen((seed, index), kind, scanner, phase), {"kind": kind, **notes}
    label_volume = read_labels(source)
    try:
        ct = draw_around(label_volume, (seed, index), phase)
    except ValueError as error:
        raise InputError(f"{source}: {error}") from error
    return ct, label_volume, {"kind": "anatomy", "anatomy": source.parent.name, **notes}


def _ml(label_volume, class_id):
    return round(float((label_volume.voxels == class_id).sum()) * label_volume.voxel_ml, 2)


def _read_summary(output):
    """Returns study.json as a dict; empty if there is none, or it cannot be read."""
    try:
        return dict(json.loads((output / SUMMARY).read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def _write_summary(output, written, drawn):
    """Adds cases to study.json; keeps the entries of earlier runs."""
    known = _read_summary(output)
    with staged(output, drawn.overwrite) as folder:
        write_text(folder / SUMMARY, json.dumps(dict(sorted((known | written).items())), indent=2) + "\n")
