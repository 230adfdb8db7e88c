"""Segments kidneys and tumors in CT scans with an exported cascade.

    python predict.py --input=scan.nii.gz --output=out
    python predict.py --model=runs/demo/export --input=scan.nii.gz --output=out
    python predict.py --model=runs/demo/export --input=kits19/data --output=out --workers=4
    python predict.py --model=runs/demo/export --input=dicom_folder --output=out --output_format=nifti,dicomseg
    python predict.py --input=nnUNet_raw/Dataset220_KiTS2023/imagesTs --output=out --names=case
    python predict.py --server=HOST:8500 --server_ca=ca.pem --input=kits19/data --output=out

For each case, writes prediction_<id>.nii.gz (0 background, 1 kidney, 2 tumor, in the scan's own geometry), a JSON
report of the cascade's decisions, and a PNG overlay. NRRD and MetaImage get labels in their own format. For the run,
writes summary.csv (one row per case) and findings.csv (one row per kidney and per tumor). With --report, also writes
report.html and one web page per case. Skips cases that are up to date (same scan, model and settings). A case that
fails does not stop the others; its files of an earlier run stay. Files that this program did not write, or that were
changed since, are kept, with a message, unless --overwrite is given.
Exit status: 0 if all cases succeeded, 1 if a case failed, is incomplete or the run could not start, 130 after Ctrl-C.
"""

import dataclasses
import pathlib
import re
import sys
import typing

import tqdm
from absl import flags

import kits_tf
from kits_tf import cluster, command, device, lazy, weights
from kits_tf.errors import InputError
from kits_tf.files import exports, own
from kits_tf.files.atomic import write_table
from kits_tf.files.lock import only_writer
from kits_tf.quiet import say
from kits_tf.scans import layouts
from kits_tf.serving import Server, open_predictor, precision

FLAGS = flags.FLAGS
flags.DEFINE_string("model", None, "exported cascade: the export folder (newest version) or one of its "
                    "versions; default: the model that ships")
flags.DEFINE_string("input", None, "a NIfTI, NRRD or MetaImage file, a DICOM series (folder or zip), a folder of "
                    "these, a data set of KiTS, nnU-Net or the Decathlon, or a table of case,image,label")
flags.DEFINE_string("output", None, "folder to write labels, reports and overlays to")
flags.DEFINE_enum("xla", "auto", ["auto", "on", "off"], "compile the nets with XLA; auto: on a GPU only")
flags.DEFINE_enum("precision", "auto", ["auto", *precision.PRECISIONS], "number format that the nets compute in; auto: "
                  "bfloat16 on processors that are faster in it, else float32")
flags.DEFINE_boolean("overlay", True, "draw a PNG beside each prediction")
flags.DEFINE_boolean("anonymous", False, "leave names of files and folders out of all that is written, and texts of "
                     "the scan's header; cases are named by their scan's SHA-256")
flags.DEFINE_boolean("report", False, "write report.html and a web page per case, with Dice if there is ground truth")
flags.DEFINE_list("output_format", ["same"], "file formats of the labels: same (as the scan; NIfTI for DICOM), nifti, "
                  "nrrd, mha, dicomseg (a DICOM segmentation, only for DICOM series), or several, as nifti,dicomseg")
flags.DEFINE_enum("names", "prediction", ["prediction", "case"], "names of the outputs: prediction_<id>, for "
                  "KiTS19, or the case's own name with the data set's label values, for nnU-Net and KiTS23")
flags.DEFINE_boolean("color_tables", False, "also write labels.ctbl for 3D Slicer and labels.txt for ITK-SNAP: the "
                     "names and colors of the labels")
flags.DEFINE_string("server", None, "HOST:PORT of a TensorFlow Serving server with the cascade, instead of --model")
flags.DEFINE_string("server_ca", None, "PEM file of the authority that signed the server's certificate; none: no TLS")
flags.DEFINE_string("server_model", "kits", "name of the cascade on the server")
flags.DEFINE_integer("server_version", None, "version of the cascade on the server; default: the newest", lower_bound=1)
flags.DEFINE_float("server_deadline", 600.0, "seconds that the server may take for one scan", lower_bound=0.001)
flags.mark_flags_as_required(["input", "output"])
flags.mark_flags_as_mutual_exclusive(["model", "server"])
flags.register_validator("output_format",
                         lambda names: names and set(names) <= {"same", "nifti", "nrrd", "mha", "dicomseg"},
                         "expected same, nifti, nrrd, mha, dicomseg, or several of them")
flags.register_validator("server", lambda address: address is None or re.fullmatch(r".+:\d+", address),
                         "expected HOST:PORT, such as localhost:8500")
layouts.define_flags()
own.define_flag()
cluster.define_flags()


def choose(model: str | pathlib.Path | None, server: Server | None, xla: str, computes_in: str,
           place: cluster.Place) -> tuple[pathlib.Path | Server, str, str | pathlib.Path, str]:
    """Finds the model in an export folder or on a server; without either, the one that ships. Prints the first line.

    Returns:
        (source, fingerprint, name, precision): source, fingerprint and precision as in predictions.Settings, and the
        name to show.

    Raises:
        InputError: if there is no export, the server has no such model ready, or it cannot do what the flags ask for.
    """
    if server is None:
        version = weights.shipped_model() if model is None else exports.find_export(place.path(model))
        gpu = device.has_gpu()
        compiled = precision.compiles(xla, computes_in, gpu)
        chosen = precision.choose(computes_in, version, compiled)
        device.announce(chosen, compiled, "predicting", gpu)
        if model is None:
            say(f"no --model is given: using the model that ships with kits_tf {kits_tf.__version__} (version "
                f"{version.name}), which was trained on synthetic scans only; not a medical device")
        return version, exports.export_digest(version), version, chosen
    server = dataclasses.replace(server, ca=server.ca and str(place.path(server.ca)))
    remote = cluster.once(open_predictor, server, xla, computes_in)
    say(f"predicting on the server {server.address} in {remote.computed['precision']}, "
        f"{'compiled by' if remote.computed['xla'] else 'without'} XLA")
    server = dataclasses.replace(server, version=remote.version)  # every worker uses the same version for every case
    return server, remote.digest, remote.path, computes_in


def predict(model: str | pathlib.Path | None, scans: layouts.Given, output: str | pathlib.Path,
            place: cluster.Place = cluster.HERE, server: Server | None = None, color_tables: bool = False,
            **options: typing.Any) -> int:
    """Segments every scan under a path, with an exported model or on a server, and returns the exit status.

    Args:
        model: an export folder or one of its versions; None for the server's or else the one that ships.
        scans: a data set in a layout of scans.layouts, or its path alone.
        output: folder to write to.
        place: where the cases are processed.
        server: the server to use instead of a model.
        color_tables: whether to write the names and colors of the labels for other programs.
        options: precision ("auto", "float32" or "bfloat16"), and xla, overlay, report, formats, overwrite, anonymous
            and names, as of reporting.predictions.Settings.

    Raises:
        InputError: if the run cannot start (no model, server, scan, output folder or cluster, another run writes to the
            output folder, or a table would overwrite a file of another program), or cannot continue (full disk, lost
            scheduler).
    """
    asked = options.pop("precision", "auto")
    source, fingerprint, name, chosen = choose(model, server, options.get("xla", "auto"), asked, place)
    found = layouts.find_cases(layouts.DataSet.of(scans, place.path))
    if found.summary:
        say(found.summary)
    cases = found.cases
    output = place.path(output)
    with lazy.uncollected():
        from kits_tf.reporting import predictions  # takes half a second, which --help and bad paths do not need

    settings = predictions.Settings(source, fingerprint, output, precision=chosen, precision_asked=asked != "auto",
                                    **options)
    if settings.anonymous:
        if "dicomseg" in settings.formats:
            raise InputError("--anonymous: a DICOM segmentation holds the patient's name and numbers, as its series "
                             "does; leave dicomseg out of --output_format")
        cases = predictions.named_by_content(cases)
    if settings.names == "case":
        predictions.check_names(cases, settings)
    colors = lazy.load("kits_tf.reporting.color_tables") if color_tables else None
    with only_writer(output):
        tables = [output / table for table in ("summary.csv", "findings.csv", *["report.html"] * settings.report,
                                               *(colors.WRITERS if colors else ()))]
        own.check_own(tables, settings.overwrite)  # before the work, so that it shows at once
        if settings.report:
            lazy.load("kits_tf.reporting.pages").write_library(output, settings.overwrite)
        jobs = [cluster.Job(case.name, {"case": case, "settings": settings}) for case in cases]
        named, rows = {case.name: case for case in cases}, {}
        for done in cluster.run(predictions.predict_case, jobs, "predicting", place, gpu=server is None,
                                overlap=True):
            row = done.result or predictions.failed_row(named[done.name], settings, done.failure)
            rows[done.name] = {**row, "seconds": done.seconds}
            if row["status"] == "incomplete":
                tqdm.tqdm.write(f"incomplete: {done.name}: {row['message']}", file=sys.stderr)
        with own.staged(output, settings.overwrite) as folder:
            write_table(folder / "summary.csv", predictions.SUMMARY, [rows[case.name] for case in cases])
            write_table(folder / "findings.csv", predictions.MEASURED,
                        [found for case in cases for found in rows[case.name].get("measured", ())])
            if settings.report:
                shown = [predictions.page_row(case, settings, rows[case.name]) for case in cases]
                pages = lazy.load("kits_tf.reporting.pages")
                pages.write_run_page(folder / "report.html", shown, f"Predictions of {name}", settings.made_by())
            if colors:
                colors.write(folder, settings.values_of(cases[0]))
    statuses = [row["status"] for row in rows.values()]
    say(f"{cluster.counted(statuses)}; labels in {output}")
    return 1 if {"failed", "incomplete"} & set(statuses) else 0


def main() -> int:
    server = FLAGS.server and Server(FLAGS.server, FLAGS.server_model, FLAGS.server_version, FLAGS.server_deadline,
                                     FLAGS.server_ca)
    return predict(FLAGS.model, layouts.from_flags(FLAGS.input), FLAGS.output, cluster.place_from_flags(), server,
                   FLAGS.color_tables, xla=FLAGS.xla, precision=FLAGS.precision, overlay=FLAGS.overlay,
                   report=FLAGS.report, formats=tuple(FLAGS.output_format), overwrite=FLAGS.overwrite,
                   anonymous=FLAGS.anonymous, names=FLAGS.names)


def run() -> None:
    """Entry point of the installed command (pyproject.toml)."""
    command.run(main, {
        "Input and output": ("model", "input", "layout", "labels", "output", "output_format", "names", "overlay",
                             "report", "color_tables", "anonymous", "overwrite", "precision", "xla"),
        "Server": ("server", "server_ca", "server_model", "server_version", "server_deadline"),
        **cluster.FLAGS}, "rerun the command to continue after the last complete case")


if __name__ == "__main__":
    run()
