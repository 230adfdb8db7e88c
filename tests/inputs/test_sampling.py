"""Tests which examples a stage samples."""

import collections
import itertools

import numpy as np
import pytest
import tensorflow as tf
from harness import ellipses

from kits_tf.errors import InputError
from kits_tf.inputs import sampling
from kits_tf.records import dataset, schema


@pytest.fixture(scope="module")
def config():
    return ellipses.tiny_config()


def prepare(tmp_path, config, stage, **options):
    ellipses.write(tmp_path, config, stages=[stage], **options)
    train, _ = dataset.split(tmp_path, stage, 0, config)
    return train, sampling.count_kinds(train)


def drawn(config, stage, paths, counts, number, seed=(0, 0), alike=False):
    """Returns (case, index in the shard, kind) of the first sampled examples."""
    stream = sampling.draw(paths, counts, stage, 1000, tf.constant(seed, tf.int32), alike).take(number)
    examples = [schema.parse(serialized, config.record_shape(stage)) for serialized in stream]
    return [(example["case"].numpy().decode(), int(example["start"][0]), int(example["kind"])) for example in examples]


def test_counts_are_those_of_the_shards(tmp_path, config):
    _, counts = prepare(tmp_path, config, "coarse", per_case=5, kinds=(0, 2))
    np.testing.assert_array_equal(counts, [[3, 0, 2]] * 4)


def test_the_box_of_a_case_is_never_drawn(tmp_path, config):
    paths, counts = prepare(tmp_path, config, "tumor3d", per_case=3)
    kinds = [int(sampling.kind_of(one)) for one in tf.data.TFRecordDataset(paths[0])]
    assert kinds == [0, 1, 2, schema.BOX]
    np.testing.assert_array_equal(counts, [[1, 1, 1]] * 4)
    for seed in range(5):  # each seed starts at other positions in the shards
        found = drawn(config, "tumor3d", paths, counts, 12, seed=(0, seed))
        assert len(set(found)) == 12
        assert all(index < 3 for _, index, _ in found)


def test_tumor3d_draws_background_kidney_and_tumor_in_turn(tmp_path, config):
    found = drawn(config, "tumor3d", *prepare(tmp_path, config, "tumor3d", kinds=(0, 0, 0, 1, 2)), 12)
    assert [kind for *_, kind in found] == [0, 1, 2] * 4


def test_tumor2d_draws_as_many_with_tumor_as_without_and_every_tumor_slice(tmp_path, config):
    # 4 cases with 2 tumor slices and 6 others each.
    paths, counts = prepare(tmp_path, config, "tumor2d", per_case=8, kinds=(0, 1, 1, 2))
    found = drawn(config, "tumor2d", paths, counts, 16)
    assert [kind == 2 for *_, kind in found] == [True, False] * 8
    assert len({example for example in found if example[2] == 2}) == 8
    others = [{example for example in drawn(config, "tumor2d", paths, counts, 16, seed=(0, epoch)) if example[2] != 2}
              for epoch in (1, 2)]
    assert others[0] != others[1]


@pytest.mark.parametrize(("stage", "kinds", "expected"), [
    ("tumor3d", (0, 0, 0, 1, 1, 2), {0: 333, 1: 333, 2: 333}),
    ("tumor2d", (0, 1, 1, 1, 1, 2), {2: 500}),
    ("fine", (0, 1, 1, 1, 1, 2), {0: 1000 / 6, 1: 4000 / 6, 2: 1000 / 6}),
])
def test_a_thousand_draws_hold_what_the_stage_asks_for(tmp_path, config, stage, kinds, expected):
    paths, counts = prepare(tmp_path, config, stage, per_case=24, kinds=kinds)
    found = drawn(config, stage, paths, counts, 1000)
    number = collections.Counter(kind for *_, kind in found)
    for kind, wanted in expected.items():
        assert number[kind] == pytest.approx(wanted, abs=1 if stage != "fine" else 20)
    cases = collections.Counter(case for case, *_ in found)
    assert len(cases) == 4
    assert max(cases.values()) < 1.2 * min(cases.values())


def test_tumor2d_draws_other_slices_without_tumor_each_epoch_and_all_with_it_in_each(tmp_path, config):
    paths, counts = prepare(tmp_path, config, "tumor2d", per_case=30, kinds=(0, 1, 1, 1, 2))  # 6 of 30 have tumor
    epochs = [drawn(config, "tumor2d", paths, counts, 2 * 4 * 6, seed=(0, epoch)) for epoch in range(3)]
    with_tumor = [{example for example in epoch if example[2] == 2} for epoch in epochs]
    without = [{example for example in epoch if example[2] < 2} for epoch in epochs]
    assert [len(examples) for examples in with_tumor] == [24] * 3
    assert [len(examples) for examples in without] == [24] * 3
    assert len(set.union(*without)) > 40


def test_with_cases_alike_a_giant_tumor_is_drawn_as_often_as_a_small_one_and_all_of_it_in_time(tmp_path, config):
    image, labels = ellipses.draw_ellipse(config.record_shape("tumor2d"), np.random.default_rng(0), 2)
    paths = [tmp_path / f"case_{number:05d}.tfrecord" for number in range(3)]
    for path, with_tumor in zip(paths, (2, 20, 5), strict=True):
        kinds = [1] * 4 + [2] * with_tumor
        schema.write(path, [schema.Example(image, labels, path.stem, (index, 0, 0), 0, kind)
                             for index, kind in enumerate(kinds)])
    counts = sampling.count_kinds(paths)
    epochs = [[example for example in drawn(config, "tumor2d", paths, counts, 2 * 27, seed=(0, epoch), alike=True)
               if example[2] == 2] for epoch in range(8)]
    for found in epochs:
        assert collections.Counter(case for case, *_ in found) == {path.stem: 9 for path in paths}
    giants = [{index for case, index, _ in found if case == paths[1].stem} for found in epochs]
    assert all(len(indices) == 9 for indices in giants)
    assert len(set.union(*giants)) == 20
    usual = collections.Counter(case for case, _, kind in drawn(config, "tumor2d", paths, counts, 2 * 27) if kind == 2)
    assert usual == {paths[0].stem: 2, paths[1].stem: 20, paths[2].stem: 5}


def test_other_stages_draw_every_example_once_before_any_twice(tmp_path, config):
    paths, counts = prepare(tmp_path, config, "fine")
    found = drawn(config, "fine", paths, counts, 4 * 6)
    assert len(set(found)) == 4 * 6
    assert found != sorted(found)


def test_a_seed_draws_the_same_and_another_seed_does_not(tmp_path, config):
    paths, counts = prepare(tmp_path, config, "fine")
    first, again, other = (drawn(config, "fine", paths, counts, 20, seed) for seed in ((3, 1), (3, 1), (4, 1)))
    assert first == again
    assert first != other


def test_a_group_that_no_case_has_is_left_out_instead_of_waited_for(tmp_path, config):
    paths, counts = prepare(tmp_path, config, "tumor2d", kinds=(0, 1))
    assert {kind for *_, kind in drawn(config, "tumor2d", paths, counts, 6)} == {0, 1}


def test_head_and_feet_are_drawn_alike_when_an_epoch_reads_a_part_of_each_shard(tmp_path, config, monkeypatch):
    monkeypatch.setattr(sampling, "WINDOW_BYTES", 16 * 1000)
    paths, counts = prepare(tmp_path, config, "coarse", per_case=40, kinds=(1,))
    places = itertools.chain.from_iterable(
        (index // 10 for _, index, _ in drawn(config, "coarse", paths, counts, 32, seed=(0, epoch)))
        for epoch in range(12))
    quarters = collections.Counter(places)
    assert min(quarters[quarter] for quarter in range(4)) > 0.5 * max(quarters.values())


def test_no_example_at_all_is_refused(tmp_path, config):
    paths, counts = prepare(tmp_path, config, "fine")
    with pytest.raises(ValueError, match="contain no example"):
        sampling.draw(paths, counts * 0, "fine", 1000, tf.constant([0, 0]))


def test_a_damaged_shard_is_named(tmp_path, config):
    paths, _ = prepare(tmp_path, config, "fine")
    paths[2].write_bytes(paths[2].read_bytes()[:-20])
    with pytest.raises(InputError, match=f"{paths[2].name}: is damaged"):
        sampling.count_kinds(paths)


def test_each_seed_reads_the_shards_in_an_order_of_its_own(tmp_path, config, monkeypatch):
    monkeypatch.setattr(sampling, "WINDOW_BYTES", 1)  # the minimum of 16 examples is buffered and shuffled
    paths, counts = prepare(tmp_path, config, "fine", cases=40, per_case=1)
    one, other = ({case for case, *_ in drawn(config, "fine", paths, counts, 16, seed=(seed, 0))} for seed in (1, 2))
    assert len(one) == len(other) == 16 < len(paths)
    assert one != other
