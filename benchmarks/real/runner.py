"""Runs the benchmark on real scans: scores each scan and each tumor slice, and writes tables, pictures and labels."""

import json

from benchmarks.real import gallery, slices, summary
from benchmarks.real import scans as scoring
from kits_tf.files import exports
from kits_tf.files.atomic import write_table, write_text
from kits_tf.files.own import check_own, staged
from kits_tf.quiet import say
from kits_tf.scans.nifti import write_labels
from kits_tf.serving import Predictor

ENDINGS = (".csv", ".md", ".png", ".json", ".nii.gz")

def check_output(output, overwrite):
    """Raises InputError if the output folder has tables, pictures or labels that this program did not write."""
    check_own(sorted(path for path in output.rglob("*") if path.name.endswith(ENDINGS)), overwrite)


def run_benchmark(scans, tumor_slices, phantoms, model, output, before=None) -> int:
    """Scores all scans and slices, writes all files, and returns the exit status.

    Args:
        scans: list of protocol.Scan.
        tumor_slices: folder of tumor slices, or None; skipped if it does not exist.
        phantoms: study of phantoms, or None.
        model: folder of an exported cascade.
        output: pathlib.Path.
        before: pathlib.Path of an earlier run's output, or None.
    """
    earlier = summary.read(before) if before else ((), ())
    predictor = Predictor(model)
    says = f"Preset {predictor.config.preset}, model {exports.export_digest(predictor.path)[:16]}."
    rows = []
    for scan in scans:
        rows.append(scoring.score_scan(scan, predictor.explain, keeper(scan, output)))
        say(f"{scan.name}: {rows[-1]['note'] or one_line(rows[-1])}")
        with staged(output, overwrite=True) as folder:  # check_output has checked that it may be replaced
            write_table(folder / "results.csv", scoring.COLUMNS, rounded(rows))
    crops = []
    if (tumor_slices and tumor_slices.is_dir()) or phantoms:
        nets = slices.nets_of(predictor.path)
        if tumor_slices and tumor_slices.is_dir():
            crops += slices.score_real(tumor_slices, nets, predictor.config, crop_keeper(predictor.config, output))
        if phantoms:
            crops += slices.score_phantoms(phantoms, nets, predictor.config)
        with staged(output, overwrite=True) as folder:
            write_table(folder / "slices.csv", slices.COLUMNS, rounded(crops))
    with staged(output, overwrite=True) as folder:
        write_text(folder / "summary.md", summary.write(rows, crops, says, earlier))
    print((output / "summary.md").read_text())
    return 1 if any(row.get("note") for row in (*rows, *crops)) else 0


def keeper(scan, output):
    """Returns the `keep` function for score_scan, which writes labels, report and picture."""
    def keep(ct, labels, reference, report, row):
        with staged(output / "predictions", overwrite=True) as folder:
            write_labels(folder / f"{scan.name}.nii.gz", labels.voxels, like=scan.imaging)
            write_text(folder / f"{scan.name}.json", json.dumps(report, indent=2) + "\n")
        phase = scan.phase or "phase unknown"
        with staged(output / "gallery", overwrite=True) as folder:
            gallery.draw(folder / f"{scan.name}.png", ct, labels, reference,
                         f"{scan.name}, {phase}, {scan.split}: {one_line(row)}",
                         "; ".join(filter(None, (scan.facts.get("licence"), scan.facts.get("remarks")))))

    return keep


def crop_keeper(config, output):
    """Returns the `keep` function for score_real, which draws each kidney of a slice."""
    def keep(one, found, row):
        scores = ", ".join(f"{name} {row[name]:.2f}" for name in ("kidney_dice", "inside_true", "tumor_dice"))
        with staged(output / "slices", overwrite=True) as folder:
            gallery.draw_crop(folder / f"{row['slice']}_{row['kidney']}.png", one, found, config.spacing_mm[1:],
                              f"{row['slice']}, {row['split']}: {scores}")

    return keep


def one_line(row):
    """Formats a scan's scores as one line; unknown scores are left out."""
    says = {"kidney_dice": "kidney Dice {:.3f}", "labelled_ml": "labelled {:.0f} ml", "reference_ml": "true {:.0f} ml",
            "false_kidney_ml": "false {:.1f} ml", "false_tumor_ml": "tumor {:.1f} ml"}
    return ", ".join(text.format(row[name]) for name, text in says.items() if row[name] is not None)


def rounded(rows):
    """Returns the rows with floats rounded to four decimals."""
    return [{name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}
            for row in rows]
