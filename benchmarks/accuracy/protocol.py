"""Protocol of the accuracy benchmark: the cases, their split, and the paths in the work folder.

Forty synthetic scans are drawn around real kidneys and tumors (kits_tf.phantoms --anatomy). The first thirty are for
training; settings are chosen on the validation set, data_prep's fold 0 of these. The other ten are the test set
(held_out), run once, at the end. Phases alternate, so that about one in four cases of each set is non-contrast.
"""

import json
import pathlib

from kits_tf.records.dataset import read_folds

SEED = 2019
TRAIN_CASES, HELD_OUT_CASES = 30, 10
NATIVE = "native"  # the non-contrast phase


class Work:
    """The paths in the work folder."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.train, self.held_out = self.folder / "train", self.folder / "held_out"
        self.data, self.run, self.export = self.folder / "data", self.folder / "run", self.folder / "export"
        self.predictions, self.scores = self.folder / "predictions", self.folder / "scores"
        self.validation = self.folder / "validation"
        self.settings = self.folder / "settings.json"


def cases(study):
    """Returns the folders of a study's cases, sorted."""
    return sorted(path.parent for path in pathlib.Path(study).glob("case_*/segmentation.nii.gz"))


def phases(study):
    """Reads {case: phase} from study.json."""
    summary = json.loads((pathlib.Path(study) / "study.json").read_text())
    return {name: entry["phase"] for name, entry in summary.items()}


def validation_cases(work):
    """Returns the folders of fold 0's validation cases."""
    return [work.train / name for name in sorted(read_folds(work.data)[0])]


def prediction(folder, case):
    """Returns the path of a variant's labels, given the variant's folder and the case's folder."""
    return pathlib.Path(folder) / f"prediction_{case.name.removeprefix('case_')}.nii.gz"
