"""Tests what TF_CONFIG must hold."""

import json

import pytest

from kits_tf.errors import InputError
from kits_tf.training import workers


def set_cluster(monkeypatch, cluster, kind, index):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}}))


def test_workers_and_the_own_index_are_read(monkeypatch):
    set_cluster(monkeypatch, {"worker": ["one:2222", "two:2223"]}, "worker", 1)
    assert workers.addresses() == (["one:2222", "two:2223"], 1)
    monkeypatch.delenv("TF_CONFIG")
    assert workers.addresses() == ([], 0)


@pytest.mark.parametrize(("cluster", "kind", "index", "said"), [
    ({"chief": ["one:2222"]}, "chief", 0, "its cluster has chief, expected workers only"),
    ({"worker": ["one:2222"], "ps": ["two:2222"]}, "worker", 0, "its cluster has ps and worker, expected workers only"),
    ({"worker": ["one:2222"]}, "worker", 1, "its task is worker 1, expected one of 1 workers"),
    ({"worker": ["one:2222", "two"]}, "worker", 0, "its workers are one:2222, two, expected HOST:PORT for each"),
    ({}, "worker", 0, "its cluster has no task")])
def test_other_clusters_are_refused_in_one_line(monkeypatch, cluster, kind, index, said):
    set_cluster(monkeypatch, cluster, kind, index)
    with pytest.raises(InputError, match=said) as caught:
        workers.addresses()
    assert "\n" not in str(caught.value)
