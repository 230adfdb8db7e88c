"""Segments kidneys and tumors in CT scans with an exported cascade.

python predict.py --model=runs/demo/export --input=scan.nii.gz --output=out
python predict.py --model=runs/demo/export --input=kits19/data --output=out

Writes prediction_<id>.nii.gz (0 background, 1 kidney, 2 tumor, in the scan's own geometry), a JSON report of what the
cascade decided and a PNG overlay beside it, and summary.csv for the run. A case that fails does not stop the others.
Exit status: 0 if all cases were done, 1 if one failed or nothing could start.
"""

import csv
import io
import json
import pathlib
import sys
import time

import tqdm
from absl import app, flags

from kits_tf.io.files import write_text
from kits_tf.io.nifti import read_volume, write_labels
from kits_tf.io.study import find_scans
from kits_tf.quiet import quiet_tensorflow
from kits_tf.volume import InputError

FLAGS = flags.FLAGS
flags.DEFINE_string("model", None, "exported cascade: the export folder (newest version) or one of its versions")
flags.DEFINE_string("input", None, "a NIfTI file, a folder of them, or a study of case_xxxxx/imaging.nii.gz")
flags.DEFINE_string("output", None, "folder to write labels, reports and overlays to")
flags.DEFINE_enum("xla", "auto", ["auto", "on", "off"], "compile the nets with XLA; auto: on a GPU yes, on a CPU no")
flags.DEFINE_boolean("overlay", True, "draw a PNG beside each prediction")
flags.mark_flags_as_required(["model", "input", "output"])

SUMMARY = ("case", "status", "kidneys", "kidney_ml", "tumor_ml", "correction_used", "tumor_fallback_used",
           "lesions_kept", "lesions_dropped", "seconds", "message")


def predict_case(predictor, case, output, overlay):
    """One case from NIfTI to NIfTI; returns its row of the summary. Raises InputError for a bad scan."""
    began = time.monotonic()
    scan = read_volume(case.imaging)
    labels, report = predictor.explain(scan)
    target = output / f"prediction_{case.short_name}"
    if overlay:
        from kits_tf.evaluation.overlay import draw_overlay  # matplotlib, only where a picture is drawn
        draw_overlay(target.with_name(target.name + ".png"), scan, labels, case.name)
    seconds = round(time.monotonic() - began, 2)
    report = {"case": case.name, "input": str(case.imaging), "model": str(predictor.path),
              "preset": predictor.config.preset, "shape_zyx": list(scan.voxels.shape),
              "spacing_mm_zyx": list(scan.spacing_mm), **report, "seconds": seconds}
    write_text(target.with_name(target.name + ".json"), json.dumps(report, indent=2) + "\n")
    # The labels come last: where they are, the rest is.
    write_labels(target.with_name(target.name + ".nii.gz"), labels.voxels, like=case.imaging)
    return {"case": case.name, "status": "done", **{name: report[name] for name in SUMMARY[2:-1]},
            "message": " ".join(report["warnings"])}


def predict(model, scans, output, xla="auto", overlay=True):
    """Segments every scan that a path names; returns the exit status.

    Raises:
        InputError: if nothing can start: no model, no scan, no output folder.
    """
    cases = find_scans(scans)
    output = pathlib.Path(output)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{output}: cannot be made ({error.strerror}), --output expects a folder") from error
    from kits_tf.serving import Predictor  # TensorFlow takes seconds to import: not for --help or a mistyped path
    predictor = Predictor(model, xla)
    rows = []
    for case in tqdm.tqdm(cases, desc="predicting", unit="case", file=sys.stderr, disable=None):
        try:
            rows.append(predict_case(predictor, case, output, overlay))
        except InputError as error:
            tqdm.tqdm.write(f"failed: {error}", file=sys.stderr)
            rows.append({"case": case.name, "status": "failed", "message": str(error)})
    text = io.StringIO()
    writer = csv.DictWriter(text, SUMMARY, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(output / "summary.csv", text.getvalue())
    failed = sum(row["status"] == "failed" for row in rows)
    print(f"{len(rows) - failed} of {len(rows)} cases done, labels in {output}", file=sys.stderr)
    return 1 if failed else 0


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]}")
    quiet_tensorflow()
    try:
        return predict(FLAGS.model, FLAGS.input, FLAGS.output, FLAGS.xla, FLAGS.overlay)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    app.run(main)
