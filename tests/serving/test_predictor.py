"""Tests the predictor: the same labels for any orientation, other dtypes rounded and clipped, non-finite HU refused."""

import itertools

import nibabel as nib
import numpy as np
import pytest
import tensorflow as tf
from harness.patients import HU
from nibabel import orientations

from kits_tf.errors import InputError
from kits_tf.files import exports
from kits_tf.scans.nifti import read_volume, write_labels
from kits_tf.serving import Predictor, signature
from kits_tf.volume import Volume

CODES = ["".join(code) for axes in itertools.permutations(("RL", "AP", "IS")) for code in itertools.product(*axes)]


def oblique(affine):
    """Returns the affine rotated by 17 and 9 degrees about two axes."""
    one, two = np.radians([17, 9])
    about_x = np.array([[1, 0, 0], [0, np.cos(one), -np.sin(one)], [0, np.sin(one), np.cos(one)]])
    about_z = np.array([[np.cos(two), -np.sin(two), 0], [np.sin(two), np.cos(two), 0], [0, 0, 1]])
    turned = affine.copy()
    turned[:3] = about_x @ about_z @ affine[:3]
    return turned


# One code per order of the axes, which together include both directions of each axis; make soak tests all 48.
SAMPLE = ["RAS", "RSP", "ALI", "PIL", "IRA", "SPL"]


def test_the_sample_has_each_order_and_each_direction_of_the_48_axis_codes():
    assert len(set(CODES)) == 48 and set(SAMPLE) < set(CODES)
    order = str.maketrans("LPI", "RAS")
    assert len({code.translate(order) for code in SAMPLE}) == 6
    assert set("".join(SAMPLE)) == set("RLAPIS")


@pytest.mark.parametrize("codes", [SAMPLE, pytest.param(CODES, marks=pytest.mark.soak)], ids=["6 codes", "48 codes"])
@pytest.mark.parametrize("turned", [False, True], ids=["straight", "oblique"])
def test_all_axis_codes_give_the_same_labels_bit_for_bit(tiny_predictor, small_patient, tmp_path, turned, codes):
    affine = oblique(small_patient.affine) if turned else small_patient.affine
    image = nib.Nifti1Image(HU[small_patient.voxels], affine)
    path, answer = tmp_path / "scan.nii", tmp_path / "labels.nii"
    expected = tiny_predictor.predict(Volume.from_affine(HU[small_patient.voxels], affine)).voxels
    assert (expected == 2).any()
    start = orientations.io_orientation(image.affine)
    for code in codes:
        stored = image.as_reoriented(orientations.ornt_transform(start, orientations.axcodes2ornt(code)))
        nib.save(stored, path)
        write_labels(answer, tiny_predictor.predict(read_volume(path)).voxels, like=path)
        found = nib.load(answer)
        np.testing.assert_array_equal(found.affine, nib.load(path).affine)
        assert nib.aff2axcodes(found.affine) == tuple(code)
        back = found.as_reoriented(orientations.ornt_transform(orientations.axcodes2ornt(code), start))
        assert np.array_equal(np.asarray(back.dataobj), expected), code


def test_spacing_comes_from_the_columns_of_an_oblique_affine(tiny_predictor, small_patient):
    scan = small_patient.with_voxels(HU[small_patient.voxels])
    turned = Volume.from_affine(scan.voxels, oblique(scan.affine))
    assert turned.spacing_mm == scan.spacing_mm
    assert np.array_equal(tiny_predictor.predict(turned).voxels, tiny_predictor.predict(scan).voxels)


def test_floats_are_rounded_and_what_int16_cannot_hold_is_clipped(tiny_predictor, small_patient):
    scan = HU[small_patient.voxels]
    expected = tiny_predictor.predict(small_patient.with_voxels(scan)).voxels
    noisy = scan.astype(np.float32) + 0.4
    noisy[0, 0, 0] = -1e9
    assert np.array_equal(tiny_predictor.predict(small_patient.with_voxels(noisy)).voxels, expected)


def test_what_lies_below_air_counts_as_air(tiny_predictor, small_patient):
    scan = HU[small_patient.voxels]
    scan[:, :4] = -1024
    expected = tiny_predictor.predict(small_patient.with_voxels(scan)).voxels
    scan[:, :3] = -3024  # the padding of some scanners
    assert np.array_equal(tiny_predictor.predict(small_patient.with_voxels(scan)).voxels, expected)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_voxels_that_are_no_number_are_refused(tiny_predictor, value):
    scan = Volume.from_spacing(np.full((3, 4, 5), value, np.float32), (3, 1, 1))
    with pytest.raises(InputError, match="NaN or infinite"):
        tiny_predictor.predict(scan)


class Ran(Exception):  # noqa: N818
    """Names the signature that was run."""


@pytest.fixture
def signatures(monkeypatch):
    """Replaces the functions of a loaded model by some that raise Ran with the signature's name."""
    def raising(name):
        def run(**_):
            raise Ran(name)
        return run

    monkeypatch.setattr(signature, "load", lambda folder, model, name, optimize: raising(name))


def test_a_scan_larger_than_any_body_is_refused_before_the_graph_runs(quick_export, signatures):
    scan = Volume.from_spacing(np.zeros((30, 30, 30), np.int16), (99.0, 99.0, 99.0))
    with pytest.raises(InputError, match=r"2970 x 2970 x 2970 mm .* expected at most 1074 million"):
        Predictor(quick_export).predict(scan)


def test_xla_gives_the_labels_of_the_plain_signature(tiny_export, tiny_predictor, small_patient):
    scan = small_patient.with_voxels(HU[small_patient.voxels])
    compiled = Predictor(tiny_export[2], xla="on").predict(scan)
    assert np.array_equal(compiled.voxels, tiny_predictor.predict(scan).voxels)


def test_an_export_folder_stands_for_its_newest_version(tmp_path):
    for version in ("1", "2", "10"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "saved_model.pb").touch()
    (tmp_path / "11").mkdir()  # no model in it yet
    assert exports.find_export(tmp_path).name == "10"
    assert exports.find_export(tmp_path / "2").name == "2"


@pytest.mark.parametrize(("xla", "devices", "precision", "signature"), [
    ("auto", ["a GPU"], "auto", "xla"), ("auto", [], "auto", "serving_default"), ("on", [], "auto", "xla"),
    ("off", ["a GPU"], "auto", "serving_default"), ("auto", [], "bfloat16", "bfloat16"),
    ("auto", ["a GPU"], "bfloat16", "bfloat16"), ("auto", [], "float32", "serving_default")])
def test_the_compiled_signature_is_chosen_where_a_gpu_is_visible(quick_export, small_patient, signatures, monkeypatch,
                                                                 xla, devices, precision, signature):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: devices if kind == "GPU" else ["a CPU"])
    with pytest.raises(Ran, match=f"^{signature}$"):
        Predictor(quick_export, xla, precision).predict(small_patient)


def test_a_folder_without_a_model_says_how_to_make_one(tmp_path):
    with pytest.raises(InputError, match=r"python -m kits_tf\.cascade"):
        Predictor(tmp_path)


def test_a_damaged_model_is_one_line(tmp_path):
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "config.json").write_text("{}")
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01broken")
    with pytest.raises(InputError, match="cannot be loaded") as caught:
        Predictor(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.soak
def test_the_real_ct_gives_the_same_labels_in_all_48_orientations(oracle_predictor, real_ct, tmp_path):
    image = nib.load(real_ct)
    reference = None
    for code in CODES:
        there = orientations.ornt_transform(orientations.io_orientation(image.affine), orientations.axcodes2ornt(code))
        nib.save(image.as_reoriented(there), tmp_path / "scan.nii.gz")
        labels = oracle_predictor.predict(read_volume(tmp_path / "scan.nii.gz")).voxels  # canonical, so comparable
        reference = labels if reference is None else reference
        assert np.array_equal(labels, reference), code
