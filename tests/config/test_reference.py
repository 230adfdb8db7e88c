"""Tests the description of every setting: --help_settings and docs/settings.md."""

import pathlib
import re

import pytest

from kits_tf.config import PRESETS, TrainingConfig, overrides, reference

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "settings.md"


@pytest.mark.parametrize("name", overrides.names())
def test_every_setting_has_a_meaning(name):
    assert len(reference.meaning(name)) > 8 or '"' in reference.meaning(name)


def test_a_meaning_is_the_comment_beside_or_above_the_field():
    meanings = reference.describe(TrainingConfig)
    assert meanings["clip_norm"] == "largest global norm of the gradient; 0: no clipping"
    assert meanings["cases_alike"].startswith("whether every case contributes the same number of examples. A giant")
    assert "augment" not in meanings


@pytest.mark.parametrize("preset", PRESETS)
def test_a_listed_line_can_be_given_to_set(preset):
    lines = reference.listing(PRESETS[preset])
    assignments = [line.split("  ")[0] for line in lines]
    assert overrides.override(PRESETS["paper"], overrides.parse(assignments)) == overrides.override(
        PRESETS["paper"], {name: overrides.value_of(PRESETS[preset], name) for name in overrides.names()})


def test_the_page_of_settings_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == reference.page() + "\n", (
        "run: python -m kits_tf.config.reference > docs/settings.md")


def test_the_page_shows_each_presets_own_values():
    demo = reference.page().partition("### demo")[2].partition("###")[0]
    assert "`spacing_mm=4.0,1.5632,1.5632`" in demo
    assert re.search(r"\| `training.batch_size` \| 16 \| 16 \| 16 \| 6 \| 16 \|", demo)
    assert re.search(r"\| `net.filters` \|  \|  \|  \| 8,16,32 \|  \|", demo)
