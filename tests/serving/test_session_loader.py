"""Tests that an export runs with TensorFlow alone: session loader, saved_model_cli, and the other stack."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
from harness.tiny_nets import tiny_config

from kits_tf.cascade.module import net_shape
from kits_tf.config import STAGES

HERE = pathlib.Path(__file__).parent
STACKS = [HERE.parents[1] / venv / "bin" / "python" for venv in (".venv", ".venv-3.12")]


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def session_loader(python, version, folder, **inputs):
    """Returns the session loader's outputs, in its own process, for inputs named signature__input."""
    np.savez(folder / "inputs.npz", **{name.replace("__", "/"): value for name, value in inputs.items()})
    run(python, HERE / "session_loader.py", version, folder / "inputs.npz", folder / "outputs.npz")
    return dict(np.load(folder / "outputs.npz"))


def test_the_session_loader_gives_the_labels_of_predict_bit_for_bit(tiny_export, tiny_answer, tmp_path):
    scan, labels, _ = tiny_answer
    found = session_loader(sys.executable, tiny_export[2], tmp_path, serving_default__volume=scan.voxels,
                           serving_default__spacing_mm=np.float32(scan.spacing_mm))
    assert np.array_equal(found["serving_default/labels"], labels)


@pytest.mark.soak
def test_saved_model_cli_gives_the_labels_of_predict_bit_for_bit(tiny_export, tiny_answer, tmp_path):
    scan, labels, _ = tiny_answer
    np.save(tmp_path / "volume.npy", scan.voxels)
    np.save(tmp_path / "spacing_mm.npy", np.float32(scan.spacing_mm))
    cli = pathlib.Path(sys.executable).with_name("saved_model_cli")
    shown = run(cli, "show", "--dir", tiny_export[2], "--tag_set", "serve", "--signature_def", "serving_default")
    assert "inputs['volume'] tensor_info:\n      dtype: DT_INT16\n      shape: (-1, -1, -1)" in shown
    assert "outputs['labels'] tensor_info:\n      dtype: DT_UINT8\n      shape: (-1, -1, -1)" in shown
    run(cli, "run", "--dir", tiny_export[2], "--tag_set", "serve", "--signature_def", "serving_default", "--inputs",
        f"volume={tmp_path}/volume.npy;spacing_mm={tmp_path}/spacing_mm.npy", "--outdir", tmp_path / "out")
    assert np.array_equal(np.load(tmp_path / "out" / "labels.npy"), labels)


@pytest.mark.soak
@pytest.mark.parametrize("exporter", STACKS, ids=["export_on_keras2", "export_on_keras3"])
def test_an_export_of_either_stack_runs_on_the_other(exporter, tiny_answer, tmp_path, figure):
    missing = [python for python in STACKS if not python.exists()]
    if missing:
        pytest.skip(f"no {missing[0]}: both stacks are needed, make venv makes one")
    run(exporter, HERE / "export_unlike_nets.py", tmp_path / "export")
    scan, labels, _ = tiny_answer
    config, rng = tiny_config(), np.random.default_rng(0)
    images = {f"{stage}__image": rng.random((2, *net_shape(stage, config)), np.float32) for stage in STAGES}
    one, other = (session_loader(python, tmp_path / "export" / "1", tmp_path, **images,
                                 serving_default__volume=scan.voxels,
                                 serving_default__spacing_mm=np.float32(scan.spacing_mm)) for python in STACKS)
    apart = {stage: np.abs(one[f"{stage}/probabilities"] - other[f"{stage}/probabilities"]).max() for stage in STAGES}
    figure("largest difference of probabilities between the stacks: "
           + ", ".join(f"{stage} {value:.1e}" for stage, value in apart.items()))
    assert max(apart.values()) < 1e-4
    for stage in STAGES:
        assert np.ptp(one[f"{stage}/probabilities"]) > 0.1  # the outputs are not constant
    assert np.array_equal(one["serving_default/labels"], labels)
    assert np.array_equal(other["serving_default/labels"], labels)
