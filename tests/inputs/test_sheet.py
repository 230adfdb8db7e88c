"""Tests the contact sheet of every stage, as an image written by the command."""


import numpy as np
import pytest
import tensorflow as tf
from harness import commands, ellipses

from kits_tf import config as configs
from kits_tf.inputs import sheet
from kits_tf.records import dataset


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return ellipses.write(tmp_path_factory.mktemp("data"), ellipses.tiny_config(), kinds=(2,))


@pytest.mark.parametrize("stage", ["correction", "tumor3d", "tumor2d"])
def test_a_row_per_record_and_its_target_outlined_in_orange(data_dir, stage):
    config = ellipses.tiny_config()
    train, _ = dataset.split(data_dir, stage, 0, config)
    picture = tf.io.decode_png(sheet.contact_sheet(config, stage, train, 0)).numpy()[..., :3].astype(int)
    rows = np.array_split(picture, sheet.ROWS)
    for row in rows:
        for panel in np.array_split(row, 1 + sheet.VARIANTS, axis=1):
            red, green, blue = np.moveaxis(panel, -1, 0)
            assert ((red > 180) & (green > 90) & (green < 180) & (blue < 100)).sum() > 20
            assert (((blue > 180) & (red < 140)).sum() > 20) == (stage == "tumor2d")


def test_a_block_is_shown_where_most_of_its_target_is():
    image, target = np.zeros((5, 4, 6, 1)), np.zeros((5, 4, 6, 1))
    image[:, 0, 0, 0] = range(5)
    target[3, 1:3, 2:4] = 1
    shown, masks = sheet.panel(image, target)
    assert shown[0, 0] == 3
    assert [mask.sum() for mask in masks] == [4]
    assert sheet.panel(image, target * 0)[0][0, 0] == 2  # without a target, the middle slice


def test_the_command_says_where_the_picture_is_or_what_is_missing(tmp_path):
    data_dir = ellipses.write(tmp_path, configs.PRESETS["demo"], stages=["coarse"])
    command = ["-m", "kits_tf.inputs", "--show", "--preset=demo", f"--data_dir={data_dir}"]
    done = commands.run(*command, "--stage=coarse", f"--output={tmp_path / 'sheet.png'}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    done = commands.run(*command, "--stage=fine")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"{data_dir}: no fine records; make them with")
