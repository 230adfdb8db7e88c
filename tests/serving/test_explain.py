"""Tests the report's text about the cascade's decisions for a case."""

import dataclasses

import numpy as np
import pytest

from kits_tf import config as configs
from kits_tf.serving.explain import report
from kits_tf.volume import Volume

QUIET = {"kidneys_coarse": 2, "coarse_empty": False, "correction_used": False, "kidneys": 2, "kidney_parts_dropped": 0,
         "smaller_parts_dropped": 0, "tumor_fallback_used": False, "lesions_kept": 1, "lesions_dropped": 0,
         "kidney_ml": 300.0, "tumor_ml": 20.0, "coarse_components_ml": [150.0, 170.0]}


def said(**found):
    """Returns the warnings of a report with these findings."""
    labels = np.zeros((40, 100, 100), np.uint8)
    labels[10:20, 40:50, 20:30] = 1
    volume = Volume.from_spacing(np.full(labels.shape, -1000, np.int16), (3, 2, 2))
    outputs = {name: np.asarray(value) for name, value in {**found, "labels": labels}.items()}
    config = dataclasses.replace(configs.PRESETS["paper"], most_kidneys=2)
    return report(outputs, config, volume)["warnings"]


@pytest.mark.parametrize(("found", "warning"), [
    ({"kidney_parts_dropped": 3}, "3 part(s) that only the fine net took for kidney were dropped."),
    ({"smaller_parts_dropped": 1}, "1 part(s) that look like kidney, smaller than the 2 kept, were dropped: a kidney "
                                   "more, such as a transplant, or an error."),
    ({"lesions_dropped": 2}, "2 lesion(s) that touch no kidney were dropped."),
    ({"tumor_ml": 0.0}, "No tumor was found."),
    ({"kidneys": 1}, "1 kidney(s) were segmented: a missing kidney, fused kidneys, or an error."),
])
def test_each_decision_is_explained_once_and_nothing_else(found, warning):
    quiet = said(**QUIET)
    told = said(**QUIET | found)
    assert [line for line in told if line not in quiet] == [warning]
    assert not any("dropped" in line for line in quiet)


def test_an_older_export_that_counts_no_parts_is_understood():
    older = {name: value for name, value in QUIET.items() if not name.endswith("parts_dropped")}
    assert said(**older) == said(**QUIET)
