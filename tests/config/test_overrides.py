"""Tests --set: any setting replaced by its name, and one-line errors for a wrong name, type or value."""

import dataclasses

import pytest

from kits_tf.config import PRESETS, overrides

PAPER = PRESETS["paper"]


def changed(*assignments):
    return overrides.override(PAPER, overrides.parse(assignments))


@pytest.mark.parametrize(("assignment", "value"), [
    ("fine.training.learning_rate=5e-4", 5e-4),
    ("fine.training.epochs=7", 7),
    ("fine.training.optimizer=adamw", "adamw"),
    ("tumor2d.training.augment.flip_x=false", False),
    ("tumor2d.start_from_fine=True", True),
    ("spacing_mm=4,1.5,1.25", (4.0, 1.5, 1.25)),
    ("tumor3d.patch_voxels=16,64, 48", (16, 64, 48)),
    ("window_hu=-100,250", (-100.0, 250.0))])
def test_a_setting_of_any_type_can_be_replaced_and_no_other_changes(assignment, value):
    name = assignment.partition("=")[0]
    before, after = ({each: overrides.value_of(config, each) for each in overrides.names()}
                     for config in (PAPER, changed(assignment)))
    assert after == before | {name: value}


def test_every_setting_has_a_name_and_keeps_its_value_if_written_back():
    values = {name: overrides.value_of(PAPER, name) for name in overrides.names()}
    assert len(values) > 180
    assert overrides.override(PAPER, values) == PAPER


def test_all_stands_for_every_stage_that_has_the_setting():
    config = changed("all.training.augment.noise=0.5", "all.net.base_filters=8")
    assert {config.stage(stage).training.augment.noise for stage in ("coarse", "tumor3d")} == {0.5}
    assert config.tumor2d.net.base_filters == 8
    assert config.tumor3d.net == PAPER.tumor3d.net


def test_the_last_of_two_values_counts():
    assert changed("all.training.epochs=2", "fine.training.epochs=3").fine.training.epochs == 3


def test_settings_that_depend_on_each_other_change_together():
    assert changed("fine.net.levels=6", "fine.crop_voxels=192").fine.crop_voxels == 192


@pytest.mark.parametrize(("assignment", "said"), [
    ("fine.training.learning_rat=1", "fine.training.learning_rat: no such setting; did you mean "
                                     "fine.training.learning_rate?"),
    ("learning_rate=1", "learning_rate: no such setting; did you mean all.training.learning_rate?"),
    ("all.crop=1", "did you mean all.crop_voxels?"),
    ("qqqqqqqq=1", "no such setting; --help_settings lists them"),
    ("preset=mine", "no such setting"),
    ("fine.training=1", "is a group of settings; set one of them, such as fine.training.epochs"),
    ("fine.training.epochs", "expected NAME=VALUE"),
    ("fine.training.epochs=1.5", "fine.training.epochs=1.5: expected a whole number"),
    ("fine.training.epochs=", "expected a whole number"),
    ("fine.training.learning_rate=fast", "expected a number"),
    ("tumor2d.start_from_fine=1", "expected true or false"),
    ("spacing_mm=1,1", "expected 3 numbers, separated by commas"),
    ("tumor3d.patch_voxels=16,64,a", "expected 3 whole numbers, separated by commas")])
def test_a_wrong_name_or_type_is_one_line(assignment, said):
    with pytest.raises(ValueError) as caught:
        overrides.parse([assignment])
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(("assignment", "said"), [
    ("fine.training.epochs=0", "fine.training.epochs must be above zero, got 0"),
    ("fine.crop_voxels=100", "fine.crop_voxels must be a multiple of 16 for a net of 5 levels, got 100"),
    ("lesion_threshold=2", "lesion_threshold must be between 0 and 1, got 2.0"),
    ("coarse.training.learning_rate=nan", "coarse.training.learning_rate must be float, got nan")])
def test_a_wrong_value_names_the_setting_with_its_stage_and_the_rule(assignment, said):
    with pytest.raises(ValueError) as caught:
        changed(assignment)
    assert str(caught.value) == said


def test_no_change_returns_the_same_preset():
    assert overrides.override(PAPER, {}) is PAPER
    assert changed("fine.training.epochs=100") == dataclasses.replace(PAPER)
