"""Deliberate faults: small mistakes in the source, each with the tests that must detect it.

    python tests/deliberate_faults.py                           # all of them; 15 took 7 s each, on two busy cores
    python tests/deliberate_faults.py --only=dilation --jobs=2

Each fault is written into a copy of the checkout. The tests that it names run there, in forks of a process that has
imported TensorFlow, and at least one must fail. The same tests must pass without the fault. This is mutation testing
with a list chosen by hand (DeMillo, Lipton and Sayward 1978, "Hints on test data selection"). A fault that no test
detects shows that a test is missing.

Exit status: 0 if every fault was caught, 1 if one was not, 2 if a test fails or is missing without any fault.
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import importlib
import json
import os
import pathlib
import queue
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
LONGEST_S = 300  # limit for the tests of one fault; a timeout counts as caught
LEFT_OUT = shutil.ignore_patterns(".git", ".venv*", "runs", "build", "shared", "__pycache__", ".*_cache", "*.egg-info")
PASSED = 0  # pytest's exit status
IMPORTED = ("tensorflow", "keras", "scipy.ndimage", "skimage.measure", "nibabel", "matplotlib.figure", "highdicom",
            "hypothesis")  # by the tests, and slow to import
VERDICTS = {1: "caught", None: "caught (timed out)", PASSED: "NOT CAUGHT"}  # other statuses: the tests did not run


@dataclasses.dataclass(frozen=True)
class Fault:
    """One deliberate mistake.

    Attributes:
        file: path of the changed file, from the checkout's root.
        old: text that occurs in the file exactly once.
        new: the replacement.
        tests: test files or node IDs that detect it, as few as possible.
        broken: the violated property, in a few words.
    """

    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    broken: str


FAULTS = (
    # Geometry: ops and volume.
    Fault("kits_tf/ops/resample.py",
          "centre = (tf.cast(voxel, tf.float64) + 0.5) * step - 0.5",
          "centre = tf.cast(voxel, tf.float64) * step",
          ("tests/ops/test_resample.py::test_doubling_puts_new_voxels_a_quarter_either_way",),
          "resampling is shifted by half a voxel"),
    Fault("kits_tf/ops/resample.py",
          "support = tf.maximum(step, 1.0)\n    voxel", "support = tf.ones_like(step)\n    voxel",
          ("tests/ops/test_resample.py::test_halving_weighs_four_voxels_1_3_3_1",),
          "shrinking does not antialias"),
    Fault("kits_tf/ops/resample.py",
          "tf.cast(whole + tf.cast(up, tf.int64), tf.int32)", "tf.cast(whole, tf.int32)",
          ("tests/ops/test_resample.py::test_grid_size_is_the_extent_over_the_spacing_rounded",),
          "grid size is floored, not rounded"),
    Fault("kits_tf/ops/resample.py",
          "whole % 2 == 1", "whole % 2 == 0",
          ("tests/ops/test_resample.py::test_half_a_slice_is_rounded_alike_in_a_graph_of_a_fixed_target",),
          "grid size rounds halves to odd"),
    Fault("kits_tf/ops/resample.py",
          "step - 0.5 - support\n", "step - 0.5\n",
          ("tests/ops/test_resample.py::test_source_range_leaves_out_no_voxel_that_has_weight",),
          "a resampled block lacks its first source voxels"),
    Fault("kits_tf/ops/resample.py",
          "block = tf.nn.relu(block - floor)", "block = block - floor",
          ("tests/ops/test_resample.py::test_values_below_the_floor_are_raised_before_resampling",),
          "values below air are kept"),
    Fault("kits_tf/ops/resample.py",
          "axis_weights(shape[axis], grid[axis]))\n        for axis in (1, 2))",
          "axis_weights(shape[axis], grid[axis]))\n        for axis in (2, 1))",
          ("tests/ops/test_resample.py::test_resample_square_normalizes_pads_with_air_and_resizes",),
          "y and x are swapped on the coarse grid"),
    Fault("kits_tf/ops/resample.py",
          "begins.append(rows[0])", "begins.append(columns[0])",
          ("tests/ops/test_resample.py::test_a_block_comes_back_as_it_would_inside_an_empty_volume",),
          "a block comes back at its position on the wrong grid"),
    Fault("kits_tf/ops/crop.py",
          "before = tf.clip_by_value(begin - start, 0, size)", "before = tf.zeros_like(begin)",
          ("tests/ops/test_crop.py::test_a_crop_reads_the_array_inside_and_the_fill_outside",),
          "a crop that begins outside is padded at the wrong end"),
    Fault("kits_tf/ops/crop.py",
          "tf.maximum(tf.slice(array, begin, end - begin), values)", "values",
          ("tests/ops/test_crop.py::test_paste_max_keeps_the_larger_and_pasted_twice_add_counts_twice",),
          "a pasted block overwrites larger values"),
    Fault("kits_tf/ops/crop.py",
          "tf.floor(centre + 0.5)", "tf.floor(centre)",
          ("tests/ops/test_crop.py::test_cover_axis_by_hand",),
          "a crop's center is floored, not rounded"),
    Fault("kits_tf/ops/crop.py",
          "count = 1 + -(-(extent - size) // (size - overlap))", "count = 1 + (extent - size) // (size - overlap)",
          ("tests/ops/test_crop.py::test_cover_axis_by_hand",),
          "one crop too few for the overlap"),
    Fault("kits_tf/ops/crop.py",
          "(tf.size(hit) - tf.argmax(", "(tf.size(hit) - 1 - tf.argmax(",
          ("tests/ops/test_crop.py::test_box_of_a_row",),
          "a mask's box ends one voxel early"),
    Fault("kits_tf/ops/crop.py",
          "jump = min(max(covered, 1), reach - covered)", "jump = max(covered, 1)",
          ("tests/ops/test_crop.py::test_one_voxel_grows_by_its_reach_either_way",),
          "dilation grows too far"),
    Fault("kits_tf/ops/components.py",
          "    for axis in range(3):\n        numbers = tf.maximum(numbers, tf.maximum(crop.shift(numbers, axis, 1), "
          "crop.shift(numbers, axis, -1)))",
          "    given = numbers\n    for axis in range(3):\n        numbers = tf.maximum(numbers, tf.maximum("
          "crop.shift(given, axis, 1), crop.shift(given, axis, -1)))",
          ("tests/ops/test_components.py::test_corners_touch_and_gaps_do_not",),
          "components have 6 neighbors, not 26"),
    Fault("kits_tf/ops/components.py",
          "tf.where(crop.dilate(mask, (1, 1, 1)), components, 0)", "tf.where(mask, components, 0)",
          ("tests/ops/test_components.py::test_touching_counts_corners",),
          "neighboring a mask does not count as touching it"),
    Fault("kits_tf/ops/components.py",
          "tf.cast(voxels[1:], tf.float64) * tf.cast(voxel_weight, tf.float64)", "tf.cast(voxels[1:], tf.float64)",
          ("tests/ops/test_components.py::test_sizes_are_voxels_times_their_weight",),
          "component sizes ignore the voxel weight"),
    Fault("kits_tf/scans/orientation.py",
          "return orientations.ornt_transform(IDENTITY, transform)", "return transform",
          ("tests/scans/test_orientation.py::test_invert_undoes_a_transform_twice_over",),
          "the inverse orientation is the orientation itself"),
    Fault("kits_tf/scans/orientation.py",
          "return affine @ orientations.inv_ornt_aff(transform, shape)", "return affine",
          ("tests/scans/test_orientation.py::test_any_axis_order_becomes_canonical_and_comes_back",),
          "the affine does not follow reoriented voxels"),
    Fault("kits_tf/ops/window.py",
          "tf.clip_by_value((tf.cast(hu, tf.float32) - low) / (high - low), 0.0, 1.0)",
          "(tf.cast(hu, tf.float32) - low) / (high - low)",
          ("tests/inputs/test_pipeline.py::test_validation_examples_are_the_center_crops_in_order",),
          "the intensity window does not clip"),
    Fault("kits_tf/volume.py",
          "np.linalg.norm(np.asarray(affine, np.float64)[:3, :3], axis=0))",
          "np.linalg.norm(np.asarray(affine, np.float64)[:3, :3], axis=1))",
          ("tests/test_volume.py::test_spacing_of_an_oblique_affine_is_its_columns_norms",),
          "spacing is read off the affine's rows"),
    Fault("kits_tf/volume.py",
          "np.clip(np.rint(voxels), limits.min, limits.max)", "np.clip(voxels, limits.min, limits.max)",
          ("tests/test_volume.py::test_voxels_become_int16_by_rounding_and_clipping",),
          "float Hounsfield units are truncated, not rounded"),
    Fault("kits_tf/volume.py",
          "np.clip(np.rint(voxels), limits.min, limits.max).astype(np.int16)", "np.rint(voxels).astype(np.int16)",
          ("tests/test_volume.py::test_voxels_become_int16_by_rounding_and_clipping",),
          "Hounsfield units beyond int16 wrap around"),
    Fault("kits_tf/volume.py",
          "axis=1).max())", "axis=1).min())",
          ("tests/evaluation/test_evaluation_command.py::"
           "test_prediction_in_another_place_scores_0_says_so_and_exits_with_1",),
          "two volumes count as aligned if any corner agrees"),
    Fault("kits_tf/labels.py",
          "return labels >= KIDNEY", "return labels == KIDNEY",
          ("tests/evaluation/test_scores.py::test_tumor_counts_as_kidney_in_tk_dice",),
          "the foreground leaves out the tumor"),
    # Scans.
    Fault("kits_tf/scans/nifti.py",
          "block = block.astype(np.float64) * slope + inter", "block = block.astype(np.float64) * slope",
          ("tests/scans/test_nifti.py::test_slope_and_intercept_are_applied",),
          "the NIfTI intercept is ignored"),
    Fault("kits_tf/scans/nifti.py",
          'count), order="F")', 'count), order="C")',
          ("tests/scans/test_nifti.py::test_kits19s_axis_order_is_read_as_it_lies",),
          "NIfTI voxels are read in C order"),
    Fault("kits_tf/scans/nifti.py",
          "reorient(np.asarray(labels, np.uint8), invert(source.transform))",
          "reorient(np.asarray(labels, np.uint8), source.transform)",
          ("tests/scans/test_nifti.py::test_any_orientation_is_read_canonical_and_labels_go_back_bit_for_bit",),
          "labels are written back by the wrong orientation"),
    Fault("kits_tf/scans/nifti.py",
          "    header.set_data_dtype(np.uint8)\n", "",
          ("tests/scans/test_nifti.py::test_any_orientation_is_read_canonical_and_labels_go_back_bit_for_bit",
           "tests/scans/test_nifti.py::test_labels_keep_affine_qform_sform_and_their_codes"),
          "labels are stored in the scan's number type"),
    Fault("kits_tf/scans/voxels.py",
          "known[list(values)] = True", "known[: max(values) + 2] = True",
          ("tests/scans/test_nifti.py::test_a_label_that_is_no_class_is_named",),
          "one label too many is accepted"),
    Fault("kits_tf/scans/label_map.py",
          'CYST: classes.KIDNEY}', 'CYST: classes.TUMOR}',
          ("tests/scans/test_label_map.py::test_cysts_become_kidney_and_are_kept_apart_for_scores",),
          "cysts become tumor"),
    Fault("kits_tf/scans/label_map.py",
          '("tumor", CYST, "mass", "kidney")', '("kidney", "tumor", CYST, "mass")',
          ("tests/scans/test_label_map.py::test_a_dataset_json_of_any_form_is_understood",),
          "of several regions the largest wins"),
    Fault("kits_tf/scans/layouts.py",
          'not file.name.startswith(".")]', 'file.name]',
          ("tests/scans/test_layouts.py::test_the_decathlon_goes_by_its_list_and_leaves_the_files_of_a_mac",
           "tests/scans/test_layouts.py::test_nnunet_of_either_version_with_plain_and_region_labels"),
          "the ._ files of a Mac are taken for scans"),
    Fault("kits_tf/scans/itk.py",
          "LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])", "LPS_TO_RAS = np.eye(3)",
          ("tests/scans/test_itk.py::test_every_voxel_lies_where_simpleitk_and_nibabel_say",),
          "NRRD and MetaImage stay in LPS"),
    Fault("kits_tf/scans/itk.py",
          'or "/" in name', "",
          ("tests/scans/test_itk.py::test_a_bad_file_is_refused_in_one_line_and_nothing_else_is_printed",),
          "a header may name voxels in any folder"),
    Fault("kits_tf/scans/multi_frame.py",
          "for place in (own, shared[0] if shared else {}):", "for place in (shared[0] if shared else {},):",
          ("tests/scans/test_multi_frame.py::test_groups_may_be_shared_or_per_frame",),
          "what a frame says of itself is ignored"),
    Fault("data_prep/manifest.py",
          '({"labels": str(case.labels)} if case.labels != KITS19 else {})', "{}",
          ("tests/data_prep/test_preparing_layouts.py::"
           "test_another_label_map_makes_every_case_stale_and_is_never_mixed",),
          "another label map leaves records as they are"),
    Fault("kits_tf/scans/limits.py",
          "length_mm = max(", "length_mm = min(",
          ("tests/scans/test_limits.py::test_spacing_and_length_are_refused_with_the_path",),
          "only a scan's shortest axis is bounded"),
    Fault("kits_tf/scans/dicom.py",
          "order = np.argsort(positions @ normal)", "order = np.arange(len(positions))",
          ("tests/scans/test_dicom.py::test_a_series_is_the_volume_that_simpleitk_makes_of_it",),
          "DICOM slices are taken in the order of their files"),
    Fault("kits_tf/scans/dicom.py",
          "affine = LPS_TO_RAS @ stack.affine", "affine = stack.affine",
          ("tests/scans/test_dicom.py::test_a_series_is_the_volume_that_simpleitk_makes_of_it",),
          "a DICOM affine stays in LPS"),
    Fault("kits_tf/scans/dicom.py",
          " + np.float32(dataset.RescaleIntercept)", "",
          ("tests/scans/test_dicom.py::test_a_series_is_the_volume_that_simpleitk_makes_of_it",),
          "the DICOM intercept is ignored"),
    Fault("kits_tf/scans/dicom.py",
          "min(rounding_mm, ROUNDED_TOLERANCE * missing_mm)", "rounding_mm",
          ("tests/scans/test_dicom.py::test_positions_of_whole_millimeters_hide_no_missing_slice",),
          "a missing slice is taken for rounding"),
    Fault("kits_tf/scans/dicom_files.py",
          "if taken.isdisjoint(own):", "if True:",
          ("tests/scans/test_discovery.py::test_a_series_spread_over_folders_is_one_scan_and_a_copy_is_another",),
          "a copy of a series is taken for more of its slices"),
    Fault("kits_tf/scans/segmentation.py",
          "masks.astype(np.uint8), LPS_TO_RAS @ labels.affine", "masks.astype(np.uint8), labels.affine",
          ("tests/scans/test_segmentation.py::test_a_segmentation_says_of_the_scans_own_voxels_what_the_labels_say",),
          "a DICOM segmentation lies in RAS"),
    Fault("kits_tf/scans/warnings.py",
          "zip((0, -1), AXES[name][1], strict=True)", "zip((0, 0), AXES[name][1], strict=True)",
          ("tests/scans/test_warnings.py::test_a_kidney_at_the_edge_names_the_edge",),
          "the far edge of a scan is not looked at"),
    # Files, locks, records, folds.
    Fault("kits_tf/files/atomic.py",
          """        yield temporary
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
""",
          "        yield path\n        temporary.unlink()\n",
          ("tests/files/test_atomic.py::test_a_file_appears_only_when_it_is_whole",),
          "files are written in place, without a rename"),
    Fault("kits_tf/files/atomic.py",
          "            temporary.unlink(missing_ok=True)\n", "            pass\n",
          ("tests/files/test_atomic.py::test_an_interruption_leaves_nothing",),
          "an interrupted write leaves its temporary file"),
    Fault("kits_tf/files/atomic.py",
          "os.O_WRONLY, 0o666)", "os.O_WRONLY, 0o600)",
          ("tests/files/test_atomic.py::test_permissions_are_those_of_any_new_file",),
          "written files can be read by their owner alone"),
    Fault("kits_tf/files/lock.py",
          "fcntl.LOCK_EX | fcntl.LOCK_NB", "fcntl.LOCK_SH | fcntl.LOCK_NB",
          ("tests/files/test_lock.py::test_the_second_is_refused_by_the_name_of_the_first",),
          "two runs share a folder's lock"),
    Fault("kits_tf/files/lock.py",
          "if _is_still(path, stream):", "if stream:",
          ("tests/files/test_lock.py::test_a_lock_whose_file_was_just_removed_does_not_count",),
          "a lock on a deleted file counts"),
    Fault("kits_tf/records/integrity.py",
          "return None if found == written else ", "return None if found else ",
          ("tests/records/test_integrity.py::test_a_change_is_named_and_training_does_not_start",),
          "a shard's checksum is not compared"),
    Fault("kits_tf/records/dataset.py",
          "train = sorted(written - folds[fold])", "train = sorted(written)",
          ("tests/records/test_dataset.py::test_a_fold_is_the_validation_set_and_the_rest_is_trained_on",),
          "validation cases are trained on"),
    Fault("kits_tf/records/dataset.py",
          'manifest["settings"] != config.record_settings(stage)',
          'manifest["settings"].keys() != config.record_settings(stage).keys()',
          ("tests/records/test_dataset.py::test_records_of_other_settings_are_refused",),
          "records of other settings are trained on"),
    Fault("kits_tf/records/dataset.py",
          'sum(case in fold for fold in known["folds"]) > 1', 'sum(case in fold for fold in known["folds"]) > 2',
          ("tests/records/test_integrity.py::test_folds_that_would_train_on_a_validation_case_are_refused",),
          "a case may be in two folds"),
    Fault("kits_tf/records/schema.py",
          'np.ascontiguousarray(example.image, "<i2")', 'np.ascontiguousarray(example.image, ">i2")',
          ("tests/records/test_schema.py::test_examples_are_read_as_they_were_written",),
          "record images are stored in the wrong byte order"),
    Fault("kits_tf/records/schema.py",
          '"labels": voxels("labels", tf.uint8)', '"labels": voxels("labels", tf.int8)',
          ("tests/records/test_schema.py",),
          "record labels are read as int8"),
    Fault("kits_tf/records/schema.py",
          'tf.ensure_shape(tf.reshape(tf.io.decode_raw(found[name], dtype), found["shape"]), shape)',
          "tf.reshape(tf.io.decode_raw(found[name], dtype), shape)",
          ("tests/records/test_schema.py::test_a_record_of_another_shape_is_refused_not_reshaped",),
          "a record of another shape is reshaped silently"),
    # Preparation.
    Fault("data_prep/preparation.py",
          "    with only_writer(data_dir):\n        check_conflicts(", "    if data_dir:\n        check_conflicts(",
          ("tests/data_prep/test_preparing.py::test_a_second_run_into_a_folder_is_refused_while_the_first_lasts",),
          "preparation does not lock its output folder"),
    Fault("data_prep/manifest.py",
          'if not entry or entry.get("sources") != found or "shard" not in entry:',
          'if not entry or "shard" not in entry:',
          ("tests/data_prep/test_preparing.py::test_a_changed_source_redoes_its_case_alone",),
          "a shard made from an older scan is accepted"),
    Fault("data_prep/manifest.py",
          'return entry["shard"] == file_facts(dataset.shard_path(data_dir, stage, name))',
          "return dataset.shard_path(data_dir, stage, name).exists()",
          ("tests/data_prep/test_preparing.py::test_a_damaged_shard_is_named_and_rebuilt_byte_for_byte",),
          "a damaged shard is not prepared again"),
    Fault("kits_tf/records/dataset.py",
          'f"{seed} {name}"', 'f"{name}"',
          ("tests/records/test_folds.py::test_the_order_of_the_names_does_not_matter_and_the_seed_does",),
          "the seed does not deal the folds"),
    Fault("kits_tf/records/dataset.py",
          'places |= known.get("left", {})', "pass",
          ("tests/records/test_folds.py::test_a_case_keeps_its_fold_whoever_joins_or_leaves_and_returns",),
          "a case that returns is dealt to another fold"),
    Fault("data_prep/preparation.py",
          "        check_conflicts(data_dir, cases, stages, config)\n", "",
          ("tests/data_prep/test_preparing.py::test_a_case_that_left_the_study_leaves_the_records_of_all_stages_on_demand",),
          "the records of another study are overwritten"),
    Fault("data_prep/cases.py",
          "np.rint(values.numpy()).astype(np.int16)", "values.numpy().astype(np.int16)",
          ("tests/data_prep/test_examples.py::"
           "test_every_record_is_its_block_of_the_scan_and_labels_that_scipy_resampled",),
          "resampled Hounsfield units are truncated in records"),
    Fault("data_prep/cases.py",
          '    check_same_place(case.segmentation, labels, ct, "scan")\n', "",
          ("tests/data_prep/test_preparing.py::test_a_bad_case_says_what_is_wrong_with_it",),
          "labels that lie elsewhere than their scan are prepared"),
    Fault("data_prep/cases.py",
          'f"{self.name} {stage}"', 'f"{stage}"',
          ("tests/data_prep/test_examples.py::test_drawn_examples_depend_on_the_case_and_the_stage_alone",),
          "every case draws by the same seed"),
    Fault("data_prep/examples.py",
          "start = (int(low[0]) + z,", "start = (z,",
          ("tests/data_prep/test_examples.py::"
           "test_each_kidney_has_its_slices_two_beyond_either_pole_and_crops_that_lose_nothing",),
          "a record's slice is counted from its kidney"),
    Fault("data_prep/examples.py",
          "np.flatnonzero(labels[inside] == kind)", "np.flatnonzero(labels[inside] >= kind)",
          ("tests/data_prep/test_examples.py::test_tumor3d_patches_are_centered_in_the_class_they_claim_inside_the_box",),
          "patches of a class are centred in higher classes too"),
    Fault("data_prep/check.py",
          "return DAMAGED if lines else WHOLE", "return WHOLE",
          ("tests/data_prep/test_check.py::test_what_is_wrong_is_named_and_nothing_is_written",),
          "a check that finds damage exits with 0"),
    # The cascade's rules.
    Fault("kits_tf/cascade/kidney_steps.py",
          "tf.where(voxels > min_voxels)", "tf.where(voxels >= min_voxels)",
          ("tests/cascade/test_kidney_steps.py::test_a_component_must_be_larger_than_the_threshold_to_be_a_kidney",),
          "a component of exactly the threshold counts as a kidney"),
    Fault("kits_tf/cascade/kidney_steps.py",
          "components.component_sizes(numbered, count, tf.reduce_prod(scale))",
          "components.component_sizes(numbered, count)",
          ("tests/cascade/test_rules.py::test_perfect_nets_give_the_labels_back_and_a_quiet_report",),
          "kidney size is counted in coarse voxels"),
    Fault("kits_tf/cascade/kidney_steps.py",
          "for axis in (1, 2)]\n    return tf.stack([1.0, ratio, ratio])",
          "for axis in (2, 1)]\n    return tf.stack([1.0, ratio, ratio])",
          ("tests/cascade/test_shapes.py::test_slices_that_are_not_square_are_padded_and_not_stretched",),
          "the coarse grid's padding is swapped between y and x"),
    Fault("kits_tf/cascade/kidney_steps.py",
          "tf.where(outlined & ~connected, 0.0, probabilities)", "tf.where(connected, probabilities, 0.0)",
          ("tests/cascade/test_kidney_steps.py::"
           "test_a_part_that_touches_the_mask_at_a_corner_stays_and_one_voxel_further_goes",),
          "probabilities around a kept kidney are cut off"),
    Fault("kits_tf/cascade/kidney_steps.py",
          "tf.floor((along + offset[axis]) / scale[axis])", "tf.round((along + offset[axis]) / scale[axis])",
          ("tests/cascade/test_kidney_steps.py::"
           "test_a_part_stays_whole_if_it_touches_the_mask_on_its_own_grid_wherever_the_region_begins",),
          "a mask is looked up half a voxel off"),
    Fault("kits_tf/cascade/kidney_steps.py",
          "tf.gather(mask, tf.clip_by_value(voxel, 0, size - 1), axis=axis) & inside",
          "tf.gather(mask, tf.clip_by_value(voxel, 0, size - 1), axis=axis)",
          ("tests/cascade/test_kidney_steps.py::test_a_mask_is_empty_beyond_its_grid",),
          "a mask extends beyond its grid"),
    Fault("kits_tf/cascade/kidney_steps.py",
          "return config.slices_of(pad), pad, pad", "return pad, pad, pad",
          ("tests/cascade/test_rules.py::test_tumor3d_everywhere_is_one_lesion_that_fills_the_box_around_the_kidneys",),
          "the frame around the kidneys is in voxels, not mm"),
    Fault("kits_tf/cascade/kidney_steps.py",
          "tf.maximum(start[0] - settings.extra_slices, 0)", "tf.maximum(start[0] - settings.extra_slices + 1, 0)",
          ("tests/data_prep/test_examples.py::"
           "test_each_kidney_has_its_slices_two_beyond_either_pole_and_crops_that_lose_nothing",),
          "one slice too few beyond a kidney's pole"),
    Fault("kits_tf/cascade/kidney_steps.py",
          "crop.paste_max(done, found, start)", "crop.paste_add(done, found, start)",
          ("tests/cascade/test_kidney_steps.py::"
           "test_overlapping_crops_are_averaged_within_a_kidney_and_the_larger_counts_between_two",),
          "probabilities of two kidneys' crops are added"),
    Fault("kits_tf/cascade/module.py",
          "tf.not_equal(kidneys_coarse, NORMAL_KIDNEYS)", "tf.less(kidneys_coarse, NORMAL_KIDNEYS)",
          ("tests/cascade/test_rules.py::test_three_kidneys_are_abnormal_and_all_three_are_segmented",),
          "three coarse kidneys need no correction"),
    Fault("kits_tf/cascade/module.py",
          "tf.cond(abnormal, corrected, lambda: found)", "found",
          ("tests/cascade/test_rules.py::test_a_kidney_that_coarse_missed_is_brought_back_by_the_correction",),
          "the correction's mask is not used"),
    Fault("kits_tf/cascade/module.py",
          "tf.cond(coarse_empty, lambda: kidney_steps.body_centre(slices_hu),\n"
          "                         lambda: kidney_steps.centroid(mask))",
          "kidney_steps.centroid(mask)",
          ("tests/cascade/test_rules.py::"
           "test_an_empty_coarse_mask_does_not_send_the_correction_to_the_middle_of_the_scan",),
          "an empty coarse mask is searched around the scan's middle, not the body's"),
    Fault("kits_tf/cascade/module.py",
          "tf.where(tumor, tf.constant(classes.TUMOR, tf.uint8), tf.cast(foreground, tf.uint8) * classes.KIDNEY)",
          "tf.where(foreground, tf.constant(classes.KIDNEY, tf.uint8), tf.cast(tumor, tf.uint8) * classes.TUMOR)",
          ("tests/cascade/test_rules.py::test_perfect_nets_give_the_labels_back_and_a_quiet_report",),
          "kidney wins over tumor"),
    Fault("kits_tf/cascade/module.py",
          '"tumor_ml": voxels[1] * voxel_ml', '"tumor_ml": voxels[1] * normalized_ml',
          ("tests/cascade/test_shapes.py::test_any_spacing_keeps_organs_where_they_are",),
          "tumor volume is counted in normalized voxels"),
    Fault("kits_tf/cascade/lesion_steps.py",
          "near = tf.where(crop.dilate(mask, (1, 1, 1)), probabilities, 0.0)",
          "near = tf.where(mask, probabilities, 0.0)",
          ("tests/cascade/test_lesion_steps.py::test_a_kept_lesion_keeps_the_probabilities_one_voxel_around_it",),
          "the dilation around a kept lesion is left out"),
    Fault("kits_tf/cascade/lesion_steps.py",
          "< config.tumor_min_voxels", "<= config.tumor_min_voxels",
          ("tests/cascade/test_lesion_steps.py::"
           "test_as_many_voxels_as_the_threshold_are_a_lesion_and_one_fewer_count_as_nothing",),
          "a lesion of exactly the smallest size counts as nothing"),
    Fault("kits_tf/cascade/lesion_steps.py",
          "fallback = some_kidney & nothing", "fallback = some_kidney & ~nothing",
          ("tests/cascade/test_rules.py::test_with_nothing_detected_tumor2d_searches_the_whole_kidney_region",),
          "the fallback of tumor2d is inverted"),
    Fault("kits_tf/cascade/lesion_steps.py",
          "lesion = tf.where(nothing, 0.0, lesions.probabilities)", "lesion = lesions.probabilities",
          ("tests/cascade/test_rules.py::test_what_counts_as_nothing_is_no_kidney_either",),
          "a lesion below the smallest size is labeled"),
    Fault("kits_tf/cascade/lesion_steps.py",
          "near = crop.dilate(searched, (config.slices_of(margin), margin, margin))", "near = searched",
          ("tests/cascade/test_rules.py::test_with_a_lesion_detected_tumor2d_acts_only_around_it",),
          "tumor2d searches the lesion without its margin"),
    Fault("kits_tf/cascade/lesion_steps.py",
          "tf.maximum(lesion, refined)", "tf.minimum(lesion, refined)",
          ("tests/cascade/test_rules.py::test_a_lesion_that_touches_a_kidney_is_kept_whole",),
          "tumor is the intersection of both nets, not the union"),
    Fault("kits_tf/cascade/lesion_steps.py",
          "foreground = probabilities * (1.0 - threshold)", "foreground = probabilities * threshold",
          ("tests/cascade/test_lesion_steps.py::test_a_threshold_moves_to_one_half_by_a_constant_in_the_logits",),
          "the lesion threshold is ignored"),
    Fault("kits_tf/cascade/tiling.py",
          "size - voxel), tf.float32) / total", "size - voxel), tf.float32)",
          ("tests/cascade/test_tiling.py",),
          "tiling weights do not sum to 1"),
    Fault("kits_tf/cascade/tiling.py",
          "tf.minimum(voxel + 1, size - voxel), tf.float32)", "tf.minimum(voxel, size - voxel), tf.float32)",
          ("tests/cascade/test_tiling.py",),
          "tiling weights are shifted by a voxel"),
    Fault("kits_tf/cascade/average.py",
          "return total / len(runs)", "return total / len(members)",
          ("tests/cascade/test_average.py::"
           "test_mirrored_views_of_a_net_that_favors_one_side_average_out_in_place",),
          "the mean over mirror images is a sum"),
    Fault("kits_tf/cascade/average.py",
          "tf.reverse(member(tf.reverse(seen, view)), view)", "member(tf.reverse(seen, view))",
          ("tests/cascade/test_average.py::"
           "test_mirrored_views_of_a_net_that_favors_one_side_average_out_in_place",),
          "an answer to a mirror image is not mirrored back"),
    # Export.
    Fault("kits_tf/cascade/export.py",
          "max(taken, default=0) + 1", "len(taken) + 1",
          ("tests/cascade/test_export.py::"
           "test_the_next_version_is_one_above_the_newest_though_earlier_ones_were_deleted",),
          "a new version takes the number of versions, not the next number"),
    Fault("kits_tf/cascade/export.py",
          "        shutil.rmtree(temporary, ignore_errors=True)\n", "",
          ("tests/cascade/test_export.py::test_a_failing_save_leaves_no_version",),
          "a failed export leaves its files"),
    Fault("kits_tf/cascade/warmup.py",
          "for stage in configs.STAGES:", "for stage in configs.STAGES[1:]:",
          ("tests/cascade/test_export.py::test_warm_up_requests_are_prediction_logs_that_fit_the_signatures",),
          "the coarse net is not warmed up"),
    Fault("kits_tf/cascade/module.py",
          'tf.TensorSpec((None, None, None), tf.int16, name="volume")',
          'tf.TensorSpec((None, None, None), tf.float32, name="volume")',
          ("tests/cascade/test_export.py::test_signatures_name_their_inputs_and_outputs",),
          "the signature takes float32 volumes"),
    Fault("kits_tf/files/exports.py",
          "key=lambda path: int(path.name)", "key=lambda path: path.name",
          ("tests/serving/test_predictor.py::test_an_export_folder_stands_for_its_newest_version",),
          "version 9 is newer than version 10"),
    # Networks.
    Fault("kits_tf/models/fold.py",
          "beta - mean * gain]", "beta - mean]",
          ("tests/models/test_fold.py::test_folded_net_answers_alike",),
          "folding batch norm does not scale the mean"),
    Fault("kits_tf/models/normalization.py",
          "old * self.momentum + seen * (1.0 - self.momentum)", "seen * self.momentum + old * (1.0 - self.momentum)",
          ("tests/models/test_normalization.py::test_it_is_the_formula",),
          "batch norm's momentum is swapped"),
    Fault("kits_tf/models/blocks.py",
          "tf.stack([inputs] * factor, axis=axis + 1)", "tf.stack([inputs] * factor, axis=axis)",
          ("tests/models/test_models.py::test_repeat_makes_every_voxel_a_block",),
          "upsampling repeats the image, not its voxels"),
    Fault("kits_tf/models/blocks.py",
          "return inputs[..., :1]", "return inputs[..., -1:]",
          ("tests/models/test_fold.py::test_an_output_that_is_only_trained_changes_nothing_in_a_folded_net",),
          "tumor3d answers with its kidney output"),
    # Losses and metrics.
    Fault("kits_tf/losses.py",
          "return 1.0 - (2.0 * overlap + SMOOTH) / (size + SMOOTH)", "return 1.0 - 2.0 * overlap / (size + SMOOTH)",
          ("tests/test_losses.py::test_soft_dice_of_two_voxels_by_hand",),
          "soft Dice is smoothed in the denominator alone"),
    Fault("kits_tf/losses.py",
          "within = list(range(1, len(labels.shape)))", "within = list(range(len(labels.shape) - 1))",
          ("tests/test_losses.py::test_dice_per_example_weighs_a_small_lesion_like_a_large_one",),
          "Dice per example is taken over the wrong axes"),
    Fault("kits_tf/losses.py",
          "sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)",
          "sigmoid_cross_entropy_with_logits(labels=labels, logits=tf.sigmoid(logits))",
          ("tests/test_losses.py::test_cross_entropy_of_a_net_that_knows_nothing_is_log_2",),
          "cross-entropy takes the sigmoid twice"),
    Fault("kits_tf/losses.py",
          "shown = tf.cast(foreground > 0, tf.float32)", "shown = tf.cast(foreground >= 0, tf.float32)",
          ("tests/test_losses.py::test_dice_per_example_leaves_examples_without_foreground_out",),
          "examples without foreground count in Dice per example"),
    Fault("kits_tf/metrics.py",
          "np.maximum(labels + predicted, 1.0), 1.0)", "np.maximum(labels + predicted, 1.0), 0.0)",
          ("tests/test_losses.py::test_case_dice_adds_voxels_before_dividing",),
          "the validation Dice of two empty masks is 0"),
    Fault("kits_tf/metrics.py",
          "labels, predicted = labels * counted, predicted * counted", "labels = labels * counted",
          ("tests/test_losses.py::test_case_dice_adds_voxels_before_dividing",
           "tests/inputs/test_pipeline.py::test_validation_examples_count_each_voxel_of_a_case_once"),
          "predicted voxels of overlapping examples count twice"),
    # Sampling and augmentation.
    Fault("kits_tf/inputs/pipeline.py",
          "image, *masks = tf.split(_centre(moved, (first, second)), len(parts), axis=-1)",
          "image, *masks = tf.split(_centre(moved, (first, second)), len(parts), axis=-1)\n"
          "    masks = [_centre(part, (first, second)) for part in parts[1:]]",
          ("tests/inputs/test_pipeline.py::test_image_and_target_move_together",),
          "labels are not warped with their image"),
    Fault("kits_tf/inputs/pipeline.py",
          "(tf.cast(mask >= 0.5, tf.float32) for mask in masks)", "(tf.cast(mask > 0.0, tf.float32) for mask in masks)",
          ("tests/inputs/test_pipeline.py::test_image_and_target_move_together",
           "tests/inputs/test_augment.py"),
          "warped masks grow by what was interpolated"),
    Fault("kits_tf/inputs/pipeline.py",
          "seeds = tf.stack([-1 - seed, tf.cast(number, tf.int32)])", "seeds = tf.stack([-1 - seed, 0])",
          ("tests/inputs/test_pipeline.py::test_a_record_that_is_drawn_again_is_varied_otherwise",),
          "every batch is augmented by the same seed"),
    Fault("kits_tf/inputs/pipeline.py",
          "return chosen.skip(tf.cast(epoch == first_epoch, tf.int64) * begun * training.batch_size)", "return chosen",
          ("tests/inputs/test_pipeline.py::test_a_run_stopped_within_an_epoch_continues_with_its_next_batch",),
          "a resumed epoch draws its first batches again"),
    Fault("kits_tf/inputs/pipeline.py",
          "*map(within, range(3))) == 0, tf.float32)", "*map(within, range(3))) >= 0, tf.float32)",
          ("tests/inputs/test_pipeline.py::test_validation_examples_count_each_voxel_of_a_case_once",),
          "voxels of overlapping validation examples are scored twice"),
    Fault("kits_tf/inputs/sampling.py",
          "order = tf.argsort(tf.random.stateless_uniform([len(paths)], seed))", "order = tf.range(len(paths))",
          ("tests/inputs/test_sampling.py::test_each_seed_reads_the_shards_in_an_order_of_its_own",),
          "shards are always read in the same order"),
    Fault("kits_tf/inputs/sampling.py",
          "turned = shard.skip(start).concatenate(shard.take(start))", "turned = shard",
          ("tests/inputs/test_sampling.py::"
           "test_head_and_feet_are_drawn_alike_when_an_epoch_reads_a_part_of_each_shard",),
          "every shard is read from its start"),
    Fault("kits_tf/inputs/sampling.py",
          "kind_of(serialized) == tf.constant(kinds)", "kind_of(serialized) >= tf.constant(kinds)",
          ("tests/inputs/test_sampling.py::test_tumor3d_draws_background_kidney_and_tumor_in_turn",),
          "a group draws examples of higher kinds too"),
    Fault("kits_tf/inputs/augment.py",
          "return drawn[self.first:self.first + self.count]", "return drawn[:self.count]",
          ("tests/inputs/test_augment.py::test_workers_make_the_rows_of_one_batch_between_them",),
          "every worker draws the first worker's augmentation"),
    Fault("kits_tf/inputs/augment.py",
          "    linear *= [[1.0, second_mm / first_mm], [first_mm / second_mm, 1.0]]\n", "",
          ("tests/inputs/test_augment.py::test_rotation_keeps_lengths_in_mm",),
          "sagittal planes are rotated in voxels, not mm"),
    Fault("kits_tf/inputs/augment.py",
          "tf.round(_uniform(seeds[5 + index], rows, -room - 0.499, room + 0.499))",
          "_uniform(seeds[5 + index], rows, -room - 0.499, room + 0.499)",
          ("tests/inputs/test_augment.py::test_jitter_moves_by_whole_voxels_up_to_its_bound",),
          "jitter moves by parts of a voxel"),
    # Training.
    Fault("kits_tf/training/task.py",
          "        tf.keras.utils.set_random_seed(self.seed)\n", "",
          ("tests/training/test_training.py::test_the_same_seed_starts_from_the_same_weights",),
          "the seed does not decide the initial weights"),
    Fault("kits_tf/training/task.py",
          '{"seed": self.seed, "precision": self.precision,', '{"precision": self.precision,',
          ("tests/training/test_training.py::test_a_folder_of_another_run_is_refused_in_one_line",),
          "a run continues in a folder of another seed"),
    Fault("kits_tf/training/checkpoints.py",
          'parts = {"weights": step.weights, "optimizer": tf_variables(step.optimizer.variables),',
          'parts = {"weights": step.weights,',
          ("tests/training/test_start.py::test_a_resumed_run_ends_as_one_left_alone_though_fine_is_gone",),
          "checkpoints leave out the optimizer"),
    Fault("kits_tf/files/runs.py",
          'return max(history, key=lambda row: (row["val_dice"], row["epoch"]))',
          'return min(history, key=lambda row: (row["val_dice"], row["epoch"]))',
          ("tests/training/test_training.py::test_weights_load_into_a_net_built_from_the_saved_config",
           "tests/training/test_training.py::test_training_stops_early_when_the_validation_dice_no_longer_rises"),
          "the worst epoch's weights are kept as the best"),
    Fault("kits_tf/training/progress.py",
          "return len(self.history) * training.steps_per_epoch + self.steps",
          "return max(len(self.history) - 1, 0) * training.steps_per_epoch + self.steps",
          ("tests/training/test_start.py::test_a_resumed_run_ends_as_one_left_alone_though_fine_is_gone",),
          "a resumed run repeats the batches of an epoch"),
    Fault("kits_tf/files/runs.py",
          ">= training.patience", "> training.patience",
          ("tests/training/test_training.py::test_patience_counts_epochs_since_the_best",),
          "a run waits one epoch longer than its patience"),
    Fault("kits_tf/training/step.py",
          "gradients = [gradient * shorter for gradient in gradients]", "gradients = list(gradients)",
          ("tests/training/test_step.py::test_a_clipped_step_is_as_long_as_allowed_and_a_short_one_stays",),
          "gradients are not clipped"),
    Fault("kits_tf/training/step.py",
          "mean + (1.0 - decay) * (weight - mean)", "mean + decay * (weight - mean)",
          ("tests/training/test_step.py::test_the_average_follows_the_weights_and_replaces_them_for_a_while",),
          "the weights' average moves by the decay, not its complement"),
    Fault("kits_tf/training/step.py",
          "tf.maximum(scale / 2.0, 1.0)", "scale",
          ("tests/training/test_step.py::test_a_gradient_beyond_float16_changes_nothing_but_the_loss_scale",),
          "the loss scale is not halved after an overflow"),
    Fault("kits_tf/training/schedule.py",
          "tf.minimum((step + 1.0) / warm, left)", "tf.minimum(step / warm, left)",
          ("tests/training/test_schedule.py::test_warm_up_rises_step_by_step_and_the_fall_starts_after_it",),
          "the learning rate's warm-up is one step late"),
    Fault("kits_tf/training/scoring.py",
          "overlap_counts(target, tf.sigmoid(logits), first)", "overlap_counts(target, tf.sigmoid(logits))",
          ("tests/training/test_scoring.py::test_a_voxel_that_two_examples_of_a_case_hold_counts_once",),
          "the validation Dice counts overlaps twice"),
    Fault("kits_tf/training/start.py",
          'FRESH = "logits"', 'FRESH = "probabilities"',
          ("tests/training/test_start.py::test_what_the_nets_have_alike_is_fines_and_the_rest_is_fresh",),
          "tumor2d starts from the fine net's last layer too"),
    Fault("kits_tf/files/runs.py",
          'facts.get("scan") in scans or (', "(",
          ("tests/training/test_start.py::test_weights_trained_on_the_validation_cases_are_refused_under_any_name",),
          "a validation case is not recognized under another name"),
    Fault("kits_tf/training/checks.py",
          "nets[str(place)] = runs.load_identity(place)", "pass",
          ("tests/training/test_start.py::"
           "test_tumor2d_does_not_train_on_what_fine_is_validated_on_nor_the_other_way_round",),
          "tumor2d trains on cases that fine is validated on"),
    Fault("kits_tf/training/checks.py",
          '.get("records", here[case]["records"])', '.get("nothing", here[case]["records"])',
          ("tests/training/test_training.py::"
           "test_a_run_whose_records_were_prepared_again_with_other_labels_is_refused",),
          "a run continues with other records of the same cases"),
    Fault("kits_tf/training/checks.py",
          "        raise no_checkpoint(folder)\n", "        pass\n",
          ("tests/training/test_training.py::test_without_a_whole_checkpoint_a_begun_run_is_refused_and_left_alone",),
          "a run without checkpoints is trained again over its results"),
    Fault("kits_tf/training/checkpoints.py",
          "            self._keep_longer(progress)\n", "",
          ("tests/training/test_training.py::test_a_run_continues_from_the_newest_whole_checkpoint_and_keeps_all",),
          "a shorter history overwrites a longer one"),
    Fault("kits_tf/cascade/collect.py",
          "        if clash:", "        if not trained:",
          ("tests/cascade/test_export.py::test_a_net_trained_on_the_validation_cases_of_another_is_refused",),
          "nets of different folds are exported as one"),
    Fault("kits_tf/models/__init__.py",
          "        if differs:", "        if not net:",
          ("tests/training/test_start.py::test_weights_that_do_not_fit_are_one_line_that_says_what_differs",),
          "arrays that a net has no use for are ignored"),
    # Serving.
    Fault("kits_tf/serving/client.py",
          "return method(request, timeout=self._deadline_s)", "return method(request)",
          ("tests/serving/test_client.py::test_a_deadline_that_has_passed_is_one_line",),
          "the client's deadline is ignored"),
    Fault("kits_tf/serving/client.py",
          '"retryableStatusCodes": ["UNAVAILABLE"]', '"retryableStatusCodes": ["UNAVAILABLE", "INTERNAL"]',
          ("tests/serving/test_client.py::test_nothing_else_is_tried_again",),
          "a request that failed for good is sent again"),
    Fault("kits_tf/serving/client.py",
          '"maxAttempts": 5', '"maxAttempts": 2',
          ("tests/serving/test_client.py::test_unavailable_is_tried_again",),
          "the client gives up after one retry"),
    Fault("kits_tf/serving/client.py",
          "return max(ready)", "return min(ready)",
          ("tests/serving/test_client.py::test_the_newest_version_that_is_ready_answers",),
          "the oldest version on a server answers"),
    Fault("kits_tf/serving/safety.py",
          "(graph.node, *(each.node_def for each in graph.library.function))",
          "(graph.node,)",
          ("tests/serving/test_safety.py",),
          "functions of a model are not searched for unsafe operations"),
    Fault("kits_tf/serving/explain.py",
          'elif found["kidneys"] != NORMAL_KIDNEYS:', 'elif found["kidneys"] > NORMAL_KIDNEYS:',
          ("tests/serving/test_explain.py::test_each_decision_is_explained_once_and_nothing_else",),
          "a single kidney brings no warning"),
    # Predictions.
    Fault("kits_tf/reporting/predictions.py",
          "all(files[path.name] == file_facts(path) for path in paths)", "all(path.exists() for path in paths)",
          ("tests/serving/test_predict_again.py::"
           "test_a_file_that_was_changed_since_is_kept_and_reported_without_overwrite",),
          "a changed prediction is skipped, its checksum not compared"),
    Fault("kits_tf/reporting/predictions.py",
          '"model": settings.model, "version"', '"model": "", "version"',
          ("tests/serving/test_predict_again.py::test_another_model_redoes_all_and_the_same_one_elsewhere_nothing",),
          "predictions of another model are kept"),
    Fault("kits_tf/reporting/predictions.py",
          "    if settings.precision_asked and", "    if",
          ("tests/serving/test_predict_again.py::"
           "test_what_auto_chose_makes_no_case_stale_but_a_flag_that_differs_does",),
          "a case that another machine computed in bfloat16 is redone"),
    Fault("kits_tf/cluster/on_dask.py",
          "    if gpu and gpus and not device.has_gpu():", "    if False:",
          ("tests/cluster/test_cluster.py::test_no_worker_is_idle_for_a_gpu_that_tensorflow_cannot_use",),
          "workers wait for a GPU that TensorFlow cannot use"),
    Fault("kits_tf/device.py",
          "    if not gpu and has_nvidia():", "    if False:",
          ("tests/test_device.py::"
           "test_an_nvidia_device_that_tensorflow_cannot_use_is_one_line_with_the_remedy",),
          "nothing is said of a GPU that is not used"),
    Fault("kits_tf/cascade/bfloat16.py",
          "(node.op == \"Shape\" or name in leads)", "(True)",
          ("tests/cascade/test_bfloat16.py::test_only_the_last_convolution_and_what_follows_it_stay_float32",),
          "the logits are computed in bfloat16"),
    Fault("kits_tf/serving/precision.py",
          "and safe and fast and not compiled)", "and fast and not compiled)",
          ("tests/serving/test_precision.py::test_the_flag_decides_then_the_hardware",),
          "nets whose labels were not compared compute in bfloat16"),
    Fault("kits_tf/cascade/kidney_steps.py",
          "rank >= most)", "rank > most)",
          ("tests/cascade/test_kidney_steps.py::test_the_largest_parts_stay_and_the_voxels_around_them",),
          "a part more than allowed is kept"),
    Fault("kits_tf/cascade/compare.py",
          "return min((row[mask]", "return max((row[mask]",
          ("tests/cascade/test_compare.py::test_the_least_dice_leaves_out_masks_below_a_milliliter",),
          "the best case decides on bfloat16, not the worst"),
    Fault("kits_tf/reporting/predictions.py",
          '    if settings.xla != "auto" and', "    if",
          ("tests/serving/test_predict_again.py::"
           "test_what_auto_chose_makes_no_case_stale_but_a_flag_that_differs_does",),
          "a case that another machine made with XLA is redone"),
    Fault("kits_tf/environment.py",
          "return super().write(data) or len(data)\n        except OSError:\n            return len(data)",
          "return super().write(data) or len(data)\n        finally:\n            pass",
          ("tests/test_environment.py::test_printing_never_fails_a_command",),
          "a pipe that nobody reads ends a run"),
    Fault("kits_tf/files/own.py",
          "        check_own(targets, overwrite)\n", "",
          ("tests/files/test_own.py::test_what_is_not_ours_is_kept_without_overwrite",),
          "a file of the user is written over"),
    Fault("kits_tf/files/own.py",
          "        _list(folder, files)\n        for path, target in zip(files, targets, strict=True):\n"
          "            os.replace(path, target)\n",
          "        for path, target in zip(files, targets, strict=True):\n"
          "            os.replace(path, target)\n        _list(folder, targets)\n",
          ("tests/files/test_own.py::test_a_run_that_is_killed_while_it_moves_a_file_knows_what_it_wrote",),
          "a run that is killed before it lists a file takes it for the user's"),
    Fault("kits_tf/serving/__main__.py",
          "predictions.SUMMARY, [rows[case.name] for case in cases])",
          'predictions.SUMMARY, [rows[case.name] for case in cases if "kidneys" in rows[case.name]])',
          ("tests/serving/test_bad_folder.py::test_the_summary_says_why_a_scan_was_refused",),
          "a failed case has no row in the summary"),
    Fault("kits_tf/serving/__main__.py",
          'return 1 if {"failed", "incomplete"} & set(statuses) else 0', "return 0",
          ("tests/serving/test_predict_command.py::test_a_bad_case_fails_in_one_line_and_the_others_continue",),
          "predict.py exits with 0 though a case failed"),
    Fault("kits_tf/serving/__main__.py",
          "with only_writer(output):", "if output:",
          ("tests/serving/test_predict_again.py::"
           "test_a_second_run_into_a_folder_is_refused_while_the_first_lasts",),
          "predict.py does not lock its output folder"),
    # Scores, reports, images.
    Fault("kits_tf/evaluation/scores.py",
          "    if size == 0:\n        return 1.0", "    if size == 0:\n        return 0.0",
          ("tests/evaluation/test_scores.py::test_no_tumor_on_either_side_scores_1",),
          "the Dice of two empty masks is 0"),
    Fault("kits_tf/evaluation/surface.py",
          "compute_surface_distances(truth, predicted, spacing_mm)",
          "compute_surface_distances(truth, predicted, (1.0, 1.0, 1.0))",
          ("tests/evaluation/test_surface.py::"
           "test_shift_of_one_slice_costs_nothing_if_slices_are_no_thicker_than_the_tolerance_of_2_mm",),
          "surface distances ignore the spacing"),
    Fault("kits_tf/evaluation/evaluator.py",
          "CaseFiles(case.name, case.segmentation, found.get(identity),",
          "CaseFiles(case.name, case.segmentation, dict(zip(wanted, found.values())).get(identity),",
          ("tests/evaluation/test_evaluation_command.py::test_a_missing_first_prediction_changes_no_other_case",),
          "predictions are paired with labels by their order"),
    Fault("kits_tf/evaluation/evaluator.py",
          'return 1 if summary["failed"] else 0', "return 0",
          ("tests/evaluation/test_evaluation_command.py::"
           "test_prediction_in_another_place_scores_0_says_so_and_exits_with_1",),
          "an evaluation with a failed case exits with 0"),
    Fault("kits_tf/evaluation/evaluator.py",
          "with only_writer(output):", "if output:",
          ("tests/evaluation/test_evaluation_command.py::"
           "test_a_second_run_into_a_folder_is_refused_while_the_first_lasts",),
          "an evaluation does not lock its output folder"),
    Fault("kits_tf/evaluation/tables.py",
          "(score := row.scores[name]) is not None}", "(score := row.scores[name]) is not None and not row.missing}",
          ("tests/evaluation/test_evaluation_command.py::"
           "test_missing_prediction_scores_0_and_pulls_the_mean_to_1_of_3",),
          "missing predictions are left out of the mean"),
    Fault("kits_tf/reporting/measurements.py",
          "largest_diameter_mm(plane, labels.spacing_mm[1:])", "largest_diameter_mm(plane, labels.spacing_mm[:2])",
          ("tests/reporting/test_measurements.py::test_a_drawn_patients_numbers_are_those_that_scikit_image_counts",),
          "axial diameters are measured by the slice spacing"),
    Fault("kits_tf/reporting/measurements.py",
          '"slice": first_z + block[0].start + int(np.argmax(axial_mm))', '"slice": first_z + int(np.argmax(axial_mm))',
          ("tests/reporting/test_measurements.py::test_kidneys_are_named_by_side_and_weighed_with_their_tumor",),
          "a tumor's slice is counted from the kidney's first"),
    Fault("kits_tf/reporting/measurements.py",
          "(np.nonzero(piece)[2] < midline)", "(np.nonzero(piece)[2] > midline)",
          ("tests/reporting/test_measurements.py::test_kidneys_are_named_by_side_and_weighed_with_their_tumor",),
          "right and left are swapped in the report"),
    Fault("kits_tf/reporting/measurements.py",
          "for step in (-0.5, 0.5)]", "for step in (0.0, 0.5)]",
          ("tests/reporting/test_measurements.py::test_a_block_is_as_long_as_its_diagonal",),
          "diameters miss half a voxel at one end"),
    Fault("kits_tf/reporting/measurements.py",
          "connectivity=26", "connectivity=6",
          ("tests/reporting/test_measurements.py",),
          "reported pieces have 6 neighbors, not 26"),
    Fault("kits_tf/reporting/overlay.py",
          "axes.set_ylim(extent[2:])", "axes.set_ylim(extent[:1:-1])",
          ("tests/reporting/test_overlay.py::test_right_is_at_the_left_front_is_up_and_head_is_up",),
          "the overlay is upside down"),
    Fault("kits_tf/reporting/overlay.py",
          "line[:, ::-1] + (box[1].start - 1, box[0].start - 1)", "line + (box[0].start - 1, box[1].start - 1)",
          ("tests/reporting/test_overlay.py::"
           "test_outline_lies_halfway_between_voxels_and_is_closed_at_the_pictures_edge",),
          "outlines swap rows and columns"),
    Fault("kits_tf/reporting/embedding.py",
          "+ (step - 1) / 2", "+ 0 * step",
          ("tests/reporting/test_embedding.py::test_a_large_scan_gets_a_coarser_grid_at_the_same_place",),
          "the reduced scan of a page is half a voxel off"),
    Fault("kits_tf/reporting/static/viewer.js",
          "isRadiologicalConvention: true", "isRadiologicalConvention: false",
          ("tests/reporting/test_pages.py::test_right_front_and_head_are_where_radiologists_expect_them",),
          "the viewer shows the patient's right at the right"),
    Fault("kits_tf/reporting/static/viewer.js",
          "codes[index] += OTHER * other", "codes[index] += other",
          ("tests/reporting/test_pages.py::test_outlines_lie_around_the_labels",),
          "the viewer mixes ground truth and prediction"),
    Fault("kits_tf/reporting/templates/run.html",
          ' loading="lazy"', "",
          ("tests/reporting/test_pages.py::test_thumbnails_are_loaded_when_they_come_into_view",),
          "the table of a run reads all pictures at once"),
    Fault("kits_tf/evaluation/submission/packing.py",
          "abs(affine - expected_affine).max()", "abs(affine - expected_affine).min()",
          ("tests/evaluation/test_submission.py::test_what_is_wrong_is_named_and_no_zip_is_written",),
          "a prediction that has another affine is packed"),
    # Parallel cases, and features shared by all commands.
    Fault("kits_tf/cluster/jobs.py",
          "    except InputError as error:\n        failure = printable(str(error))\n", "",
          ("tests/cluster/test_cluster.py::test_every_case_is_done_once_and_a_bad_one_is_one_line[here]",),
          "a user's mistake in a case is told as a fault of the program"),
    Fault("kits_tf/cluster/jobs.py",
          "    except Exception as error:\n", "    except OSError as error:\n",
          ("tests/cluster/test_cluster.py::test_every_case_is_done_once_and_a_bad_one_is_one_line[here]",),
          "one failed case ends the run"),
    Fault("kits_tf/cluster/jobs.py",
          "    except RunError:\n        raise\n    except InputError", "    except InputError",
          ("tests/cluster/test_cluster.py::test_a_full_disk_ends_the_run[here]",),
          "a full disk fails case after case"),
    Fault("kits_tf/cluster/jobs.py",
          "wanted = (arguments, version)", "wanted = (arguments, None)",
          ("tests/serving/test_predict_again.py::test_a_model_that_was_replaced_is_loaded_again",),
          "a worker keeps an old model"),
    Fault("kits_tf/cluster/on_dask.py",
          "                    suspects.append(job)\n", "",
          ("tests/cluster/test_cluster.py::"
           "test_a_case_whose_workers_keep_dying_is_named_and_the_others_are_done",),
          "a dead worker's case is lost"),
    Fault("kits_tf/command.py",
          "print(_line(error), file=sys.stderr)\n        return 1", "print(error, file=sys.stderr)\n        return 0",
          ("tests/test_command.py::test_flags_can_come_from_a_file",),
          "a user's mistake exits with 0"),
    Fault("kits_tf/command.py",
          "        if FLAGS.verbose:\n            traceback.print_exc()", "        traceback.print_exc()",
          ("tests/test_command.py::test_a_mistake_shows_where_it_arose_only_if_asked",),
          "a user's mistake shows a traceback"),
    Fault("kits_tf/config/cascade.py",
          "tuple(size + 2 * room for", "tuple(size + room for",
          ("tests/config/test_config.py::test_a_record_has_room_for_jitter_on_either_side",),
          "records have room for jitter on one side alone"),
    Fault("kits_tf/config/cascade.py",
          "int(-(-in_plane_voxels * self.spacing_mm[1] // self.spacing_mm[0]))",
          "int(in_plane_voxels * self.spacing_mm[1] // self.spacing_mm[0])",
          ("tests/config/test_config.py::test_a_length_in_plane_is_as_many_slices_as_hold_it",),
          "a length in slices is floored"),
    Fault("kits_tf/config/overrides.py",
          "for stage in STAGES] if name.startswith", "for stage in STAGES[1:]] if name.startswith",
          ("tests/config/test_overrides.py::test_all_stands_for_every_stage_that_has_the_setting",),
          "--set=all leaves out the coarse stage"),
    Fault("kits_tf/cascade/export.py",
          'directory / f"{TEMPORARY}{secrets.token_hex(8)}"', 'directory / f".export-{secrets.token_hex(8)}"',
          ("tests/cascade/test_export.py::"
           "test_what_a_killed_save_leaves_is_removed_when_the_next_export_locks_the_folder",),
          "what a killed export leaves stays for ever"),
    Fault("kits_tf/scans/itk.py",
          "set(sizes[3:]) <= {1}", "set(sizes[3:]) <= {0}",
          ("tests/scans/test_itk.py::test_a_series_of_one_volume_is_that_volume",),
          "a series of one volume is refused"),
    Fault("kits_tf/config/command_line.py",
          "{**more(preset), **changes_of_set()}", "{**changes_of_set(), **more(preset)}",
          ("tests/test_command.py::"
           "test_help_settings_lists_values_and_meanings_and_set_wins_over_flags_for_all_stages",),
          "a flag for all stages replaces --set of one stage"),
    Fault("kits_tf/config/reference.py",
          "words = [*above, ", "words = [",
          ("tests/config/test_reference.py::test_every_setting_has_a_meaning",),
          "a comment above a setting is lost"),
    # Phantoms.
    # The web page.
    Fault("kits_tf/web/guard.py",
          "(from_port or usual) != (port or usual)", "False",
          ("tests/web/test_guard.py::test_the_origin_must_be_the_page",),
          "pages of other servers on this machine may call the web server"),
    Fault("kits_tf/web/guard.py",
          "if not self._is_own(name, scope):", "if not name:",
          ("tests/web/test_guard.py::test_the_host_must_be_a_name_of_the_server",),
          "the web server answers to any name (DNS rebinding)"),
    Fault("kits_tf/web/guard.py",
          "path == API or path.startswith(f\"{API}/\")", "path.startswith(f\"{API}/scans/\")",
          ("tests/web/test_guard.py::test_every_call_needs_the_token",),
          "the list of scans needs no token"),
    Fault("kits_tf/web/unpack.py",
          "unpacked > MOST_BYTES or is_bomb(unpacked, size)", "False",
          ("tests/web/test_upload.py::test_a_zip_bomb_is_refused_before_it_is_unpacked_whole",),
          "a zip bomb is unpacked"),
    Fault("kits_tf/web/unpack.py",
          "stat.S_IFMT(entry.external_attr >> 16) not in", "0 not in",
          ("tests/web/test_upload.py::test_a_zip_with_a_link_is_refused",),
          "links in a zip are taken for files"),
    Fault("kits_tf/web/upload.py",
          "if not parts.ended:", "if False:",
          ("tests/web/test_upload.py::test_a_broken_request_is_refused",),
          "half of an upload is taken for a scan"),
    Fault("kits_tf/web/scans.py",
          "scan.starts >= MOST_STARTS", "False",
          ("tests/web/test_scans.py::test_a_scan_that_the_server_was_killed_at_twice_is_not_tried_again",),
          "a scan that brings the server down is tried forever"),
    Fault("kits_tf/web/scans.py",
          "shutil.rmtree(scan.folder / UPLOAD, ignore_errors=True)", "pass",
          ("tests/web/test_scans.py::test_the_uploaded_files_go_when_the_scan_is_done_or_failed",),
          "uploaded files are kept when nothing needs them"),
    Fault("kits_tf/phantoms/study.py",
          "*draw_abdomen((seed, index), kind,", "*draw_abdomen((seed, 0), kind,",
          ("tests/phantoms/test_study.py::test_two_cases_of_one_kind_are_two_patients",),
          "all phantoms of a kind are the same patient"),
)


def copy_checkout(root: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """Copies the parts of a checkout that the tests need."""
    return pathlib.Path(shutil.copytree(root, folder, ignore=LEFT_OUT, symlinks=True))


class Runner:
    """A process that runs tests in a copy of a checkout, each time in a fork: it has imported TensorFlow already."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        # No bytecode files: an old one could be used for the changed file.
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        self._process = subprocess.Popen([sys.executable, __file__, "--serve"], cwd=folder, env=environment, text=True,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, tests: tuple[str, ...], longest_s: float | None = None) -> tuple[int | None, str]:
        """Runs tests; returns (pytest's exit status, its output). The status is None after a timeout."""
        print(json.dumps([tests, longest_s]), file=self._process.stdin, flush=True)
        status, output = json.loads(self._process.stdout.readline())
        return status, output

    def try_fault(self, fault: Fault) -> tuple[int | None, str]:
        """Runs a fault's tests with the fault in the copy, and restores the copy."""
        path = self.folder / fault.file
        text = path.read_text(encoding="utf-8")
        if text.count(fault.old) != 1:
            raise ValueError(f"{fault.file}: {fault.old!r} occurs {text.count(fault.old)} times, expected once")
        try:
            path.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
            return self.run(fault.tests, LONGEST_S)
        finally:
            path.write_text(text, encoding="utf-8")

    def stop(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def serve() -> None:
    """Answers the requests of a Runner. Imports nothing of the checkout, and runs no operation before it forks."""
    sys.path[0] = os.getcwd()
    if pathlib.Path("kits_tf").is_dir():
        importlib.import_module("kits_tf")  # sets environment variables that TensorFlow reads
        for name in IMPORTED:
            importlib.import_module(name)
        del sys.modules["kits_tf"]
    for line in sys.stdin:
        print(json.dumps(in_fork(*json.loads(line))), flush=True)


def in_fork(tests: list[str], longest_s: float | None) -> tuple[int | None, str]:
    """Runs tests in a fork of this process. Kills what they leave running."""
    with tempfile.TemporaryFile("w+") as output:
        process = os.fork()
        if not process:
            status = 3  # pytest's for an internal error
            try:
                os.setsid()
                for descriptor in (1, 2):
                    os.dup2(output.fileno(), descriptor)
                status = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-m", "not soak", *tests])
            finally:
                sys.stdout.flush()
                os._exit(status)
        ended, _, _ = select.select([os.pidfd_open(process)], [], [], longest_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        output.seek(0)
        return os.waitstatus_to_exitcode(status) if ended else None, output.read()


def main(arguments: list[str] | None = None) -> int:
    """Tries the chosen faults; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="regular expression that file, tests or description must contain")
    parser.add_argument("--root", type=pathlib.Path, default=ROOT, help="checkout to test; this one unless given")
    parser.add_argument("--jobs", type=int, default=1, help="faults tried at the same time")
    flags = parser.parse_args(arguments)
    chosen = [fault for fault in FAULTS if re.search(flags.only, "\n".join((fault.file, fault.broken, *fault.tests)))]
    began, rows = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="faults-") as scratch, contextlib.ExitStack() as stack:
        runners = [Runner(copy_checkout(flags.root, pathlib.Path(scratch) / f"copy{number}"))
                   for number in range(flags.jobs)]
        stack.callback(lambda: [runner.stop() for runner in runners])
        status, said = runners[0].run(tuple(dict.fromkeys(test for fault in chosen for test in fault.tests)))
        if status != PASSED:
            print(f"{said}\nThe tests do not pass without a fault (pytest's exit status {status})", file=sys.stderr)
            return 2
        free: queue.SimpleQueue = queue.SimpleQueue()
        for runner in runners:
            free.put(runner)

        def judge(fault):
            runner, started = free.get(), time.monotonic()
            try:
                status, said = runner.try_fault(fault)
            finally:
                free.put(runner)
            return fault, status, said, time.monotonic() - started

        with concurrent.futures.ThreadPoolExecutor(flags.jobs) as pool:
            for fault, status, said, seconds in pool.map(judge, chosen):
                verdict = VERDICTS.get(status, "DID NOT RUN")
                print(f"{verdict:<11} {seconds:5.1f} s  {fault.file}: {fault.broken}", flush=True)
                if verdict == "DID NOT RUN":
                    print(said, file=sys.stderr)
                rows.append((verdict.startswith("caught"), fault))
    survivors = [fault for caught, fault in rows if not caught]
    minutes = (time.monotonic() - began) / 60
    print(f"\n{len(rows) - len(survivors)} of {len(rows)} faults caught in {minutes:.1f} minutes")
    for fault in survivors:
        print(f"  not caught: {fault.file}: {fault.broken} ({', '.join(fault.tests)})")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(serve() if sys.argv[1:] == ["--serve"] else main())
