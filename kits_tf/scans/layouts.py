"""Recognizes how a data set is laid out, and lists its cases: their scans, their ground truth and what its values mean.

    kits19     case_xxxxx/imaging.nii.gz and segmentation.nii.gz
    kits21     case_xxxxx/imaging.nii.gz and aggregated_MAJ_seg.nii.gz
    kits23     as kits19, with a folder `instances` in each case; label 3 is cyst
    nnunet     imagesTr/x_0000.nii.gz, labelsTr/x.nii.gz, dataset.json of either version
    decathlon  imagesTr/x.nii.gz, labelsTr/x.nii.gz, dataset.json with the pairs
    pairs      x.nii.gz and x_seg.nii.gz in one folder, or images/x.nii.gz and labels/x.nii.gz
    csv        a table with the columns case, image and label
    scans      files or DICOM series without labels (discovery.py)

No other module knows these layouts. Files are not opened, except dataset.json and the table.
"""

import contextlib
import csv
import dataclasses
import io
import pathlib
import re
import typing
from collections.abc import Callable

from absl import flags

from kits_tf.errors import InputError, few, one_line
from kits_tf.quiet import warn
from kits_tf.scans import label_map
from kits_tf.scans.discovery import (
    PREFIX,
    SCANS,
    SEGMENTATION,
    ZIP,
    Case,
    check_name,
    find_scans,
    find_study,
    series_below,
    stem,
    with_plain_name,
)
from kits_tf.scans.label_map import KITS19, KITS23, LabelMap

TITLES = {"kits19": "a study in KiTS19's layout", "kits21": "KiTS21", "kits23": "KiTS23",
          "nnunet": "an nnU-Net data set", "decathlon": "a data set of the Medical Segmentation Decathlon",
          "pairs": "pairs of scan and labels", "csv": "a table of cases", "scans": "scans without labels"}
MAJORITY = "aggregated_MAJ_seg"  # KiTS21's majority vote of its annotators
INSTANCES = "instances"  # a folder in KiTS23's cases
DOWNLOADS = ("dataset", "data")  # where the repositories of KiTS keep their cases
DATASET = "dataset.json"
FOLDERS = (("imagesTr", "labelsTr"), ("imagesTs", "labelsTs"))
CHANNEL = re.compile(r"(.+)_(\d{4})")  # nnU-Net's name of an image: case and channel
FIRST = "_0000"  # the ending of the first channel
TABLE = "a table: case,image,label"
LABEL_WORDS = "segmentations?|seg|labels?|masks?|gt|annotations?"
IMAGE_WORDS = "imaging|images?|img|volumes?|vol|scans?|ct|0000"
COLUMNS = ("case", "image", "label")
SOME = 3  # cases in which the folder `instances` is looked for


@dataclasses.dataclass(frozen=True)
class DataSet:
    """A data set as a user names it.

    Attributes:
        path: a file or a folder.
        layout: a key of TITLES, or "auto" to recognize it.
        labels: the meaning of label values; None for what the layout says.
    """

    path: str | pathlib.Path
    layout: str = "auto"
    labels: LabelMap | None = None

    @classmethod
    def of(cls, given: "Given", path: Callable[[str | pathlib.Path], pathlib.Path] = pathlib.Path) -> typing.Self:
        """Returns a path or a data set as a data set; `path` is applied to its path, as cluster.Place.path."""
        known = given if isinstance(given, cls) else cls(typing.cast(str | pathlib.Path, given))
        return dataclasses.replace(known, path=path(known.path))


Given = str | pathlib.Path | DataSet


@dataclasses.dataclass(frozen=True)
class Found:
    """The cases of a data set.

    Attributes:
        layout: a key of TITLES.
        cases: its cases, sorted by name. Of an incomplete case the file that is missing is named, for the reader to
            refuse.
        summary: one line with the layout, the number of cases and the label values; empty for a single scan.
    """

    layout: str
    cases: list[Case]
    summary: str


def define_flags(labels: str = "labels") -> None:
    """Defines the flags --layout and --labels; the latter under another name where that is taken."""
    flags.DEFINE_enum("layout", "auto", ["auto", *TITLES], "how the data set is laid out; auto: recognize it")
    flags.DEFINE_string(labels, None, "meaning of the values in label files, such as kidney:1,tumor:2,cyst:3; default: "
                        "as dataset.json says, or kidney:1,tumor:2, in KiTS21 and KiTS23 also cyst:3; cysts become "
                        "kidney")


def from_flags(path: str, labels: str = "labels") -> DataSet:
    """Returns the data set at a path as --layout and the flag `labels` describe it."""
    meaning = flags.FLAGS[labels].value
    return DataSet(path, flags.FLAGS.layout, label_map.parse(meaning, f"--{labels}") if meaning else None)


def find_cases(given: Given, labeled: bool = False) -> Found:
    """Finds the cases of a data set.

    Args:
        given: the data set, or its path alone.
        labeled: whether ground truth is needed, and cases that are not meant to have any are left out.

    Raises:
        InputError: if there is no case, it is unclear which layout it is or which labels belong to which scan, two
            cases have one name, or labels are needed and not understood.
    """
    data, study = DataSet.of(given), None
    place, layout, labels = pathlib.Path(data.path), data.layout, data.labels
    if layout == "auto":
        place, layout, study = _recognize(place)
    if layout == "csv":
        cases = _table(place, labels or KITS19)
    elif layout in ("nnunet", "decathlon"):
        cases = _dataset(place, layout, labels, labeled)
    elif layout == "pairs":
        cases = _pairs(place, labels or KITS19)
    elif layout == "scans":
        cases = find_scans(place, study=[])
    else:
        study = find_study(place, MAJORITY if layout == "kits21" else SEGMENTATION) if study is None else study
        known = labels or (KITS19 if layout == "kits19" else KITS23)
        cases = [dataclasses.replace(case, labels=known) for case in study]
        cases = cases if labeled or not cases else find_scans(place, study=cases)
    if not cases:
        raise InputError(f"{place}: contains no case of {TITLES[layout]}; leave out --layout to have it recognized")
    _check_unique(place, cases)
    return Found(layout, cases, _summary(place, layout, cases) if place.is_dir() or layout == "csv" else "")


def find_truths(given: Given) -> Found:
    """Finds ground truth alone, in any layout or as a folder of label files named by case.

    Arg and errors as find_cases. The files of nnU-Net's labelsTr have the meaning that the dataset.json beside says.
    """
    data = DataSet.of(given)
    path, labels = pathlib.Path(data.path), data.labels
    layout = _recognize(path)[1] if data.layout == "auto" else data.layout
    if layout != "scans":
        found = find_cases(data, labeled=True)
        return dataclasses.replace(found, cases=[case for case in found.cases if case.segmentation])
    beside = path.parent / DATASET
    if labels is None and path.name.startswith("labels") and beside.is_file():
        labels = label_map.from_dataset(beside, label_map.read_dataset(beside))
    files = volume_files(path)
    cases = [Case(stem(file), file, file, labels=labels or KITS19) for file in files]
    return Found(layout, cases, f"{path}: taken as a folder of labels: {_counted(cases)}")


def _summary(path, layout, cases):
    labeled = [case for case in cases if case.segmentation]
    text = f"{path}: taken as {TITLES[layout]}: {_counted(cases)}"
    if not labeled:
        return text
    known = labeled[0].labels
    return (f"{text}, {len(labeled)} with labels ({known}" + "; cysts become kidney" * known.has_cysts + ")")


def _counted(cases):
    return f"{len(cases)} case{'s' if len(cases) != 1 else ''}"


def _check_unique(path, cases):
    seen: dict[str, Case] = {}
    for case in cases:
        other = seen.setdefault(case.short_name, case)
        if other is not case:
            one, two = (each.segmentation or each.imaging for each in (other, case))
            raise InputError(f"{path}: {one} and {two} are both named {case.short_name}; rename one, or name the cases "
                             f"in {TABLE}")


def _recognize(path):
    """Returns (folder or file, layout, the cases of a study of KiTS or None)."""
    if not path.is_dir():
        return path, "csv" if path.name.lower().endswith(".csv") and path.is_file() else "scans", None
    found = _kits(path) | dict.fromkeys(_task(path))
    found = found or dict.fromkeys(_loose(path))
    if len(found) > 1:
        raise InputError(f"{path}: looks like {' and like '.join(TITLES[layout] for layout in found)}; say which it "
                         f"is: --layout={' or --layout='.join(found)}")
    if found:
        return path, *next(iter(found.items()))
    below = {path / name: _kits(path / name) for name in DOWNLOADS if (path / name).is_dir()}
    below = {folder: editions for folder, editions in below.items() if editions}
    if len(below) == 1:
        folder, editions = next(iter(below.items()))
        return (folder, *next(iter(editions.items()))) if len(editions) == 1 else _recognize(folder)
    inside = [child.name for child in _subfolders(path) if _task(child)]
    if inside:
        raise InputError(f"{path}: holds {len(inside)} data set{'s' if len(inside) > 1 else ''} of nnU-Net or the "
                         f"Decathlon, {few(inside)}; give the folder of one")
    return path, "scans", None


def _subfolders(path):
    try:
        return [child for child in sorted(path.iterdir()) if child.is_dir()]
    except OSError:
        return []


def _kits(path):
    """Returns {edition of KiTS: cases} of a study; with two editions if it may be either."""
    study, found = find_study(path), {}
    labeled = [case for case in study if case.segmentation]
    may_be_voted = not labeled or len(labeled) < len(study) or _has(path / labeled[0].name, MAJORITY)
    voted = find_study(path, MAJORITY) if may_be_voted else []
    voted = voted if any(case.segmentation for case in voted) else []
    if labeled or (study and not voted):
        has_instances = any((path / case.name / INSTANCES).is_dir() for case in labeled[:SOME])
        found["kits23" if has_instances else "kits19"] = study
    return found | ({"kits21": voted} if voted else {})


def _task(path):
    """Returns a list with "nnunet" or "decathlon" for a folder with imagesTr or imagesTs, else an empty list.

    nnU-Net's images have the number of their channel in their names, and its labels do not. Without such folders, a
    dataset.json may list the files.
    """
    images = {stem(file) for folder, _ in FOLDERS for file in volume_files(path / folder)}
    truths = {stem(file) for _, folder in FOLDERS for file in volume_files(path / folder)}
    if not images and not any((path / folder).is_dir() for folder, _ in FOLDERS):
        with contextlib.suppress(InputError):  # another program's file of that name
            return ["nnunet"] * ((path / DATASET).is_file() and "dataset" in label_map.read_dataset(path / DATASET))
        return []
    channels = {name for name in images if CHANNEL.fullmatch(name)}
    named = {CHANNEL.sub(r"\1", name) for name in channels}
    by_channel = bool(named & truths) if truths else any(name.endswith(FIRST) for name in images)
    return ["nnunet" if by_channel and not channels & truths else "decathlon"]


def _has(folder, name):
    return any((folder / f"{name}{ending}").exists() for ending in (".nii.gz", ".nii"))


def _loose(path):
    """Returns a list with "pairs" if a folder has any, and with "scans" if it has DICOM series too.

    A folder whose scans all end in _0000 is one of nnU-Net's folders of images.
    """
    if (path / "images").is_dir() and (path / "labels").is_dir():
        return ["pairs"]
    scans = [file for file in volume_files(path) if not file.name.startswith(PREFIX)]
    if scans and all(stem(file).endswith(FIRST) and CHANNEL.fullmatch(stem(file)) for file in scans):
        return ["nnunet"]
    try:
        paired = any(case.segmentation for case in _pairs(path, KITS19, hushed=True))
    except InputError:  # it is unclear which labels belong to which scan; reading it as pairs says so
        paired = True
    return ["pairs", *["scans"] * bool(series_below(path))] if paired else []


def volume_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the files of scans or labels in a folder, sorted, broken links included; [] if there is no such folder.

    Hidden files, such as the ._* files of a Mac, are left out.

    Raises:
        InputError: if the folder cannot be read.
    """
    try:
        return [file for file in sorted(folder.iterdir())
                if file.name.lower().endswith(SCANS) and not file.name.startswith(".")]
    except OSError as error:
        if not folder.exists():
            return []
        raise InputError(f"{folder}: cannot be read ({error.strerror})") from error


def _named(path, cases):
    """Returns the cases sorted by name; a case whose name cannot be a file's is for the reader to refuse."""
    return sorted((with_plain_name(case, path) for case in cases), key=lambda case: case.name)


def _dataset(path, layout, labels, labeled):
    """Returns the cases of a folder with imagesTr and labelsTr, and without `labeled` of imagesTs.

    A folder of images alone may be given too, beside which the others are.
    """
    folders = [(path / images, path / truths) for images, truths in FOLDERS]
    if not (path / DATASET).is_file() and not any(images.is_dir() for images, _ in folders):
        folders = [(path, path.parent / dict(FOLDERS).get(path.name, FOLDERS[0][1]))]
        path = path.parent
    file = path / DATASET
    known = label_map.read_dataset(file) if file.is_file() else {}
    usable = True
    try:
        labels = labels or (label_map.from_dataset(file, known) if known else KITS19)
    except InputError as error:
        if labeled:
            raise
        usable = False
        if any(truths.is_dir() for _, truths in folders):
            warn(f"{error}; without it, ground truth is not used")
    listed = _listed(path, layout, known) if len(folders) > 1 else None
    if listed is None:
        one_of = _by_channel if layout == "nnunet" else _by_name
        listed = []
        for images, truths in folders[:1 if labeled else 2]:
            listed += one_of(images, truths)
            if len(folders) > 1:  # a folder of images given alone may be a part of them
                _warn_of_lone(truths, listed)
    else:
        there = {image for _, image, _ in listed}
        left = [image.name for image in volume_files(folders[0][0]) if image not in there]
        if left:
            warn(f"{file}: does not list {few(left)} of {folders[0][0].name}; left out")
        listed += [] if labeled else [(_plain(name, layout), path / name, None) for name in _texts(known.get("test"))]
    return _named(path, [Case(name, image, truth if usable else None, labels=labels or KITS19)
                         for name, image, truth in listed])


def _plain(name, layout):
    """Returns the case's name of an image in a dataset.json."""
    name = stem(pathlib.PurePosixPath(name).name)
    return name.removesuffix(FIRST) if layout == "nnunet" else name


def _texts(values):
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []


def _listed(path, layout, known):
    """Returns the (name, image, label) that a dataset.json lists, or None if files must be looked for.

    The Decathlon lists pairs under `training`. nnU-Net's first version does too, but without the _0000 of its images;
    its second may name files in any folder under `dataset`.
    """
    file = path / DATASET
    try:
        if isinstance(known.get("dataset"), dict):
            entries = [(name, list(one["images"]), one["label"]) for name, one in known["dataset"].items()]
            several = [name for name, images, _ in entries if len(images) != 1]
            if several:
                raise InputError(_channels(file, several))
            return [(name, path / images[0], path / label) for name, images, label in entries]
        entries = [(_plain(one["image"], layout), path / one["image"], path / one["label"])
                   for one in known.get("training", [])]
    except (TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{file}: its list of cases is not understood ({error}); expected pairs of image and label"
                         ) from error
    return entries if entries and any(image.exists() for _, image, _ in entries) else None


def _channels(path, cases):
    return f"{path}: has several images per case, as of {few(cases)}; the nets take one CT: list the CTs in {TABLE}"


def _by_channel(images, truths):
    """Returns the (name, image, label) of nnU-Net's folders; the label is None without a folder of labels."""
    found: dict[str, list] = {}
    for file in volume_files(images):
        channel = CHANNEL.fullmatch(stem(file))
        if not channel:
            raise InputError(f"{file}: is not named CASE{FIRST}, as the other images of {images.name}; rename it, or "
                             f"list the images in {TABLE}")
        found.setdefault(channel[1], []).append(file)
    several = [name for name, files in found.items() if len(files) > 1]
    if several:
        raise InputError(_channels(images, several))
    labels = _by_stem(truths)
    return [(name, files[0], labels.get(name)) for name, files in found.items()]


def _by_name(images, truths):
    """Returns the (name, image, label) of folders with files of the same names."""
    labels = _by_stem(truths)
    return [(name, file, labels.get(name)) for name, file in _by_stem(images).items()]


def _warn_of_lone(truths, listed):
    """Warns of the files in a folder of labels that belong to no (name, image, label) of a list."""
    taken = {label for _, _, label in listed}
    alone = [file.name for file in volume_files(truths) if file not in taken]
    if alone:
        warn(f"{truths}: there is no scan for {few(alone)}, left out")


def _by_stem(folder):
    """Returns the files of a folder by their names without ending."""
    found: dict[str, pathlib.Path] = {}
    for file in volume_files(folder):
        other = found.setdefault(stem(file), file)
        if other is not file:
            raise InputError(f"{folder}: contains both {other.name} and {file.name}; remove one")
    return found


def _word(name):
    """Returns (whether a file's name is that of labels, what it shares with its scan's or labels' name)."""
    for words, is_label in ((LABEL_WORDS, True), (IMAGE_WORDS, False)):
        found = re.fullmatch(rf"(.+?)[._-]({words})|({words})[._-](.+)", name, re.IGNORECASE)
        if found:
            return is_label, found[1] or found[4]
    return False, name


def _pairs(path, labels, hushed=False):
    """Returns the cases of a folder of scans and labels; scans without labels are cases too."""
    if (path / "images").is_dir() and (path / "labels").is_dir():
        found = _by_name(path / "images", path / "labels")
        if not hushed:
            _warn_of_lone(path / "labels", found)
        return _named(path, [Case(name, image, truth, labels=labels) for name, image, truth in found])
    images: dict[str, list] = {}
    truths: dict[str, list] = {}
    for file in volume_files(path):
        if file.name.startswith(PREFIX):
            continue
        is_label, key = _word(stem(file))
        (truths if is_label else images).setdefault(key if is_label else stem(file), []).append(file)
    for name in [name for name in images if name not in truths]:  # p1_ct goes with p1_seg, but p1 with p1_seg first
        key = _word(name)[1]
        if key in truths:
            images.setdefault(key, []).extend(images.pop(name) if key != name else [])
    for key in set(images) & set(truths):
        for files in (images[key], truths[key]):
            if len(files) > 1:
                raise InputError(f"{path}: {' and '.join(file.name for file in files)} would both belong to case "
                                 f"{key}; take one away, or list the cases in {TABLE}")
    alone = [file.name for key, files in truths.items() if key not in images for file in files]
    if alone and not hushed:
        warn(f"{path}: there is no scan for {few(sorted(alone))}, left out")
    return _named(path, [Case(name, file, truths[name][0] if name in truths else None, labels=labels)
                         for name, files in images.items() for file in files])


def _table(path, labels):
    """Returns the cases of a CSV file, whose paths are relative to its folder; `label` may be empty or missing."""
    cases = []
    try:
        text = path.read_text(encoding="utf-8-sig")
        head = text.split("\n", 1)[0]
        rows = csv.DictReader(io.StringIO(text), delimiter=max(",;\t", key=head.count), skipinitialspace=True)
        columns = {(name or "").strip().lower(): name for name in rows.fieldnames or ()}
        missing = [name for name in COLUMNS[:2] if name not in columns]
        if missing:
            raise InputError(f"{path}: has no column {' and no column '.join(missing)}; expected a first line of "
                             f"{','.join(COLUMNS)}")
        for row in rows:
            name, image, label = ((row.get(columns.get(column, column)) or "").strip() for column in COLUMNS)
            if not (name or image or label):
                continue
            if not (name and image):
                raise InputError(f"{path}: line {rows.line_num} has no {'image' if name else 'case'}; expected "
                                 f"{','.join(COLUMNS)}")
            check_name(name, path)
            cases.append(_of_row(name, path.parent / image, path.parent / label if label else None, labels))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a table in UTF-8 ({one_line(error)})") from error
    return sorted(cases, key=lambda case: case.name)


def _of_row(name, image, truth, labels):
    """Returns the case of a row; its image may be the folder of one DICOM series."""
    series = series_below(image) if image.is_dir() and not image.name.lower().endswith((*SCANS, ZIP)) else []
    if len(series) == 1:
        return Case(name, series[0].imaging, truth, files=series[0].files, labels=labels)
    if image.is_dir():
        return Case(name, image, truth, labels=labels, strange=f"{image}: holds {len(series)} DICOM series of CT, "
                                                               f"expected one, as the image of case {name}")
    return Case(name, image, truth, labels=labels)
