"""What all tests share: a quiet TensorFlow, one seed, and real masks where they lie beside the checkout."""

import os
import pathlib
import sys

import pytest

import kits_tf  # noqa: F401  before TensorFlow, which reads the settings made there

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # a process that has called gRPC may die when it forks

DATA = pathlib.Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def same_numbers():
    """Nets begin each test with the same weights: a bound on what they answer holds or not, whatever the day."""
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].keras.utils.set_random_seed(1)


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
def oracle_export(tmp_path_factory):
    """The paper's cascade with perfect nets, exported: its folder."""
    import oracles  # brings TensorFlow, which tests that read files alone need not wait for

    from kits_tf.cascade import export_cascade

    folder = tmp_path_factory.mktemp("oracle")
    export_cascade(oracles.nets(), folder)
    return folder


@pytest.fixture(scope="session")
def oracle_predictor(oracle_export):
    """The same, loaded."""
    from kits_tf.serving import Predictor

    return Predictor(oracle_export)


@pytest.fixture(scope="session")
def quick_export(tmp_path_factory):
    """What looks like an exported cascade and loads and answers in a moment: its folder."""
    import oracles

    folder = tmp_path_factory.mktemp("quick")
    oracles.export_thresholds(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_export(tmp_path_factory):
    """Keras nets that answer by thresholds on the demo's grid, exported: (nets, config, version folder)."""
    import tiny_nets

    from kits_tf.cascade import export_cascade

    config = tiny_nets.tiny_config()
    nets = tiny_nets.threshold_models(config)
    return nets, config, export_cascade(nets, tmp_path_factory.mktemp("tiny"), config)
