"""Tests settings: JSON round trip, derived sizes, and errors that name the value."""

import dataclasses
import json

import pytest

from kits_tf import config as configs
from kits_tf.config import PRESETS, STAGES, CascadeConfig
from kits_tf.errors import InputError
from kits_tf.files import runs


@pytest.mark.parametrize("stage", STAGES)
def test_the_paper_s_preset_varies_all_that_anatomy_allows(stage):
    """Front and back are never mirrored; left and right only if the stage sees exactly one side at a time."""
    augment = dataclasses.asdict(PRESETS["paper"].stage(stage).training.augment)
    assert {name for name, value in augment.items() if not value} == (
        {"flip_x", "flip_y"} if stage in ("coarse", "correction") else {"flip_y"})


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_survives_json_to_the_last_field(preset):
    config = PRESETS[preset]
    assert config.preset == preset
    again = configs.from_json(configs.to_json(config))
    assert again == config
    assert hash(again) == hash(config)  # lists are tuples again


def test_a_changed_value_is_read_back_changed():
    fields = json.loads(configs.to_json(PRESETS["demo"]))
    fields["fine"]["training"]["augment"]["gamma"] = 0.125
    fields["window_hu"] = [-100, 250]
    config = configs.from_json(json.dumps(fields))
    assert config.fine.training.augment.gamma == 0.125
    assert config.window_hu == (-100, 250)
    assert config.tumor2d == PRESETS["demo"].tumor2d


def test_files_of_older_versions_may_hold_what_is_constant_now():
    text = '{"preset": "mine", "normal_kidneys": 2, "body_hu": -300.0, "tumor3d": {"tile_overlap": 0.25}}'
    assert configs.from_json(text) == CascadeConfig(preset="mine")


def test_fields_that_are_missing_take_their_default():
    assert configs.from_json('{"preset": "mine"}') == CascadeConfig(preset="mine")


@pytest.mark.parametrize(("text", "said"), [
    ('{"colour": 1}', "CascadeConfig has no field colour"),
    ('{"normal_kidneys": 3}', "CascadeConfig has no field normal_kidneys"),
    ('{"fine": {"net": {"depth": 3}}}', "CascadeConfig.fine.net has no field depth"),
    ('{"window_hu": [5, 5]}', r"window_hu must be rising, got \(5, 5\)"),
    ('{"window_hu": [1, 2, 3]}', r"window_hu must be tuple\[float, float\], got \(1, 2, 3\)"),
    ('{"window_hu": 7}', "window_hu must be .* got 7"),
    ('{"coarse": {"size_voxels": "wide"}}', "size_voxels must be int, got wide"),
    ('{"kidney_min_voxels": true}', "kidney_min_voxels must be int, got True"),
    ('{"coarse": 3}', "CascadeConfig.coarse must be .* got 3"),
    ("[]", "CascadeConfig must be"),
    ("{", "Expecting"),
])
def test_json_that_is_no_config_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        configs.from_json(text)


@pytest.mark.parametrize(("cls", "field", "value"), [
    (configs.AugmentConfig, "gamma", -0.25),
    (configs.TrainingConfig, "epochs", 0),
    (configs.TrainingConfig, "learning_rate", float("nan")),
    (configs.TrainingConfig, "dice_weight", -0.5),
    (configs.TrainingConfig, "schedule", "step"),
    (configs.TrainingConfig, "optimizer", "lamb"),
    (configs.TrainingConfig, "warm_up_steps", 25000),
    (configs.TrainingConfig, "momentum", 1.0),
    (configs.TrainingConfig, "average_decay", -0.1),
    (configs.TrainingConfig, "weight_decay", 0.01),
    (configs.TrainingConfig, "clip_norm", -1.0),
    (configs.TrainingConfig, "patience", -1),
    (configs.AugmentConfig, "low_resolution", -0.5),
    (configs.UNetConfig, "base_filters", -3),
    (configs.UNetConfig, "max_filters", 0),
    (configs.UNetConfig, "levels", 0),
    (configs.UNetConfig, "normalization", "layer"),
    (configs.FCN3DConfig, "filters", (8, 0, 8)),
    (configs.FCN3DConfig, "filters", (8, 16)),
    (configs.CoarseConfig, "size_voxels", 100),
    (configs.CoarseConfig, "size_voxels", 0),
    (configs.CoarseConfig, "predict_batch", 0),
    (configs.CorrectionConfig, "crop_voxels", (64, 250)),
    (configs.CorrectionConfig, "crop_voxels", (64, 256, 256)),
    (configs.CorrectionConfig, "overlap_voxels", (64, 64)),
    (configs.CorrectionConfig, "jitter_voxels", (-1, 4)),
    (configs.CorrectionConfig, "predict_batch", -16),
    (configs.FineConfig, "crop_voxels", 168),
    (configs.FineConfig, "overlap_voxels", 160),
    (configs.FineConfig, "margin_voxels", -1),
    (configs.FineConfig, "extra_slices", -2),
    (configs.FineConfig, "jitter_voxels", -4),
    (configs.FineConfig, "predict_batch", 0),
    (configs.Tumor3dConfig, "patch_voxels", (32, 90, 96)),
    (configs.Tumor3dConfig, "patch_voxels", (0, 96, 96)),
    (configs.Tumor3dConfig, "tile_voxels", (31, 96, 96)),
    (configs.Tumor3dConfig, "jitter_voxels", (4, -16, 16)),
    (configs.Tumor3dConfig, "centres_per_class", -1),
    (configs.Tumor3dConfig, "roi_pad_voxels", -30),
    (configs.Tumor3dConfig, "kidney_weight", 1.0),
    (configs.Tumor2dConfig, "predict_batch", 0),
    (CascadeConfig, "spacing_mm", (3.0, 0.0, 1.0)),
    (CascadeConfig, "spacing_mm", (3.0, float("nan"), 1.0)),
    (CascadeConfig, "spacing_mm", (3.0, 1.0)),
    (CascadeConfig, "window_hu", (304.0, -79.0)),
    (CascadeConfig, "kidney_min_voxels", -10),
    (CascadeConfig, "tumor_min_voxels", -1),
    (CascadeConfig, "tumor_fusion", "both"),
    (CascadeConfig, "lesion_threshold", 1.0),
    (CascadeConfig, "refine_margin_voxels", -1),
])
def test_a_bad_value_is_refused_with_its_field_and_itself(cls, field, value):
    with pytest.raises(ValueError) as caught:
        cls(**{field: value})
    assert field in str(caught.value)
    assert str(value) in str(caught.value)


def test_a_loss_of_nothing_is_refused():
    with pytest.raises(ValueError, match="zero"):
        configs.TrainingConfig(dice_weight=0.0, cross_entropy_weight=0.0)


def test_a_config_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PRESETS["paper"].preset = "other"


def test_paper_is_the_methods_numbers():
    paper = PRESETS["paper"]
    assert paper.spacing_mm == (3.0, 0.7816, 0.7816)
    assert paper.kidney_min_voxels == 10000
    assert {stage: paper.input_shape(stage) for stage in STAGES} == {
        "coarse": (128, 128), "correction": (64, 256), "fine": (160, 160), "tumor3d": (32, 96, 96),
        "tumor2d": (160, 160)}


@pytest.mark.parametrize(("stage", "shape"), [
    ("coarse", (128, 128)), ("correction", (76, 288)), ("fine", (192, 192)), ("tumor3d", (40, 128, 128)),
    ("tumor2d", (192, 192))])
def test_a_record_has_room_for_jitter_on_either_side(stage, shape):
    assert PRESETS["paper"].record_shape(stage) == shape


def test_an_unknown_stage_names_itself():
    with pytest.raises(ValueError, match="finest"):
        PRESETS["paper"].stage("finest")


@pytest.mark.parametrize(("in_plane", "slices"), [(30, 8), (0, 0), (1, 1), (4, 2)])  # 23.448, 0, 0.7816, 3.1264 mm
def test_a_length_in_plane_is_as_many_slices_as_hold_it(in_plane, slices):
    assert PRESETS["paper"].slices_of(in_plane) == slices


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("change", [
    {"epochs": 1}, {"augment": configs.AugmentConfig(noise=0.5)}, {"learning_rate": 1.0}])
def test_training_settings_do_not_make_records_stale(stage, change):
    paper = PRESETS["paper"]
    settings = paper.stage(stage)
    settings = dataclasses.replace(settings, training=dataclasses.replace(settings.training, **change))
    assert dataclasses.replace(paper, **{stage: settings}).record_settings(stage) == paper.record_settings(stage)


@pytest.mark.parametrize(("stage", "changes"), [
    *((stage, {"spacing_mm": (3.0, 0.8, 0.8)}) for stage in STAGES),
    ("coarse", {"coarse": configs.CoarseConfig(size_voxels=64)}),
    ("correction", {"correction": configs.CorrectionConfig(crop_voxels=(80, 256))}),
    ("fine", {"fine": configs.FineConfig(margin_voxels=2)}),
    ("fine", {"kidney_min_voxels": 9000}),
    # The record has the same size, but crops of another size cover a large kidney at other positions.
    ("fine", {"fine": configs.FineConfig(crop_voxels=176, jitter_voxels=8)}),
    ("tumor2d", {"fine": configs.FineConfig(extra_slices=5)}),
    ("tumor2d", {"fine": configs.FineConfig(crop_voxels=176, jitter_voxels=8)}),
    ("tumor3d", {"tumor3d": configs.Tumor3dConfig(roi_pad_voxels=20)}),
    ("tumor3d", {"tumor3d": configs.Tumor3dConfig(centres_per_class=4)}),
    # The record has the same size, but the slabs of the scored box are as deep as a patch.
    ("tumor3d", {"tumor3d": configs.Tumor3dConfig(patch_voxels=(36, 96, 96), jitter_voxels=(2, 16, 16))}),
])
def test_settings_that_shape_records_make_them_stale(stage, changes):
    paper = PRESETS["paper"]
    assert dataclasses.replace(paper, **changes).record_settings(stage) != paper.record_settings(stage)


@pytest.mark.parametrize("stage", STAGES)
def test_record_settings_survive_json(stage):
    settings = PRESETS["demo"].record_settings(stage)
    assert json.loads(json.dumps(settings)) == settings


def test_a_run_folder_keeps_its_config(tmp_path):
    folder = runs.stage_folder(tmp_path, "fine", 2)
    assert folder == tmp_path / "fine" / "fold2"
    runs.save_config(folder, PRESETS["demo"])
    assert runs.load_config(folder) == PRESETS["demo"]


@pytest.mark.parametrize("text", [None, "{", "[]", '{"fine": 1}', '{"spacing_mm": 3}'])
def test_a_run_folder_without_a_config_is_one_line_that_names_it(tmp_path, text):
    folder = runs.stage_folder(tmp_path, "fine", 0)
    if text is not None:
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config\.json") as caught:
        runs.load_config(folder)
    assert len(str(caught.value).splitlines()) == 1
