"""A fixture: training that is killed between its checkpoint and its history."""

import contextlib

import pytest

from kits_tf.training import checkpoints


@pytest.fixture
def killed_once_saved(monkeypatch):
    """A context in which training is killed after the first epoch's checkpoint, before its history and weights."""
    def killed(*_):
        raise KeyboardInterrupt

    @contextlib.contextmanager
    def dying():
        with monkeypatch.context() as patch:
            patch.setattr(checkpoints, "save_weights", killed)
            with pytest.raises(KeyboardInterrupt):
                yield

    return dying
