"""Tests whole-body phantoms: reproducible scans, plausible anatomy, and label edges like KiTS19's."""

import dataclasses
import json

import numpy as np
import pytest

from kits_tf import labels
from kits_tf.phantoms.abdomen import Scanner
from kits_tf.phantoms.body import kidneys as kidney_plan
from kits_tf.phantoms.body import scanner
from kits_tf.phantoms.body.canvas import EDGE_HU, Canvas, Pose
from kits_tf.phantoms.body.kidneys import plan_kidneys
from kits_tf.phantoms.body.organs import draw_organs
from kits_tf.phantoms.body.parenchyma import draw_kidney
from kits_tf.phantoms.body.patient import Patient
from kits_tf.phantoms.body.scan import draw_body
from kits_tf.phantoms.body.tissues import Tissues
from kits_tf.phantoms.drawing import Grid, ellipsoid
from kits_tf.phantoms.study import write_study

SMALL = {"size_voxels": 64, "slice_mm": (8.0, 8.0)}
STRAIGHT = Pose(np.eye(3), 0.0, 80.0)
ABDOMEN = Grid((50, 90, 100), (4.0, 3.0, 3.2), (-100.0, -140.0, -160.0))


def canvas_on(grid, pose=STRAIGHT, background=-105.0):
    canvas = Canvas(grid, pose, np.random.default_rng(0))
    canvas.hu[:] = background
    return canvas


def patient_of(seed):
    return Patient.random(np.random.default_rng(seed))


def tissues_in(phase, seed=0):
    """Returns the tissues of the first patient from this seed on whose tissues follow the phase."""
    while True:
        tissues = Tissues.random(np.random.default_rng(seed))
        if tissues.phase == phase and not tissues.wild:
            return tissues
        seed += 1


def only_field(monkeypatch, name):
    (field,) = [field for field in scanner.FIELDS if field[0] == name]
    monkeypatch.setattr(scanner, "FIELDS", ((field[0], 1.0, *field[2:]),))


@pytest.fixture(scope="module")
def planned():
    """{seed: (layout, volumes in ml by side, mean (z, y, x) in mm by side)} of 20 patients' kidneys without lesions."""
    found = {}
    for seed in range(20):
        layout, kidneys, _ = plan_kidneys(np.random.default_rng(seed), patient_of(seed))
        ml, middles = {}, {}
        for kidney in kidneys:
            canvas = canvas_on(Grid((60, 60, 110), (4.0, 3.0, 3.0), (-100.0, -100.0, -165.0)))
            canvas.paint(kidney.body, 40.0, label=labels.KIDNEY)
            hits = np.argwhere(canvas.labels == labels.KIDNEY)
            ml[kidney.side] = len(hits) * 36.0 / 1000
            middles[kidney.side] = hits.mean(axis=0) * canvas.grid.spacing_mm + canvas.grid.origin_mm
        found[seed] = layout, ml, middles
    return found


def test_same_seed_draws_the_same_scan_and_another_seed_another_patient():
    first, first_labels, notes = draw_body((3, 1), **SMALL)
    again, again_labels, again_notes = draw_body((3, 1), **SMALL)
    other, _, _ = draw_body((4, 1), **SMALL)
    assert np.array_equal(first.voxels, again.voxels)
    assert np.array_equal(first_labels.voxels, again_labels.voxels)
    assert notes == again_notes
    assert first.voxels.shape != other.voxels.shape or not np.array_equal(first.voxels, other.voxels)
    assert first.voxels.dtype == np.int16 and first_labels.voxels.dtype == np.uint8
    assert set(np.unique(first_labels.voxels)) <= {0, 1, 2}


def test_usual_kidneys_have_plausible_volumes(planned):
    usual = [ml for layout, volumes, _ in planned.values() if layout == "usual" for ml in volumes.values()]
    assert len(usual) > 16
    assert min(usual) > 55
    assert max(usual) < 290
    assert 90 < np.median(usual) < 190


def test_kidneys_lie_on_their_side_of_the_spine_and_the_right_one_usually_lower(planned):
    usual = [middles for layout, _, middles in planned.values() if layout == "usual"]
    assert all(middles[-1][2] < -35 and middles[1][2] > 35 for middles in usual)
    assert np.mean([middles[-1][0] > middles[1][0] for middles in usual]) > 0.6


def test_upper_poles_lie_nearer_to_the_spine_and_backs_face_back():
    layouts = [plan_kidneys(np.random.default_rng(seed), patient_of(seed)) for seed in range(30)]
    usual = [kidney for layout, kidneys, _ in layouts if layout == "usual" for kidney in kidneys]
    assert all(kidney.place(0, 1, 0)[1] > kidney.place(0, -1, 0)[1] for kidney in usual)
    assert all(kidney.place(-1, 0, 0)[2] * kidney.side < kidney.place(1, 0, 0)[2] * kidney.side for kidney in usual)


def test_every_layout_can_be_drawn():
    layouts = {plan_kidneys(np.random.default_rng(seed), patient_of(0))[0] for seed in range(250)}
    assert layouts == set(kidney_plan.LAYOUTS)


def test_liver_lies_at_the_patients_right_and_spleen_at_the_left():
    tissues = dataclasses.replace(tissues_in("native"), grain=0.0, liver=700.0, spleen=2000.0)
    canvas = canvas_on(ABDOMEN)
    draw_organs(canvas, patient_of(2), tissues, np.random.default_rng(8))
    x = ABDOMEN.origin_mm[2] + ABDOMEN.spacing_mm[2] * np.arange(ABDOMEN.shape[2])
    liver, spleen = (canvas.hu > 650) & (canvas.hu < 750), canvas.hu > 1500
    assert np.average(x, weights=liver.sum(axis=(0, 1))) < -25  # low x is the patient's right
    assert np.average(x, weights=spleen.sum(axis=(0, 1))) > 40


@pytest.mark.parametrize("phase", ["arterial", "late_arterial"])
def test_cortex_is_brighter_than_medulla_in_arterial_phases(phase):
    tissues = tissues_in(phase)
    rng = np.random.default_rng(1)
    kidney = next(kidney for seed in range(9) for kidney in plan_kidneys(np.random.default_rng(seed), patient_of(1))[1])
    canvas = canvas_on(Grid((45, 64, 64), (3.0, 1.5, 1.5), tuple(kidney.centre_mm - (66, 48, 48))))
    draw_kidney(canvas, tissues, kidney, rng)
    drawn = canvas.draw(kidney.outline, 2.0)
    inside = canvas.labels[drawn.window] == labels.KIDNEY
    hu = canvas.hu[drawn.window]
    assert hu[inside & (drawn.level > -4) & (drawn.level < -2)].mean() > hu[inside & (drawn.level < -9)].mean() + 15


def test_urine_is_bright_in_the_excretory_phase_only():
    for seed in range(60):
        tissues = Tissues.random(np.random.default_rng(seed))
        if not tissues.wild:
            assert (tissues.urine > 100) == (tissues.phase == "excretory")


def test_a_chest_holds_no_label(monkeypatch):
    only_field(monkeypatch, "chest without kidneys")
    for seed in range(3):
        _, drawn, notes = draw_body(seed, **SMALL)
        assert not drawn.voxels.any()
        assert notes["kidneys"] == "not in view" and notes["tumors"] == []


def test_long_scans_keep_to_the_slices_asked_for():
    rng = np.random.default_rng(0)
    views = [scanner.plan_view(rng, patient_of(0), 64, (1.0, 1.5), None) for _ in range(40)]
    assert all(1.0 <= view.grid.spacing_mm[0] <= 1.5 for view in views)
    assert max(view.grid.shape[0] for view in views) == scanner.MAX_SLICES


def test_a_finer_grid_shows_the_same_kidneys(monkeypatch):
    only_field(monkeypatch, "kidneys")
    ml = [float((drawn.voxels > 0).sum() * drawn.voxel_ml)
          for drawn in (draw_body(8, size, (5.0, 5.0))[1] for size in (96, 160))]
    assert ml[0] > 100
    assert ml[0] == pytest.approx(ml[1], rel=0.05)


@pytest.mark.parametrize("hu", [35.0, 180.0])
def test_a_label_reaches_into_fat_until_its_edge_hu(hu):
    canvas = canvas_on(Grid((48, 60, 56), (0.8, 0.8, 0.8), (-19.2, -23.6, -22.0)), background=-100.0)
    canvas.paint(ellipsoid((0, 0, 0), (60, 15, 17)), hu, 2.0, label=labels.KIDNEY)
    middle = canvas.hu[24], canvas.labels[24] == labels.KIDNEY
    assert middle[0][middle[1]].min() > EDGE_HU - 25
    assert middle[0][~middle[1]].max() < EDGE_HU + 25


def test_an_oblique_bent_canvas_keeps_volumes():
    turn = np.array([[1, 0, 0], [0, 0.9553, -0.2955], [0, 0.2955, 0.9553]])
    canvas = canvas_on(Grid((40, 70, 80), (3.0, 1.6, 1.5), (-60.0, -56.0, -60.0)), Pose(turn, 2.0, 90.0))
    canvas.paint(ellipsoid((0, 5, -8), (40, 20, 28)), 50.0, label=labels.KIDNEY)
    ml = (canvas.labels > 0).sum() * 3.0 * 1.6 * 1.5 / 1000
    assert ml == pytest.approx(4 / 3 * np.pi * 40 * 20 * 28 / 1000, rel=0.1)


def test_tumors_are_labeled_and_noted(monkeypatch):
    only_field(monkeypatch, "abdomen")
    _, drawn, notes = draw_body(1, **SMALL, tumor_share=1.0)
    assert (drawn.voxels == labels.TUMOR).any()
    assert all(5 <= tumor["diameter_mm"] <= 150 for tumor in notes["tumors"])
    _, drawn, notes = draw_body(1, **SMALL, tumor_share=0.0)
    assert (drawn.voxels == labels.KIDNEY).any() and not (drawn.voxels == labels.TUMOR).any()
    assert notes["tumors"] == []


def test_a_study_notes_what_each_case_holds(tmp_path):
    written = write_study(tmp_path, cases=2, seed=1, scanner=Scanner(64, (8.0, 8.0)), body=True, field_mm=(300, 320))
    entry = json.loads((tmp_path / "study.json").read_text())["case_00001"]
    assert entry == json.loads(json.dumps(written["case_00001"]))
    assert {"phase", "kidneys", "tumors", "findings", "scanner", "kidney_ml"} <= set(entry)
    assert 300 <= entry["spacing_mm"][1] * 64 <= 320.1
