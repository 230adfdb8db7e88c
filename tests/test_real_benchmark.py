"""Tests the benchmark on real scans: distances in mm, missing references, the split, clipping, crop positions."""

import csv
import json

import numpy as np
import pytest
import tensorflow as tf
from harness import oracles

from benchmarks.real import clipping, gallery, protocol, runner, slices, summary
from benchmarks.real import scans as scoring
from kits_tf import config as configs
from kits_tf.errors import InputError
from kits_tf.scans.nifti import write_volume
from kits_tf.volume import Volume

CONFIG = configs.PRESETS["demo"]
SPACING_MM = (5.0, 2.0, 1.0)
PIXEL_MM = CONFIG.spacing_mm[1]
SHAPE = (6, 20, 30)


def block(start, stop, shape=SHAPE):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*ends) for ends in zip(start, stop, strict=True))] = True
    return mask


def labels_of(kidney, tumor=None, spacing_mm=SPACING_MM):
    voxels = kidney.astype(np.uint8)
    if tumor is not None:
        voxels[tumor] = 2
    return Volume.from_spacing(voxels, spacing_mm)


@pytest.mark.parametrize(("axis", "voxels_within"), [(0, 2), (1, 5), (2, 10)])
def test_far_is_more_than_a_centimeter_along_each_axis(axis, voxels_within):
    shape = (30, 31, 32)
    reference = block((10, 10, 10), (12, 12, 12), shape)
    for voxels, is_far in ((voxels_within, False), (voxels_within + 1, True)):
        place = [10, 10, 10]
        place[axis] = 11 + voxels
        labelled = reference.copy()
        labelled[tuple(place)] = True
        assert scoring.far_from(reference, labelled, SPACING_MM, 10.0).sum() == is_far


def test_false_volumes_are_in_ml_and_count_tumor_as_kidney():
    reference = block((0, 2, 2), (2, 6, 6))
    found = scoring.score(labels_of(reference, block((0, 2, 28), (1, 3, 30))), reference)
    assert found["labelled_ml"] == pytest.approx(34 * 0.01)
    assert found["false_kidney_ml"] == found["false_tumor_ml"] == pytest.approx(0.02)
    assert found["volume_error_ml"] == pytest.approx(0.02)
    assert found["kidney_dice"] == pytest.approx(64 / 66)


def test_tumor_inside_the_reference_is_kidney_and_false_tumor():
    reference = block((0, 2, 2), (2, 6, 6))
    found = scoring.score(labels_of(reference, block((0, 2, 2), (1, 3, 3))), reference)
    assert (found["kidney_dice"], found["surface_dice"], found["false_kidney_ml"]) == (1.0, 1.0, 0.0)
    assert found["false_tumor_ml"] == pytest.approx(0.01)


def test_without_kidneys_all_that_is_labeled_is_false_and_there_is_no_dice():
    found = scoring.score(labels_of(block((0, 0, 0), (1, 10, 10))), np.zeros(SHAPE, bool))
    assert found["labelled_ml"] == found["false_kidney_ml"] == found["volume_error_ml"] == pytest.approx(1.0)
    assert found["kidney_dice"] is found["surface_dice"] is None


def test_without_a_reference_only_labels_and_tumor_are_counted():
    found = scoring.score(labels_of(block((0, 0, 0), (1, 10, 10)), block((0, 0, 0), (1, 1, 1))), None)
    assert {name for name, value in found.items() if value is not None} == {"labelled_ml", "false_tumor_ml"}


@pytest.mark.parametrize(("name", "split"), [
    ("example_ct", "validation"), ("chest_kits00072", "validation"), ("tcga_lihc", "test"), ("acrin_flt001", "test"),
    ("someone", "other")])
def test_the_split_of_scans_is_fixed(name, split):
    assert protocol.Scan(name, None, None, {}).split == split


@pytest.mark.parametrize(("name", "split"), [
    ("case_00025_060", "validation"), ("case_00095_132", "validation"), ("case_00102_116", "test"), ("x", "other")])
def test_tumor_slices_are_split_by_their_case(name, split):
    assert protocol.split_of_case(name) == split


@pytest.mark.parametrize(("phase", "group"), [
    ("non-contrast", protocol.NON_CONTRAST), ("Native", protocol.NON_CONTRAST), ("late arterial", protocol.CONTRAST),
    ("", protocol.UNKNOWN), ("unknown", protocol.UNKNOWN)])
def test_phases_are_with_contrast_medium_without_or_unknown(phase, group):
    assert protocol.group_of(phase) == group


def test_the_scanner_is_read_off_the_remarks_unless_it_has_a_column():
    remarks = "obese; Siemens Sensation 64 B30f; LARGE liver"
    assert protocol.Scan("a", None, None, {"remarks": remarks}).scanner == "Siemens Sensation 64 B30f"
    assert protocol.Scan("a", None, None, {"remarks": remarks, "scanner": "GE"}).scanner == "GE"
    assert protocol.Scan("a", None, None, {"remarks": "LARGE liver"}).scanner == ""


def test_clipping_keeps_what_eight_bit_pictures_show():
    hu = np.full((1, 80, 90), -1000, np.int16)
    hu[0, 20:60, 20:70] = 40  # soft tissue around
    hu[0, 30:50, 30:60] = -90  # fat inside
    hu[0, 35:40, 35:40] = -700  # gas
    hu[0, 40:44, 40:44] = (0, 1, 255, 900)
    found = clipping.clip(hu, pixel_mm=5.0)
    assert found.dtype == np.int16
    assert (found[0, 0, 0], found[0, 25, 25], found[0, 32, 32], found[0, 37, 37]) == (-1000, 40, -100, -100)
    assert found[0, 40, 40:44].tolist() == [-100, 1, 255, 255]


def test_a_slice_of_air_alone_has_no_body():
    assert (clipping.clip(np.full((2, 30, 40), -1000, np.int16), 1.0) == -1000).all()


# Two kidneys in a slice: the right one (small x) with tumor at its front, the left one without. Kidney is 100 HU.
PLANE = (1, 120, 200)
RIGHT, RIGHT_TUMOR = block((0, 30, 30), (1, 70, 60), PLANE), block((0, 30, 30), (1, 40, 60), PLANE)
LEFT = block((0, 70, 140), (1, 110, 165), PLANE)


def plane(pixel_mm=PIXEL_MM, slice_mm=5.0):
    truth = labels_of(RIGHT | LEFT, RIGHT_TUMOR, (slice_mm, pixel_mm, pixel_mm))
    return truth.with_voxels(oracles.HU[truth.voxels]), truth


@pytest.mark.parametrize("slice_mm", [0.5, 5.0])
def test_a_crop_is_centered_on_the_kidney_with_tumor_and_no_axis_is_swapped(slice_mm):
    seen = []

    def net(image):
        seen.append(image.numpy())
        return tf.zeros_like(image[..., :1])

    one, = slices.crops(*plane(slice_mm=slice_mm), CONFIG)
    assert np.array_equal(one.kidney, RIGHT) and one.tumor_share == pytest.approx(0.25)
    _, looked = one.predict(net, [one.image], CONFIG)
    assert np.array_equal(looked, block((0, 10, 5), (1, 90, 85), PLANE))  # 80 x 80 around pixel (50, 45)
    assert len(seen) == 1 and np.array_equal(seen[0][..., 0], one.image[:, 10:90, 5:85])


def test_a_crop_is_at_the_normalized_pixel_size():
    one, = slices.crops(*plane(pixel_mm=PIXEL_MM / 2), CONFIG)
    assert one.image.shape == (1, 60, 100)
    assert one.kidney.sum() == pytest.approx(RIGHT.sum() / 4, rel=0.05)


def test_perfect_nets_have_a_dice_of_one():
    one, = slices.crops(*plane(), CONFIG)
    found = slices.score(one, slices.answer(one, oracles.nets(), CONFIG))
    assert [found[name] for name in slices.SCORES] == [1.0] * len(slices.SCORES)
    assert found["all_tumor"] == pytest.approx(0.2) and found["no_tumor"] == pytest.approx(3 / 7)


def test_tumor2d_gets_the_true_kidney_and_fines_in_turn():
    """The network returns its second channel: the kidney with the true kidney, nothing with a blind fine network."""
    nets = {"fine": lambda image: tf.zeros_like(image), "tumor2d": lambda image: image[..., 1:]}
    one, = slices.crops(*plane(), CONFIG)
    found = slices.score(one, slices.answer(one, nets, CONFIG))
    assert found["inside_true"] == found["all_tumor"] and found["inside_fine"] == found["no_tumor"]
    assert found["kidney_dice"] == found["tumor_dice"] == 0.0
    assert found["tumor_dice_true"] == pytest.approx(0.4)


@pytest.mark.parametrize(("rows", "counts"), [((0, 1), False), ((0, 3), True), ((0, 36), True), ((0, 37), False)])
def test_only_kidneys_of_which_5_to_90_percent_is_tumor_count(rows, counts):
    ct, _ = plane()
    truth = labels_of(RIGHT | LEFT, block((0, 30 + rows[0], 30), (1, 30 + rows[1], 60), PLANE), ct.spacing_mm)
    assert len(list(slices.crops(ct, truth, CONFIG))) == counts


def test_phantom_slices_are_scored_as_they_are_and_clipped(tmp_path):
    ct, truth = plane()
    folder = tmp_path / "case_00003"
    write_volume(folder / "imaging.nii.gz", Volume.from_spacing(np.repeat(ct.voxels, 4, axis=0), ct.spacing_mm))
    write_volume(folder / "segmentation.nii.gz", Volume.from_spacing(np.repeat(truth.voxels, 4, axis=0), ct.spacing_mm))
    rows = list(slices.score_phantoms(tmp_path, oracles.nets(), CONFIG))
    assert {row["set"]: row["kidney_dice"] for row in rows} == {slices.PHANTOM: 1.0, slices.CLIPPED: 1.0}
    assert "| 1.000 | 1.000 |" in summary.write([], rows, "").split("clipping")[1]


def test_slices_are_shown_where_kidneys_are_and_where_most_is_wrong():
    outlined, wrong = np.zeros(100, int), np.zeros(100, int)
    outlined[40:60], wrong[90], wrong[45:48] = 50, 500, 10
    shown = gallery.slices_to_show(outlined | wrong, wrong)
    assert len(shown) == gallery.SLICES and {45, 90} <= set(shown)
    assert gallery.slices_to_show(np.zeros(3, int), np.zeros(3, int)) == [0, 1, 2]


class Nets(oracles.Thresholds):
    """Thresholds with only the signatures of the two networks."""

    @tf.function(input_signature=[tf.TensorSpec((None, 80, 80, 1), tf.float32, name="image")])
    def fine(self, image):
        return {"probabilities": oracles.nets()["fine"](image)}

    @tf.function(input_signature=[tf.TensorSpec((None, 80, 80, 2), tf.float32, name="image")])
    def tumor2d(self, image):
        return {"probabilities": oracles.nets()["tumor2d"](image)}


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    folder, module = tmp_path_factory.mktemp("export"), Nets()
    tf.saved_model.save(module, str(folder), signatures={
        "serving_default": module.serve, "fine": module.fine, "tumor2d": module.tumor2d})
    (folder / "assets" / "config.json").write_text(configs.to_json(CONFIG))
    return folder


@pytest.fixture(scope="module")
def done(export, tmp_path_factory):
    """(exit status, output folder) of the command on four scans and a row without a scan."""
    scans, output = tmp_path_factory.mktemp("scans"), tmp_path_factory.mktemp("out")
    kidney = block((1, 5, 5), (5, 15, 12))

    def write(name, reference=None, spacing_mm=SPACING_MM):
        hu = np.where(kidney, 100, -50).astype(np.int16)
        write_volume(scans / name / "imaging.nii.gz", Volume.from_spacing(hu, SPACING_MM))
        if reference is not None:
            write_volume(scans / name / "kidney.nii.gz", labels_of(reference, spacing_mm=spacing_mm))

    write("tcga_lihc", kidney)
    write("chest_kits00072")
    write("no_reference")
    write("misplaced", kidney, (5.0, 2.0, 1.5))
    (scans / "scans.csv").write_text(
        "name,phase,kidneys_ml,reference,remarks\n"
        "tcga_lihc,late arterial,3,by hand,Siemens Somatom Plus 4; slices 21 and 23 are interpolated\n"
        "chest_kits00072,arterial,0,none needed,\ngone,non-contrast,5,by hand,\n")
    ct, truth = plane()
    for case in ("case_00095_001", "case_00102_001"):
        write_volume(scans / "tumor-slices" / case / "imaging.nii.gz", ct)
        write_volume(scans / "tumor-slices" / case / "segmentation.nii.gz", truth)
    return runner.run_benchmark(protocol.find_scans(scans), scans / "tumor-slices", None, export, output), output


def table(path):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_scan_is_a_row_and_a_bad_one_has_its_reason(done):
    status, output = done
    rows = {row["name"]: row for row in table(output / "results.csv")}
    assert list(rows) == ["tcga_lihc", "chest_kits00072", "gone", "misplaced", "no_reference"]
    assert status == 1
    assert (rows["tcga_lihc"]["kidney_dice"], rows["tcga_lihc"]["split"]) == ("1.0", "test")
    assert "interpolated" in rows["tcga_lihc"]["remarks"] and rows["tcga_lihc"]["scanner"] == "Siemens Somatom Plus 4"
    chest = rows["chest_kits00072"]
    assert (chest["kidney_dice"], chest["labelled_ml"], chest["false_kidney_ml"]) == ("", "2.8", "2.8")
    alone = rows["no_reference"]
    assert (alone["kidney_dice"], alone["false_kidney_ml"], alone["labelled_ml"]) == ("", "", "2.8")
    assert (alone["phase"], alone["split"], alone["reference"]) == ("", "other", "none")
    assert "no such file" in rows["gone"]["note"] and "is up to" in rows["misplaced"]["note"]
    assert rows["misplaced"]["kidney_dice"] == ""  # no fair score exists


def test_a_scan_is_kept_with_its_report_and_a_picture(done):
    _, output = done
    assert json.loads((output / "predictions" / "tcga_lihc.json").read_text())["kidneys"] == 2
    assert {path.name for path in (output / "gallery").glob("*.png")} == {
        "tcga_lihc.png", "chest_kits00072.png", "no_reference.png"}
    assert {path.name for path in (output / "slices").glob("*.png")} == {"case_00095_001_1.png", "case_00102_001_1.png"}
    assert (output / "gallery" / "tcga_lihc.png").read_bytes().startswith(b"\x89PNG")


def test_the_summary_has_the_targets_beside_the_figures(done):
    _, output = done
    text = (output / "summary.md").read_text()
    assert "| test | kidney Dice, contrast-enhanced | 1 | 1.000 | 1.000 (tcga_lihc) | 0.92, 0.86 |" in text
    assert "| validation | labelled in scans without kidneys, ml | 1 | 2.8 | 2.8 (chest_kits00072) |" in text
    assert "no_reference" in text and "| gone | InputError" in text
    for split in ("validation", "test"):
        assert f"| {split} | fine's kidney Dice | 1 | 1.000 | 1.000 | 0.88 |" in text


def test_an_earlier_run_is_shown_beside(done):
    scans, crops = summary.read(done[1])
    better = [{**row, "kidney_dice": row["kidney_dice"] and 0.5} for row in scans]
    text = summary.write(better, crops, "", (scans, crops))
    assert "| 1 | 1.000 | 1.000 (tcga_lihc) | 0.500 | 0.500 (tcga_lihc) | 0.92, 0.86 |" in text
    assert "| test | fine's kidney Dice | 1 | 1.000 | 1.000 | 1.000 | 1.000 | 0.88 |" in text


def test_slices_are_scored_through_the_signatures_of_the_nets(done):
    rows = table(done[1] / "slices.csv")
    assert [(row["slice"], row["split"], row["tumor_dice"]) for row in rows] == [
        ("case_00095_001", "validation", "1.0"), ("case_00102_001", "test", "1.0")]


def test_a_model_that_fails_on_a_scan_scores_zero_there(tmp_path):
    kidney = block((1, 5, 5), (5, 15, 12))
    write_volume(tmp_path / "a" / "imaging.nii.gz", Volume.from_spacing(np.zeros(SHAPE, np.int16), SPACING_MM))
    write_volume(tmp_path / "a" / "kidney.nii.gz", labels_of(kidney))

    def explain(ct):
        raise tf.errors.ResourceExhaustedError(None, None, "no memory")

    row = scoring.score_scan(protocol.find_scans(tmp_path)[0], explain, lambda *_: None)
    assert (row["kidney_dice"], row["surface_dice"]) == (0.0, 0.0) and "no memory" in row["note"]


def test_a_folder_without_scans_is_refused(tmp_path):
    with pytest.raises(InputError, match="no scans here"):
        protocol.find_scans(tmp_path)


def test_an_export_without_the_nets_alone_is_refused(quick_export):
    with pytest.raises(InputError, match="no signature fine"):
        slices.nets_of(quick_export / "1")
