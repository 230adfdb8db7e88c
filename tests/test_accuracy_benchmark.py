"""Tests the accuracy benchmark: ablation variants, result tables, and the threshold baseline."""

import csv
import io
import json

import numpy as np
import pytest
import tensorflow as tf
from harness.patients import HU, MARK_HU, SPACING_MM, ball
from harness.threshold_nets import Nets

from benchmarks.accuracy import ablation, nnunet_peer, protocol, results, threshold
from kits_tf import config as configs
from kits_tf.errors import InputError
from kits_tf.files import runs
from kits_tf.scans.nifti import read_labels, write_volume
from kits_tf.volume import Volume

CONFIG = configs.PRESETS["demo"]
VARIANTS = {variant.name: variant for variant in ablation.VARIANTS}
SHAPE = (40, 150, 220)


@pytest.fixture(scope="module")
def patient():
    """Labels of two kidneys, the right one (small x) with a tumor, and a tumor separate from both."""
    labels = np.zeros(SHAPE, np.uint8)
    for x in (60, 160):
        labels[ball(SHAPE, (20, 80, x), (9, 13, 13))] = 1
    labels[ball(SHAPE, (20, 80, 60), (3, 6, 6))] = 2
    stray = ball(SHAPE, (20, 60, 110), (2, 4, 4))
    return labels, stray


def answer(name, patient, with_stray=False, marked=False, **switches):
    labels, stray = patient
    nets = Nets()
    nets.set(**switches)
    hu = np.where(marked, MARK_HU, HU[labels]).astype(np.int16)
    if with_stray:
        hu[stray] = HU[2]
    function = ablation.build({stage: nets.net(stage) for stage in configs.STAGES}, CONFIG, VARIANTS[name])
    return function(tf.constant(hu), tf.constant(SPACING_MM)).numpy()


def test_coarse_alone_finds_both_kidneys_roughly_and_no_tumor(patient):
    found = answer("coarse", patient)
    truth = patient[0] > 0
    assert not (found == 2).any()
    overlap = 2 * (truth & (found > 0)).sum() / (truth.sum() + (found > 0).sum())
    assert 0.85 < overlap < 0.999


@pytest.mark.soak
def test_fine_draws_the_outline_and_no_tumor(patient):
    assert np.array_equal(answer("fine", patient), (patient[0] > 0).astype(np.uint8))


@pytest.mark.soak
def test_tumor3d_answers_without_tumor2d(patient):
    assert np.array_equal(answer("tumor3d", patient), patient[0])


@pytest.mark.parametrize(("name", "kept"), [
    ("stray_lesion_without", True), pytest.param("stray_lesion", False, marks=pytest.mark.soak)])
def test_a_lesion_beside_the_kidneys_stays_without_the_lesion_rule(patient, name, kept):
    labels, stray = patient
    found = answer(name, patient, with_stray=True)
    assert (found[stray] == 2).any() == kept
    assert (found == 2)[labels == 2].all()


@pytest.mark.soak
@pytest.mark.parametrize(("name", "kept"), [("no_part_rule", True), ("fusion_union", False)])
def test_what_fine_alone_finds_beside_the_kidneys_stays_without_the_part_rule(patient, name, kept):
    labels, _ = patient
    part = ball(SHAPE, (20, 80, 92), (2, 4, 4))  # in the crop of the kidney that ends at x = 73
    found = answer(name, patient, marked=part, fine_marks=1)
    assert np.array_equal(found, np.where(part & kept, 1, labels))


@pytest.mark.soak
@pytest.mark.parametrize(("name", "kidneys"), [("missed_kidney_without", 1), ("missed_kidney", 2)])
def test_a_kidney_that_coarse_does_not_see_comes_back_by_the_correction_alone(patient, name, kidneys):
    found = answer(name, patient)
    assert sum((found[:, :, half] > 0).any() for half in (slice(0, 110), slice(110, None))) == kidneys


@pytest.mark.soak
@pytest.mark.parametrize(("name", "found"), [("missed_tumor_without", False), ("missed_tumor", True)])
def test_a_tumor_that_tumor3d_misses_is_found_by_the_no_tumor_rule_alone(patient, name, found):
    assert (answer(name, patient) == 2).any() == found


@pytest.mark.soak
def test_without_covering_a_kidney_larger_than_a_crop_is_cut(patient):
    labels = np.zeros((40, 150, 260), np.uint8)
    labels[ball(labels.shape, (20, 80, 60), (9, 13, 13))] = 1
    labels[ball(labels.shape, (20, 80, 180), (9, 20, 62))] = 1  # 124 voxels wide; the demo's crop has 80
    found = answer("no_covering", (labels, None))
    assert 0 < ((found > 0) & (labels > 0)).sum() < 0.9 * (labels > 0).sum()
    assert np.array_equal(answer("fusion_union", (labels, None)) > 0, labels > 0)


def test_a_stray_lesion_looks_like_the_tumor_and_touches_no_kidney(patient):
    labels, _ = patient
    truth = Volume.from_spacing(labels, SPACING_MM)
    hu = ablation.with_stray_lesion(truth.with_voxels(HU[labels]), truth)
    added = hu != HU[labels]
    assert (hu[added] == HU[2]).all()
    assert added.sum() == (labels == 2).sum()
    assert not (added & (labels > 0)).any()


def test_no_stray_lesion_without_a_tumor():
    truth = Volume.from_spacing(np.zeros((4, 5, 6), np.uint8), SPACING_MM)
    assert ablation.with_stray_lesion(truth.with_voxels(np.zeros((4, 5, 6), np.int16)), truth) is None


def row(value):
    return dict.fromkeys(results.COLUMNS, value)


def test_results_tell_contrast_from_none_and_give_means(tmp_path):
    scores = {"full": {"case_00000": row(0.5), "case_00001": row(0.7), "case_00002": row(0.1)}}
    phases = {"case_00000": "arterial", "case_00001": "weak", "case_00002": "native"}
    results.write(tmp_path, scores, phases, {"full": "the whole cascade"})
    first, second = csv.DictReader(io.StringIO((tmp_path / "results.csv").read_text()))
    assert (first["variant"], float(first["tumor_dice"]), first["cases"]) == ("full", 0.6, "2")
    assert (second["variant"], float(second["kidney_dice"]), second["cases"]) == ("full_native", 0.1, "1")
    table = (tmp_path / "results.md").read_text()
    assert "0.600 | 0.500 to 0.700 | 0.600 | 0.500 (case_00000)" in table


def test_results_keep_the_cases_and_a_peer_that_was_not_run_again(tmp_path):
    phases = {"case_00000": "arterial"}
    descriptions = {"full": "the whole cascade", "fine": "+ fine", "nnunet": "the peer"}
    results.write(tmp_path, {"full": {"case_00000": row(0.5)}, "fine": {"case_00000": row(0.4)},
                             "nnunet": {"case_00000": row(0.25)}}, phases, descriptions)
    results.write(tmp_path, {"full": {"case_00000": row(0.75)}}, phases, descriptions)
    assert results.read_case_csv(tmp_path / "cases.csv") == {
        "full": {"case_00000": row(0.75)}, "nnunet": {"case_00000": row(0.25)}}
    assert [line.split(",")[2] for line in (tmp_path / "results.csv").read_text().splitlines()[1:]] == [
        "0.7500", "0.2500"]
    results.write(tmp_path, {"full": {"case_00007": row(0.5)}}, {"case_00007": "weak"}, descriptions)
    assert set(results.read_case_csv(tmp_path / "cases.csv")) == {"full"}


@pytest.mark.parametrize(("candidates", "best"), [
    ([[1.0, 1.2, 1.4, 0.9], [1.0, 1.2, 1.4, 0.9]], 0),
    ([[1.0, 1.2, 1.4, 0.9], [1.1, 1.3, 1.5, 1.0], [1.05, 1.25, 1.45, 0.95]], 1),
    ([[1.0, 1.2, 1.4, 0.9], [1.8, 1.1, 1.3, 0.8]], 0),  # because of one case only: gain 0.125, standard error 0.225
    ([[1.0, 1.2, 1.4, 0.9], [1.8, 1.1, 1.3, 0.8], [1.01, 1.22, 1.41, 0.92]], 2),
    ([[1.0, 1.2, 1.4, 0.9], [0.8, 1.0, 1.2, 0.7]], 0),
    ([[1.0], [1.9]], 0),
], ids=["the same", "all better", "chance", "little but sure", "worse", "one case"])
def test_the_preset_is_replaced_only_by_what_is_clearly_better(candidates, best):
    assert results.clearly_best(candidates) == best


def trained(folder, epochs, seconds):
    """Writes a run folder whose five stages have the given number of epochs in their histories."""
    for stage in configs.STAGES:
        place = runs.stage_folder(folder, stage, 0)
        runs.save_config(place, CONFIG)
        rows = [f"{epoch},{seconds},0.5" for epoch in range(epochs(stage))]
        (place / runs.HISTORY).write_text("\n".join(["epoch,seconds,val_dice", *rows]) + "\n")


def test_the_peer_gets_the_time_of_all_epochs_and_an_unfinished_training_is_refused(tmp_path):
    work = protocol.Work(tmp_path)
    whole = {stage: CONFIG.stage(stage).training.epochs for stage in configs.STAGES}
    trained(work.run, whole.get, 2.5)
    assert nnunet_peer.trained_seconds(work) == 2.5 * sum(whole.values())
    trained(work.run, lambda stage: whole[stage] - (stage == "fine"), 2.5)
    with pytest.raises(InputError, match="fine is not trained"):
        nnunet_peer.trained_seconds(work)


def test_a_bootstrap_interval_holds_the_mean_and_narrows_with_more_cases():
    values = np.random.default_rng(1).uniform(0, 1, 40)
    few, many = results.bootstrap(values[:10]), results.bootstrap(np.tile(values[:10], 16))
    assert few[0] < values[:10].mean() < few[1]
    assert (many[1] - many[0]) == pytest.approx((few[1] - few[0]) / 4, rel=0.1)


def test_thresholds_find_what_thresholds_can_find(tmp_path):
    """Kidneys of 150 HU with tumors of 60 HU in fat: easy, unlike the benchmark's cases."""
    shape, spacing = (24, 100, 160), (3.0, 2.0, 2.0)
    for study, seeds in (("train", (0, 1)), ("test", (2,))):
        summary = {}
        for seed in seeds:
            labels = np.zeros(shape, np.uint8)
            for x in (40 + seed, 120):
                labels[ball(shape, (12, 60, x), (9, 14, 12))] = 1
            labels[ball(shape, (12, 60, 40 + seed), (4, 6, 6))] = 2
            hu = np.random.default_rng(seed).normal(np.array([-100, 150, 60])[labels], 5).astype(np.int16)
            hu[:, :5] = hu[:, :, :5] = hu[:, :, -5:] = -1000
            folder = tmp_path / study / f"case_{seed:05d}"
            write_volume(folder / "imaging.nii.gz", Volume.from_spacing(hu, spacing))
            write_volume(folder / "segmentation.nii.gz", Volume.from_spacing(labels, spacing))
            summary[folder.name] = {"phase": "arterial"}
        (tmp_path / study / "study.json").write_text(json.dumps(summary))
    threshold.predict_study(tmp_path / "train", tmp_path / "test", tmp_path / "out")
    found = read_labels(tmp_path / "out" / "prediction_00002.nii.gz").voxels
    for class_id in (1, 2):
        overlap = 2 * ((found == class_id) & (labels == class_id)).sum()
        assert overlap / ((found == class_id).sum() + (labels == class_id).sum()) > 0.75


def test_the_worst_cases_are_those_with_the_least_of_both_dice():
    scores = {name: {"kidney_dice": kidney, "tumor_dice": tumor}
              for name, kidney, tumor in (("a", 0.9, 0.9), ("b", 0.95, 0.1), ("c", 0.5, 0.6), ("d", 0.97, 0.8))}
    assert results.worst(scores, 3) == ["b", "c", "d"]
