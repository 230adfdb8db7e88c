"""Tests the cascade's steps: the input of each network, and the effect of each rule when a network is wrong."""

import dataclasses

import numpy as np
from harness.oracles import dice
from harness.patients import HU, MARK_HU, SPACING_MM, ball
from harness.threshold_nets import eager


def test_perfect_nets_give_the_labels_back_and_a_quiet_report(cascade, patient):
    labels, report = cascade(patient)
    assert np.array_equal(labels, patient)
    voxel_ml = np.prod(SPACING_MM) / 1000
    assert report["kidneys_coarse"] == report["kidneys"] == 2
    assert not report["correction_used"] and not report["tumor_fallback_used"] and not report["coarse_empty"]
    assert report["lesions_kept"] == 1 and report["lesions_dropped"] == 0
    np.testing.assert_allclose(report["kidney_ml"], (patient == 1).sum() * voxel_ml, rtol=1e-5)
    np.testing.assert_allclose(report["tumor_ml"], (patient == 2).sum() * voxel_ml, rtol=1e-5)
    np.testing.assert_allclose(sum(report["coarse_components_ml"]), (patient > 0).sum() * voxel_ml, rtol=0.15)
    assert len(report["kidneys_found"]) == 2 and len(report["tumors_found"]) == 1
    tumor = np.array(report["tumors_found"])[0]
    np.testing.assert_allclose(tumor[:3], np.argwhere(patient == 2).mean(axis=0), atol=0.6)
    np.testing.assert_allclose(tumor[3], report["tumor_ml"], rtol=0.1)
    assert tumor[4] > 0.9


def test_the_correction_net_is_called_only_where_two_kidneys_were_not_found(cascade, patient):
    cascade(patient)
    assert cascade.nets.calls["correction"].numpy() == 0
    cascade(patient, coarse_blind=0.4)
    assert cascade.nets.calls["correction"].numpy() == -(-220 // 16)  # every sagittal plane, in batches of 16


def test_a_kidney_that_coarse_missed_is_brought_back_by_the_correction(cascade, patient):
    labels, report = cascade(patient, coarse_blind=0.4)
    assert report["kidneys_coarse"] == 1 and report["correction_used"] and report["kidneys"] == 2
    assert np.array_equal(labels, patient)


def test_the_correction_leaves_out_planes_beside_the_body_and_changes_nothing_by_it(cascade, patient):
    hu = HU[patient]
    hu[:, :, :28] = hu[:, :, 200:] = -1000
    hu[:, :5] = -1000
    labels, report = cascade(hu, coarse_blind=0.4)
    assert cascade.nets.calls["correction"].numpy() == -(-(200 - 28) // 16)
    assert report["correction_used"] and np.array_equal(labels, patient)
    everywhere, _ = cascade(HU[patient], coarse_blind=0.4)
    assert np.array_equal(labels, everywhere)


def test_without_its_correction_the_missed_kidney_stays_missed(cascade, patient):
    labels, report = cascade(patient, coarse_blind=0.4, correction_gain=0)
    assert report["correction_used"] and report["kidneys"] == 0
    assert not labels.any()


def test_the_corrected_mask_replaces_the_coarse_one(cascade, patient):
    lone = patient.copy()
    lone[:, :, :110] = 0
    labels, report = cascade(lone)
    assert report["kidneys_coarse"] == 1 and report["correction_used"] and report["kidneys"] == 1
    assert np.array_equal(labels, lone)


def test_an_empty_coarse_mask_sends_the_correction_to_the_middle_of_the_body(cascade, patient):
    hu = np.full(patient.shape, -1024, np.int16)
    hu[:, 30:140, 20:210] = HU[patient][:, 30:140, 20:210]
    labels, report = cascade(hu, coarse_gain=0)
    assert report["coarse_empty"] and report["kidneys_coarse"] == 0 and report["kidneys"] == 2
    assert np.array_equal(labels, patient)


def test_an_empty_coarse_mask_does_not_send_the_correction_to_the_middle_of_the_scan(cascade, patient):
    hu = np.full((120, 150, 220), -1024, np.int16)
    hu[80:] = HU[patient]  # the correction's 48 slices around slice 60 contain only air
    labels, report = cascade(hu, coarse_gain=0)
    assert report["coarse_empty"] and report["kidneys"] == 2
    assert np.array_equal(labels[80:], patient) and not labels[:80].any()


def test_the_correction_sees_64_slices_around_the_coarse_centroid_and_nothing_else(cascade):
    depth = cascade.config.correction.crop_voxels[0]  # 48 slices in the demo
    labels = np.zeros((120, 150, 220), np.uint8)
    labels[ball(labels.shape, (20, 80, 160), (9, 13, 13))] = 1
    near = ball(labels.shape, (26, 80, 60), (9, 13, 13))
    far = ball(labels.shape, (90, 80, 60), (9, 13, 13))
    found, report = cascade(labels | near | far, coarse_blind=0.5)
    assert report["kidneys_coarse"] == 1 and report["kidneys"] == 2
    assert np.array_equal(found > 0, (labels > 0) | near)
    assert 20 + depth // 2 < 90 - 9  # the far one lies entirely outside the crop


def test_a_kidney_longer_than_the_correction_crop_is_covered_by_several(cascade):
    labels = np.zeros((90, 150, 220), np.uint8)
    labels[ball(labels.shape, (45, 80, 110), (40, 16, 14))] = 1  # one component of 81 slices, 48 fit
    found, report = cascade(labels)
    assert report["correction_used"] and report["kidneys"] == 1
    assert np.array_equal(found, labels)


def test_components_too_small_for_a_kidney_are_none(cascade, patient):
    speck = ball(patient.shape, (30, 30, 110), (3, 5, 5))  # 3 ml; a kidney has more than 18
    labels, report = cascade(np.maximum(patient, speck))
    assert report["kidneys_coarse"] == 2 and not report["correction_used"]
    assert len(report["coarse_components_ml"]) == 3
    assert not labels[speck].any()


def test_three_kidneys_are_abnormal_and_all_three_are_segmented(cascade, patient):
    third = ball(patient.shape, (20, 60, 110), (9, 13, 13))
    labels, report = cascade(np.maximum(patient, third))
    assert report["kidneys_coarse"] == 3 and report["correction_used"] and report["kidneys"] == 3
    assert np.array_equal(labels, np.maximum(patient, third))


def test_a_kidney_wider_than_the_crop_is_covered_by_overlapping_crops(cascade):
    labels = np.zeros((24, 150, 260), np.uint8)
    labels[ball(labels.shape, (12, 75, 130), (7, 55, 110))] = 1  # 221 x 111 voxels; one crop has 80 x 80
    found, _ = cascade(labels)
    assert np.array_equal(found, labels)
    assert cascade.nets.calls["fine"].numpy() >= 3 * 2


def test_the_fine_net_sees_three_slices_beyond_either_pole(cascade, patient):
    lone = patient.copy()
    lone[:, :, 110:] = 0
    found, _ = cascade(lone, fine_bias=1, tumor3d_gain=0, tumor2d_gain=0)
    filled = np.flatnonzero((found > 0).any(axis=(1, 2)))
    kidney = np.flatnonzero((lone > 0).any(axis=(1, 2)))
    assert (filled[0], filled[-1]) == (kidney[0] - 3, kidney[-1] + 3)
    size = cascade.config.fine.crop_voxels
    assert (found[18] > 0).sum() == size * size


def test_a_part_that_fine_alone_finds_is_dropped_with_its_tumor(cascade, patient):
    beside = ball(patient.shape, (18, 80, 90), (2, 4, 4))  # in the crop of the kidney that ends at x 72
    beyond = ball(patient.shape, (5, 84, 160), (0.5, 8, 8))  # in fine's second slice beyond the pole at slice 7
    for part in (beside, beyond):
        hu = HU[patient]
        hu[part] = MARK_HU
        labels, report = cascade(hu, fine_marks=1)
        assert report["kidneys"] == 2 and report["kidney_parts_dropped"] == 1
        assert np.array_equal(labels, patient)
        labels, report = cascade(hu, fine_marks=1, tumor3d_marks=1)  # a lesion on a dropped part is dropped
        assert report["lesions_kept"] == 1 and report["lesions_dropped"] == 1
        assert np.array_equal(labels, patient)


def test_a_part_that_fine_alone_finds_stays_whole_where_it_touches_what_coarse_found(cascade, patient):
    part = ball(patient.shape, (8, 84, 160), (3, 8, 8)) & (patient == 0)  # over the pole
    hu = HU[patient]
    hu[part] = MARK_HU
    labels, report = cascade(hu, fine_marks=1)
    assert report["kidney_parts_dropped"] == 0
    assert np.array_equal(labels > 0, (patient > 0) | part)


def test_a_small_part_that_coarse_found_too_stays(cascade, patient):
    parted = patient.copy()
    parted[ball(patient.shape, (18, 80, 90), (2, 4, 4))] = 1
    labels, report = cascade(parted)
    assert report["kidneys"] == 2 and report["kidney_parts_dropped"] == 0
    assert len(report["coarse_components_ml"]) == 3
    assert np.array_equal(labels, parted)


def test_of_more_kidneys_than_allowed_the_smallest_is_dropped_with_its_tumor(cascade, patient):
    third = ball(patient.shape, (18, 80, 90), (3, 5, 5))
    more = np.where(third, np.uint8(1), patient)
    labels, report = cascade(more)
    assert np.array_equal(labels, more) and report["smaller_parts_dropped"] == 0
    labels, report = eager(dataclasses.replace(cascade.config, most_kidneys=2))(more)
    assert np.array_equal(labels, patient) and report["smaller_parts_dropped"] == 1


def test_after_a_correction_it_is_the_corrected_mask_that_counts(cascade, patient):
    part = ball(patient.shape, (18, 80, 90), (2, 4, 4))
    hu = HU[patient]
    hu[part] = MARK_HU
    labels, report = cascade(hu, fine_marks=1, coarse_blind=0.6)  # coarse sees only a part of the other kidney
    assert report["correction_used"] and report["kidney_parts_dropped"] == 1
    assert np.array_equal(labels, patient)
    labels, report = cascade(hu, fine_marks=1, coarse_blind=0.6, correction_bias=1)
    assert report["kidney_parts_dropped"] == 0 and labels[part].all()


def test_a_lesion_far_from_the_kidneys_is_dropped(cascade, patient):
    hu = HU[patient]
    mark = ball(patient.shape, (17, 84, 110), (3, 6, 6))  # between the kidneys, inside the box around both
    hu[mark] = MARK_HU
    labels, report = cascade(hu, tumor3d_marks=1)
    assert report["lesions_dropped"] >= 1
    assert not labels[mark].any()
    assert dice(labels == 2, patient == 2) > 0.9


def test_a_lesion_that_touches_a_kidney_is_kept_whole(cascade, patient):
    hu = HU[patient]
    mark = ball(patient.shape, (18, 80, 74), (3, 7, 7)) & (patient == 0)  # beside the kidney at x 60, radius 12
    hu[mark] = MARK_HU
    labels, report = cascade(hu, tumor3d_marks=1)
    assert report["lesions_kept"] >= 2
    assert (labels[mark] == 2).all()


def test_a_lesion_of_one_voxel_diagonal_to_the_kidney_is_connected(cascade):
    labels = np.zeros((40, 150, 220), np.uint8)
    labels[10:20, 60:80, 40:60] = 1
    labels[10:20, 60:80, 140:160] = 1
    labels[12:16, 64:70, 44:50] = 2  # enough tumor to avoid the fallback
    hu = HU[labels]
    hu[20, 80, 60] = MARK_HU  # touches the first kidney's corner only
    hu[22, 82, 62] = MARK_HU  # one voxel farther: touches nothing
    found, report = cascade(hu, tumor3d_marks=1)
    assert report["lesions_kept"] == 2 and report["lesions_dropped"] == 1
    assert found[20, 80, 60] == 2 and found[22, 82, 62] == 0


def test_tumor2d_does_not_bring_back_what_touches_neither_kidney_nor_lesion(cascade, patient):
    hu = HU[patient]
    island = ball(patient.shape, (17, 108, 166), (2, 2, 3))  # within tumor2d's reach of the tumor, which ends at y 104
    hu[island] = MARK_HU
    for marks, dropped in (({"tumor2d_marks": 1}, 0), ({"tumor2d_marks": 1, "tumor3d_marks": 1}, 1)):
        labels, report = cascade(hu, **marks)
        assert report["lesions_kept"] == 1 and report["lesions_dropped"] == dropped
        assert np.array_equal(labels, patient)
    bridge = np.zeros(patient.shape, bool)
    bridge[17, 104:107, 166] = True
    hu[bridge & (patient == 0)] = MARK_HU
    labels, _ = cascade(hu, tumor2d_marks=1)
    assert (labels[island & (np.indices(patient.shape)[1] <= 109)] == 2).all()  # tumor2d reaches 5 voxels


def test_a_lesion_beyond_the_crops_of_its_kidney_stays_as_tumor3d_found_it(cascade, patient):
    hu = HU[patient]
    mark = np.zeros(patient.shape, bool)
    mark[1:9, 80:88, 156:164] = True  # on top of a kidney whose crops begin with slice 5
    mark &= patient == 0
    hu[mark] = MARK_HU
    above = np.broadcast_to((np.arange(40) < 5)[:, None, None], patient.shape)
    labels, report = cascade(hu, tumor3d_marks=1)
    assert report["lesions_kept"] == 2 and (labels[mark] == 2).all()
    alone = eager(dataclasses.replace(cascade.config, tumor_fusion="tumor2d"))
    labels, _ = alone(hu, tumor3d_marks=1)
    assert (labels[mark & above] == 2).all()
    assert (labels[mark & ~above] == 1).all()  # tumor2d saw it and rejected it


def test_with_nothing_detected_tumor2d_searches_the_whole_kidney_region(cascade, patient):
    labels, report = cascade(patient, tumor3d_gain=0)
    assert report["tumor_fallback_used"] and report["lesions_kept"] == 0
    assert np.array_equal(labels, patient)


def test_fewer_voxels_than_the_threshold_count_as_nothing(cascade, patient):
    few = np.where(patient == 2, 1, patient)
    place = tuple(np.argwhere(patient == 2)[40])
    few[place] = 2
    assert cascade.config.tumor_min_voxels > 1
    labels, report = cascade(few)
    assert report["tumor_fallback_used"] and report["lesions_kept"] == 1
    assert np.array_equal(labels, few)  # tumor2d finds it too
    labels, report = cascade(few, tumor2d_gain=0)
    assert report["tumor_fallback_used"] and report["tumor_ml"] == 0
    assert np.array_equal(labels, np.minimum(few, 1))


def test_what_counts_as_nothing_is_no_kidney_either(cascade, patient):
    healthy = np.where(patient == 2, 1, patient)
    hu = HU[healthy]
    hu[18, 80, 73] = MARK_HU  # beside the kidney that ends at x 72
    labels, report = cascade(hu, tumor3d_marks=1)
    assert report["lesions_kept"] == 1 and report["tumor_fallback_used"]
    assert np.array_equal(labels, healthy)


def test_lesions_that_were_all_dropped_count_as_nothing(cascade, patient):
    healthy = np.where(patient == 2, 1, patient)
    hu = HU[healthy]
    hu[ball(patient.shape, (17, 84, 110), (3, 6, 6))] = MARK_HU
    labels, report = cascade(hu, tumor3d_marks=1)
    assert report["lesions_kept"] == 0 and report["lesions_dropped"] >= 1 and report["tumor_fallback_used"]
    assert not (labels == 2).any()


def test_with_a_lesion_detected_tumor2d_acts_only_around_it(cascade, patient):
    labels, report = cascade(patient, tumor2d_bias=1)
    assert not report["tumor_fallback_used"]
    assert (labels[:, :, :110] != 2).all()  # the other kidney is unchanged
    margin = cascade.config.refine_margin_voxels
    tumor, found = (np.flatnonzero((mask == 2).any(axis=(0, 1))) for mask in (patient, labels))
    assert (found[0], found[-1]) == (tumor[0] - margin, tumor[-1] + margin)


def test_tumor2d_is_not_called_for_a_kidney_without_a_detected_lesion(cascade, patient):
    cascade(patient)
    with_lesion = cascade.nets.calls["tumor2d"].numpy()
    cascade(patient, tumor3d_gain=0)
    assert 0 < with_lesion < cascade.nets.calls["tumor2d"].numpy()


def test_no_tumor_anywhere_leaves_kidneys_and_is_in_the_report(cascade, patient):
    labels, report = cascade(patient, tumor3d_gain=0, tumor2d_gain=0)
    assert np.array_equal(labels, (patient > 0).astype(np.uint8))
    assert report["tumor_fallback_used"] and report["tumor_ml"] == 0


def test_tumor3d_everywhere_is_one_lesion_that_fills_the_box_around_the_kidneys(cascade, patient):
    labels, report = cascade(patient, tumor3d_bias=1)
    assert report["lesions_kept"] == 1 and report["lesions_dropped"] == 0
    box = [np.flatnonzero((patient > 0).any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    pad = cascade.config.tumor3d.roi_pad_voxels
    pads = (cascade.config.slices_of(pad), pad, pad)
    expected = [(max(hit[0] - around, 0), min(hit[-1] + around, size - 1))
                for hit, around, size in zip(box, pads, patient.shape, strict=True)]
    tumor = [np.flatnonzero((labels == 2).any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    assert [(hit[0], hit[-1]) for hit in tumor] == expected


def test_nets_that_answer_everywhere_or_nowhere_break_nothing(cascade, patient):
    everywhere, report = cascade(patient, **{f"{stage}_bias": 1 for stage in cascade.nets.calls})
    assert everywhere.shape == patient.shape and report["kidneys"] == 1 and (everywhere == 2).all()
    nowhere, report = cascade(patient, **{f"{stage}_gain": 0 for stage in cascade.nets.calls})
    assert not nowhere.any() and report["kidneys"] == 0 and report["coarse_empty"]


def test_an_empty_fine_result_is_no_error(cascade, patient):
    labels, report = cascade(patient, fine_gain=0)
    assert not labels.any() and report["kidneys"] == 2 and report["lesions_kept"] == 0
    assert not report["tumor_fallback_used"]


def test_a_false_kidney_in_coarse_gets_its_own_crops(cascade, patient):
    bright = ball(patient.shape, (20, 40, 110), (8, 12, 12))  # a third organ as bright as kidney
    labels, report = cascade(np.maximum(patient, bright))
    assert report["kidneys"] == 3
    assert dice(labels > 0, np.maximum(patient, bright) > 0) == 1.0
