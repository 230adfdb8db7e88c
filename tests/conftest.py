"""Fixtures of all tests: seeds, exports that are made once for a whole run, and real data where it is at hand."""

import fcntl
import os
import pathlib
import random

import numpy as np
import pytest

import kits_tf  # noqa: F401  before TensorFlow, which reads the settings made there

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # a process that has called gRPC may die when it forks

DATA = pathlib.Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def same_numbers():
    """Seeds Python's and NumPy's generators before each test.

    TensorFlow's own seed is left alone: setting it clears every traced graph, which then has to be optimized anew. A
    test that builds nets with random weights asks for `same_weights`.
    """
    random.seed(1)
    np.random.seed(1)


@pytest.fixture
def same_weights():
    """Seeds the initial weights of nets that the test builds."""
    import tensorflow as tf

    tf.keras.utils.set_random_seed(1)


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """A function `once(name, make)`: a folder that `make(folder)` filled, once for a run of however many processes.

    The first process makes it and the others wait. All share the folder: a test that changes it works on a copy.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def made(name, make):
        folder = shared / name
        with open(shared / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                make(shared / f"{name}.unfinished")
                (shared / f"{name}.unfinished").rename(folder)
        return folder

    return made


@pytest.fixture(scope="session")
def real_masks():
    """Paths of KiTS19 label files, sorted; skips the test where there are none."""
    paths = sorted((DATA / "kits19-masks").glob("case_*/segmentation.nii.gz"))
    if not paths:
        pytest.skip("no real masks beside the checkout")
    return paths


@pytest.fixture(scope="session")
def real_ct():
    """Path of a real CT; skips the test where there is none."""
    path = DATA / "real-ct" / "example_ct.nii.gz"
    if not path.exists():
        pytest.skip("no real CT beside the checkout")
    return path


@pytest.fixture(scope="session")
def oracle_export(once):
    """The paper's cascade with perfect nets, exported: its folder."""
    from harness import oracles  # brings TensorFlow, which tests that read files alone need not wait for

    from kits_tf.cascade import export_cascade

    return once("oracle", lambda folder: export_cascade(oracles.nets(), folder))


@pytest.fixture(scope="session")
def oracle_predictor(oracle_export):
    """The same, loaded."""
    from kits_tf.serving import Predictor

    return Predictor(oracle_export)


@pytest.fixture(scope="session")
def quick_export(once):
    """What looks like an exported cascade and loads and answers in a moment: its folder."""
    from harness import oracles

    return once("quick", oracles.export_thresholds)


@pytest.fixture(scope="session")
def tiny_export(once):
    """Keras nets that answer by thresholds on the demo's grid, exported: (nets, config, version folder)."""
    from harness import tiny_nets

    from kits_tf.cascade import export_cascade

    config = tiny_nets.tiny_config()
    nets = tiny_nets.threshold_models(config)
    return nets, config, once("tiny", lambda folder: export_cascade(nets, folder, config)) / "1"
