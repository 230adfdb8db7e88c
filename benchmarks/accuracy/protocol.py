"""What is measured on what: the cases, their split, the places under the work folder.

Forty cases are drawn around real kidneys and tumors (kits_tf.phantoms --anatomy). The first thirty are trained on, of
which data_prep's fold 0 is the validation fold that settings are chosen on; ten are held out and run once, at the end.
Phases go in turn, so that either part has about one in four without contrast medium.
"""

import json
import pathlib

from kits_tf.records.dataset import read_folds

SEED = 2019
TRAIN_CASES, HELD_OUT_CASES = 30, 10
NATIVE = "native"  # the phase without contrast medium


class Work:
    """The places in the work folder."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.train, self.held_out = self.folder / "train", self.folder / "held_out"
        self.data, self.run, self.export = self.folder / "data", self.folder / "run", self.folder / "export"
        self.predictions, self.scores = self.folder / "predictions", self.folder / "scores"
        self.validation = self.folder / "validation"
        self.settings = self.folder / "settings.json"


def cases(study):
    """The folders of a study's cases, sorted."""
    return sorted(path.parent for path in pathlib.Path(study).glob("case_*/segmentation.nii.gz"))


def phases(study):
    """{case: phase}, from study.json."""
    summary = json.loads((pathlib.Path(study) / "study.json").read_text())
    return {name: entry["phase"] for name, entry in summary.items()}


def validation_cases(work):
    """The folders of the training cases that fold 0 does not train on."""
    return [work.train / name for name in sorted(read_folds(work.data)[0])]


def prediction(folder, case):
    """Where a variant's labels of a case are, given the case's folder."""
    return pathlib.Path(folder) / f"prediction_{case.name.removeprefix('case_')}.nii.gz"
