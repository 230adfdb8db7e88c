"""Fixtures for all tests: seeds, exports that are made once per run, and real data if available."""

import fcntl
import os
import pathlib
import random
import shutil

import numpy as np
import pytest

import kits_tf  # noqa: F401  before TensorFlow, because kits_tf sets environment variables that TensorFlow reads

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # a process that used gRPC can crash on fork
if "PYTEST_XDIST_WORKER" in os.environ:
    # One thread for each pytest process: pools of threads that share few cores wait for each other, and a test of 4 s
    # took 25. The other pytest processes use the other cores.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

DATA = pathlib.Path(__file__).parents[2] / "shared" / "data"


# Files that take longest, in make test or in make soak: they start first, so that at the end no process works alone.
FIRST = ("test_deliberate_faults", "test_client", "test_faults", "test_export", "test_training", "test_oracle",
         "test_replicas", "test_killed", "test_rules", "test_body", "test_pipeline", "test_step", "test_start",
         "test_session_loader", "test_train_command", "test_sampling", "test_average")


def pytest_collection_modifyitems(items):
    """Puts the tests of FIRST first; --no-loadscope-reorder keeps that order, where xdist would go by their number."""
    items.sort(key=lambda item: FIRST.index(item.path.stem) if item.path.stem in FIRST else len(FIRST))


def pytest_terminal_summary(terminalreporter):
    """Shows the lines of the fixture `figure`, which come from any pytest process."""
    reports = [report for some in terminalreporter.stats.values() for report in some]
    for report in reports:
        if getattr(report, "when", "") == "call":
            for name, line in report.user_properties:
                if name == "figure":
                    terminalreporter.write_line(line)


@pytest.fixture
def figure(record_property):
    """Returns a function that shows a line at the end of the run: figures that a slow proof measured."""
    return lambda line: record_property("figure", line)


@pytest.fixture(autouse=True)
def same_numbers():
    """Seeds Python's and NumPy's generators before each test.

    TensorFlow's seed is not set: setting it clears all traced graphs, which must then be optimized again. A test that
    builds networks with random weights requests `same_weights`.
    """
    random.seed(1)
    np.random.seed(1)


@pytest.fixture
def same_weights():
    """Seeds the initial weights of networks that the test builds."""
    import tensorflow as tf

    tf.keras.utils.set_random_seed(1)


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """Returns a function `once(name, make)` that returns a folder filled by `make(folder)`, once per run.

    With several pytest processes, the first one makes the folder and the others wait. All share the folder, so a test
    that changes it must work on a copy.
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


@pytest.fixture(scope="module")
def launch():
    """Returns a function that starts a browser of this machine with flags; skips the test if there is none."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    if program is None:
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        yield lambda *flags: driver.chromium.launch(executable_path=program, args=flags)


@pytest.fixture(scope="module")
def browser(launch):
    """A browser with WebGL 2, also without a graphics card."""
    opened = launch("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def real_masks():
    """Paths of KiTS19 label files, sorted; skips the test if there are none."""
    paths = sorted((DATA / "kits19-masks").glob("case_*/segmentation.nii.gz"))
    if not paths:
        pytest.skip("no real masks beside the checkout")
    return paths


@pytest.fixture(scope="session")
def real_ct():
    """Path of a real CT; skips the test if there is none."""
    path = DATA / "real-ct" / "example_ct.nii.gz"
    if not path.exists():
        pytest.skip("no real CT beside the checkout")
    return path


@pytest.fixture(scope="session")
def oracle_export(once):
    """Folder of the exported cascade of the paper with perfect networks."""
    from harness import oracles  # imports TensorFlow, which tests that only read files do not need

    from kits_tf.cascade import export_cascade

    return once("oracle", lambda folder: export_cascade(oracles.nets(), folder))


@pytest.fixture(scope="session")
def oracle_predictor(oracle_export):
    """The loaded predictor of `oracle_export`."""
    from kits_tf.serving import Predictor

    return Predictor(oracle_export)


@pytest.fixture(scope="session")
def quick_export(once):
    """Folder of an export with a cascade's interface that loads and predicts in a moment."""
    from harness import oracles

    return once("quick", oracles.export_thresholds)


@pytest.fixture(scope="session")
def tiny_export(once):
    """(networks, config, version folder) of exported Keras networks that apply thresholds on the demo's grid."""
    from harness import tiny_nets

    from kits_tf.cascade import export_cascade

    config = tiny_nets.tiny_config()
    nets = tiny_nets.threshold_models(config)
    return nets, config, once("tiny", lambda folder: export_cascade(nets, folder, config)) / "1"
