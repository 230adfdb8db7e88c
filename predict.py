"""Segments kidneys and tumors in CT scans with an exported cascade.

python predict.py --model=runs/demo/export --input=scan.nii.gz --output=out
python predict.py --model=runs/demo/export --input=kits19/data --output=out --workers=4
python predict.py --model=runs/demo/export --input=dicom_folder --output=out --output_format=nifti,dicomseg

Writes prediction_<id>.nii.gz (0 background, 1 kidney, 2 tumor, in the scan's own geometry), a JSON report of what the
cascade decided and a PNG overlay beside it, and summary.csv for the run; with --report also report.html and a web page
per case. What is done already, from the same scan with the same model, is skipped. A case that fails does not stop the
others.
Exit status: 0 if all cases were done, 1 if one failed or nothing could start.
"""

import collections
import sys

from absl import app, flags

from kits_tf import cluster, runs
from kits_tf.io.files import write_table
from kits_tf.io.lock import only_writer
from kits_tf.io.study import find_scans
from kits_tf.quiet import quiet_tensorflow
from kits_tf.volume import InputError

FLAGS = flags.FLAGS
flags.DEFINE_string("model", None, "exported cascade: the export folder (newest version) or one of its versions")
flags.DEFINE_string("input", None, "a NIfTI file, a DICOM series (folder or zip), a folder of either, or a study of "
                    "case_xxxxx/imaging.nii.gz")
flags.DEFINE_string("output", None, "folder to write labels, reports and overlays to")
flags.DEFINE_enum("xla", "auto", ["auto", "on", "off"], "compile the nets with XLA; auto: on a GPU yes, on a CPU no")
flags.DEFINE_boolean("overlay", True, "draw a PNG beside each prediction")
flags.DEFINE_boolean("report", False, "write report.html and a web page per case, with Dice if there is ground truth")
flags.DEFINE_list("output_format", ["nifti"], "what labels are written as: nifti, dicomseg (a DICOM segmentation, of "
                  "DICOM series alone), or nifti,dicomseg")
flags.mark_flags_as_required(["model", "input", "output"])
flags.register_validator("output_format", lambda names: names and set(names) <= {"nifti", "dicomseg"},
                         "expected nifti, dicomseg, or nifti,dicomseg")
cluster.define_flags(__name__)


def predict(model, scans, output, xla="auto", overlay=True, report=False, place=cluster.HERE,
            formats=("nifti",)):
    """Segments every scan that a path names; returns the exit status.

    Raises:
        InputError: if nothing can start: no model, no scan, no output folder, another run in it, no cluster; or if the
            run cannot go on: the disk is full, the scheduler is lost.
    """
    cases = find_scans(place.path(scans))
    version = runs.find_export(place.path(model))
    output = place.path(output)
    from kits_tf import predictions  # matplotlib takes a second to import: not for --help or a mistyped path
    from kits_tf.evaluation import page

    with only_writer(output):
        (output / "summary.csv").unlink(missing_ok=True)  # that of an earlier run
        settings = predictions.Settings(("kits_tf.serving:Predictor", str(version), xla), runs.export_digest(version),
                                        xla, overlay, report, tuple(formats), output)
        jobs = [cluster.Job(case.name, {"case": case, "settings": settings}) for case in cases]
        rows = {}
        for done in cluster.run("kits_tf.predictions:predict_case", jobs, "predicting", place, gpu=True):
            row = done.result or {"case": done.name, "status": "failed", "message": done.failure}
            rows[done.name] = {**row, "seconds": done.seconds}
        write_table(output / "summary.csv", ("case", "status", *predictions.FOUND, "seconds", "message"),
                    [rows[case.name] for case in cases])
        if report:
            shown = [{**rows[case.name], "picture": settings.target(case, ".png"),
                      "page": settings.target(case, ".html").name} for case in cases]
            page.write_run_page(output / "report.html", shown, f"Predictions of {version}")
    counts = collections.Counter(row["status"] for row in rows.values())
    print(f"{counts['done']} done, {counts['unchanged']} unchanged, {counts['failed']} failed; labels in {output}",
          file=sys.stderr)
    return 1 if counts["failed"] else 0


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]}")
    quiet_tensorflow()
    try:
        return predict(FLAGS.model, FLAGS.input, FLAGS.output, FLAGS.xla, FLAGS.overlay, FLAGS.report,
                       cluster.place_from_flags(), FLAGS.output_format)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on after the last whole case", file=sys.stderr)
        return 130


def run():
    """Entry point of the installed command (pyproject.toml)."""
    app.run(main)


if __name__ == "__main__":
    run()
