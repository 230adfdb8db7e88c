"""Segments kidneys and tumors in CT scans with an exported cascade.

python predict.py --model=runs/demo/export --input=scan.nii.gz --output=out
python predict.py --model=runs/demo/export --input=kits19/data --output=out --workers=4
python predict.py --model=runs/demo/export --input=dicom_folder --output=out --output_format=nifti,dicomseg
python predict.py --server=HOST:8500 --server_ca=ca.pem --input=kits19/data --output=out

For each case, writes prediction_<id>.nii.gz (0 background, 1 kidney, 2 tumor, in the scan's own geometry), a JSON
report of the cascade's decisions, and a PNG overlay. For the run, writes summary.csv (one row per case) and
findings.csv (one row per kidney and per tumor). With --report, also writes report.html and one web page per case.
Skips cases that are up to date (same scan, model and settings). A case that fails does not stop the others.
Exit status: 0 if all cases succeeded, 1 if a case failed or the run could not start, 130 after Ctrl-C.
"""

import dataclasses
import pathlib
import re
from collections.abc import Sequence

from absl import flags

from kits_tf import cluster, command
from kits_tf.files import exports
from kits_tf.files.atomic import write_table
from kits_tf.files.lock import only_writer
from kits_tf.quiet import say
from kits_tf.scans.discovery import find_scans
from kits_tf.serving import Server

FLAGS = flags.FLAGS
flags.DEFINE_string("model", None, "exported cascade: the export folder (newest version) or one of its versions")
flags.DEFINE_string("input", None, "a NIfTI file, a DICOM series (folder or zip), a folder of either, or a study of "
                    "case_xxxxx/imaging.nii.gz")
flags.DEFINE_string("output", None, "folder to write labels, reports and overlays to")
flags.DEFINE_enum("xla", "auto", ["auto", "on", "off"], "compile the nets with XLA; auto: on a GPU only")
flags.DEFINE_boolean("overlay", True, "draw a PNG beside each prediction")
flags.DEFINE_boolean("report", False, "write report.html and a web page per case, with Dice if there is ground truth")
flags.DEFINE_list("output_format", ["nifti"], "file formats of the labels: nifti, dicomseg (a DICOM segmentation, only "
                  "for DICOM series), or nifti,dicomseg")
flags.DEFINE_string("server", None, "HOST:PORT of a TensorFlow Serving server with the cascade, instead of --model")
flags.DEFINE_string("server_ca", None, "PEM file of the authority that signed the server's certificate; none: no TLS")
flags.DEFINE_string("server_model", "kits", "name of the cascade on the server")
flags.DEFINE_integer("server_version", None, "version of the cascade on the server; default: the newest", lower_bound=1)
flags.DEFINE_float("server_deadline", 600.0, "seconds that the server may take for one scan", lower_bound=0.001)
flags.mark_flags_as_required(["input", "output"])
flags.mark_flags_as_mutual_exclusive(["model", "server"], required=True)
flags.register_validator("output_format", lambda names: names and set(names) <= {"nifti", "dicomseg"},
                         "expected nifti, dicomseg, or nifti,dicomseg")
flags.register_validator("server", lambda address: address is None or re.fullmatch(r".+:\d+", address),
                         "expected HOST:PORT, such as localhost:8500")
cluster.define_flags()


def choose(model: str | pathlib.Path | None, server: Server | None, xla: str,
           place: cluster.Place) -> tuple[pathlib.Path | Server, str, str | pathlib.Path]:
    """Finds the model in an export folder or on a server.

    Returns:
        (source, fingerprint, name): source and fingerprint as in predictions.Settings, and the name to show.

    Raises:
        ValueError: if neither a model nor a server is given.
        InputError: if there is no export, or the server has no such model ready.
    """
    if model is not None:
        version = exports.find_export(place.path(model))
        return version, exports.export_digest(version), version
    if server is None:
        raise ValueError("a model or a server must be given, got neither")
    server = dataclasses.replace(server, ca=server.ca and str(place.path(server.ca)))
    from kits_tf.reporting import predictions

    remote = cluster.once(predictions.open_predictor, server, xla)
    server = dataclasses.replace(server, version=remote.version)  # every worker uses the same version for every case
    return server, remote.digest, remote.path


def predict(model: str | pathlib.Path | None, scans: str | pathlib.Path, output: str | pathlib.Path, xla: str = "auto",
            overlay: bool = True, report: bool = False, place: cluster.Place = cluster.HERE,
            formats: Sequence[str] = ("nifti",), server: Server | None = None) -> int:
    """Segments every scan under a path, with an exported model or on a server, and returns the exit status.

    Raises:
        InputError: if the run cannot start (no model, server, scan, output folder or cluster, or another run writes to
            the output folder), or cannot continue (full disk, lost scheduler).
    """
    cases = find_scans(place.path(scans))
    source, fingerprint, name = choose(model, server, xla, place)
    output = place.path(output)
    from kits_tf.reporting import pages, predictions  # imports matplotlib (1 s), which --help and bad paths do not need

    with only_writer(output):
        for table in ("summary.csv", "findings.csv"):
            (output / table).unlink(missing_ok=True)  # from an earlier run
        settings = predictions.Settings(source, fingerprint, xla, overlay, report, tuple(formats), output)
        jobs = [cluster.Job(case.name, {"case": case, "settings": settings}) for case in cases]
        rows = {}
        for done in cluster.run(predictions.predict_case, jobs, "predicting", place, gpu=server is None,
                                overlap=True):
            row = done.result or {"case": done.name, "status": "failed", "message": done.failure}
            rows[done.name] = {**row, "seconds": done.seconds}
        write_table(output / "summary.csv", ("case", "status", *predictions.FOUND, "seconds", "message"),
                    [rows[case.name] for case in cases])
        write_table(output / "findings.csv", predictions.MEASURED,
                    [found for case in cases for found in rows[case.name].get("measured", ())])
        if report:
            shown = [{**rows[case.name], "picture": settings.target(case, ".png"),
                      "page": settings.target(case, ".html").name} for case in cases]
            pages.write_run_page(output / "report.html", shown, f"Predictions of {name}")
    statuses = [row["status"] for row in rows.values()]
    say(f"{cluster.counted(statuses)}; labels in {output}")
    return 1 if "failed" in statuses else 0


def main() -> int:
    server = FLAGS.server and Server(FLAGS.server, FLAGS.server_model, FLAGS.server_version, FLAGS.server_deadline,
                                     FLAGS.server_ca)
    return predict(FLAGS.model, FLAGS.input, FLAGS.output, FLAGS.xla, FLAGS.overlay, FLAGS.report,
                   cluster.place_from_flags(), FLAGS.output_format, server)


def run() -> None:
    """Entry point of the installed command (pyproject.toml)."""
    command.run(main, {
        "Input and output": ("model", "input", "output", "output_format", "overlay", "report", "xla"),
        "Server": ("server", "server_ca", "server_model", "server_version", "server_deadline"),
        **cluster.FLAGS}, "rerun the command to continue after the last complete case")


if __name__ == "__main__":
    run()
