"""Tests preparing a study again: unchanged, after a change, damage or an interruption, and with bad cases."""

import dataclasses
import json
import pathlib
import shutil

import nibabel as nib
import numpy as np
import pytest
from harness import commands
from harness.prepared import (
    CONFIG,
    SPACING_MM,
    noisy_scan,
    prepared_pair,
    read_records,
    rewrite,
    two_kidneys,
    write_case,
)

import data_prep
from data_prep import examples
from data_prep.cases import NormalizedCase, read_case
from data_prep.check import problems
from data_prep.preparation import discard_others, prepare_study
from kits_tf import cluster
from kits_tf.config import STAGES
from kits_tf.errors import InputError
from kits_tf.files.atomic import TEMPORARY
from kits_tf.files.lock import only_writer
from kits_tf.records import dataset
from kits_tf.scans.discovery import find_study
from kits_tf.scans.nifti import write_volume
from kits_tf.volume import Volume

ROOT = pathlib.Path(data_prep.__file__).parents[1]
TWO = ("coarse", "fine")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return prepared_pair(tmp_path_factory.mktemp("template"), TWO)


@pytest.fixture
def folder(template, tmp_path):
    """A private copy of a study of two cases, prepared for two stages."""
    return shutil.copytree(template, tmp_path / "copy")


def prepare(folder, stages=TWO, config=CONFIG, seed=0):
    return prepare_study(folder / "study", folder / "data", stages, config, seed)


def shards(folder):
    """Returns path, modification time and content of every shard."""
    return {path.relative_to(folder / "data" / "records").as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
            for path in sorted((folder / "data").rglob("*.tfrecord"))}


def test_what_killed_workers_left_half_written_goes_at_the_end(folder, monkeypatch):
    half, run = folder / "data" / "records" / "coarse" / f"{TEMPORARY}x.tfrecord", cluster.run

    def run_with_a_death(*arguments):
        half.touch()
        yield from run(*arguments)
        assert half.exists()

    monkeypatch.setattr(cluster, "run", run_with_a_death)
    assert prepare(folder) == 0
    assert not half.exists()


def test_a_data_folder_holds_shards_manifests_and_folds_and_nothing_else(folder):
    files = {path.relative_to(folder / "data").as_posix() for path in (folder / "data").rglob("*") if path.is_file()}
    assert files == {"folds.json", "summary.csv", *(f"records/{stage}/{name}" for stage in TWO for name in (
        "manifest.json", "case_00000.tfrecord", "case_00001.tfrecord"))}
    folds = json.loads((folder / "data" / "folds.json").read_text())
    assert folds["seed"] == 0
    assert sorted(name for fold in folds["folds"] for name in fold) == ["case_00000", "case_00001"]
    known = dataset.read_manifest(folder / "data", "fine")
    assert known["settings"] == CONFIG.record_settings("fine")
    entry = known["cases"]["case_00000"]
    assert entry["records"] == len(read_records(folder / "data", "fine", "case_00000"))
    imaging = folder / "study" / "case_00000" / "imaging.nii.gz"
    assert entry["sources"]["imaging"]["bytes"] == imaging.stat().st_size


def test_what_is_fresh_is_not_written_again(folder, capsys):
    before = shards(folder)
    capsys.readouterr()
    assert prepare(folder) == 0
    assert shards(folder) == before
    assert "0 done, 2 unchanged, 0 failed" in capsys.readouterr().err


def test_a_stage_added_later_leaves_the_others_alone(folder, capsys):
    before = shards(folder)
    assert prepare(folder, STAGES) == 0
    assert "2 done, 0 unchanged, 0 failed" in capsys.readouterr().err
    after = shards(folder)
    assert {name: after[name] for name in before} == before
    assert len(after) == 2 * len(STAGES)


@pytest.mark.parametrize("source", ["imaging", "segmentation"])
def test_a_changed_source_redoes_its_case_alone(source, folder, capsys):
    before = shards(folder)
    voxels = noisy_scan(seed=9) if source == "imaging" else two_kidneys()[:, :, ::-1]
    path = folder / "study" / "case_00001" / f"{source}.nii.gz"
    write_volume(path, Volume.from_spacing(np.ascontiguousarray(voxels), SPACING_MM))
    assert prepare(folder) == 0
    after = shards(folder)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"coarse/case_00001.tfrecord", "fine/case_00001.tfrecord"}
    assert "0 done, 1 redone, 1 unchanged, 0 failed" in capsys.readouterr().err
    assert all(after[name][1] != before[name][1] for name in changed)


def test_other_record_settings_redo_the_stages_they_touch(folder, capsys):
    before = shards(folder)
    other = dataclasses.replace(CONFIG, fine=dataclasses.replace(CONFIG.fine, extra_slices=0))
    with pytest.raises(InputError, match=r"data: has fine records of other settings than preset tiny's; give another "
                                         r"--output, or --discard to delete these records first \(2 files\)$"):
        prepare(folder, config=other)
    assert shards(folder) == before
    discard_others(folder / "study", folder / "data", TWO, other)
    assert prepare(folder, config=other) == 0
    after = shards(folder)
    assert {name for name in before if after[name] != before[name]} == {
        "fine/case_00000.tfrecord", "fine/case_00001.tfrecord"}
    assert "2 done, 0 unchanged, 0 failed" in capsys.readouterr().err
    # 4 slices fewer for each of two kidneys, one crop each.
    assert len(read_records(folder / "data", "fine", "case_00000", other)) == dataset.read_manifest(
        folder / "data", "fine")["cases"]["case_00000"]["records"]


def everything(folder):
    return {path: path.read_bytes() for path in (folder / "data").rglob("*") if path.is_file()}


def test_another_seed_is_refused_and_changes_nothing(folder):
    before = everything(folder)
    with pytest.raises(InputError, match="dealt with --seed=0, and folds do not change"):
        prepare(folder, stages=("fine",), seed=1)
    assert everything(folder) == before
    assert prepare(folder, seed=None) == 0


def test_a_case_that_joins_leaves_the_folds_of_the_others_as_they_are(folder):
    before = json.loads(dataset.folds_path(folder / "data").read_text())["folds"]
    write_case(folder / "study", "case_00000a", two_kidneys(), seed=2)
    assert prepare(folder) == 0
    after = json.loads(dataset.folds_path(folder / "data").read_text())["folds"]
    assert [fold for fold in after if fold != ["case_00000a"]] == [fold for fold in before if fold] + [[]] * 2


def test_a_case_that_left_the_study_leaves_the_records_of_all_stages_on_demand(folder):
    for path in (folder / "study" / "case_00001").iterdir():
        path.unlink()
    before = everything(folder)
    with pytest.raises(InputError, match=r"data: has records of case_00001, which the study lacks; give another "
                                         r"--output, or --discard to delete these records first \(2 files\)$"):
        prepare(folder, stages=("coarse",))
    assert everything(folder) == before
    discard_others(folder / "study", folder / "data", ("coarse",), CONFIG)
    assert prepare(folder, stages=("coarse",)) == 0
    assert list(shards(folder)) == ["coarse/case_00000.tfrecord", "fine/case_00000.tfrecord"]
    assert list(dataset.read_manifest(folder / "data", "fine")["cases"]) == ["case_00000"]
    assert set().union(*dataset.read_folds(folder / "data")) == {"case_00000"}


def test_another_study_with_the_same_case_names_is_refused_and_taken_on_demand(folder):
    shutil.move(folder / "study", folder / "first")
    for seed in (7, 8, 9):
        write_case(folder / "study", f"case_0000{seed - 7}", two_kidneys(), seed)
    before = everything(folder)
    with pytest.raises(InputError, match=r"data: has records of another study with the same case names \(all scans "
                                         r"differ\); give another --output, or --discard"):
        prepare(folder, stages=("tumor3d",))
    assert everything(folder) == before
    discard_others(folder / "study", folder / "data", TWO, CONFIG)
    assert everything(folder).keys() == {dataset.folds_path(folder / "data"), folder / "data" / "summary.csv"}
    assert prepare(folder) == 0 and len(shards(folder)) == 6


def test_one_scan_under_two_names_is_warned_of(folder, capsys):
    assert prepare(folder) == 0
    assert "same scan" not in capsys.readouterr().err
    shutil.copytree(folder / "study" / "case_00001", folder / "study" / "case_00009")
    assert prepare(folder) == 0
    assert "warning: case_00001, case_00009 are the same scan; take all but one out" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["another seed", "a table of the user's"])
def test_nothing_is_discarded_for_a_preparation_that_is_refused(what, folder):
    shutil.rmtree(folder / "study" / "case_00001")
    if what != "another seed":
        (folder / "data" / "summary.csv").write_text("drug,dose\n")
    before = everything(folder)
    with pytest.raises(InputError, match=r"folds do not change|was not written by data_prep"):
        discard_others(folder / "study", folder / "data", TWO, CONFIG, seed=int(what == "another seed"))
    assert everything(folder) == before


@pytest.mark.parametrize("which", ["imaging", "segmentation"])
def test_records_stay_where_the_files_they_were_made_of_are_away(which, folder):
    """As with links into an archive that is not mounted."""
    path = folder / "study" / "case_00001" / f"{which}.nii.gz"
    before = everything(folder)
    path.rename(folder / "kept")
    path.symlink_to(folder / "archive" / "scan")
    assert prepare(folder) == 1
    summary = folder / "data" / "summary.csv"
    assert "is a dangling symbolic link" in summary.read_text()
    assert everything(folder) == before | {summary: summary.read_bytes()}
    path.unlink()
    (folder / "kept").rename(path)
    assert prepare(folder) == 0
    assert summary.read_text().count(",unchanged,") == 2


def check(data_dir, stage):
    """Returns the problems of one stage."""
    return problems(data_dir, stage)[0]


def damage(path, how):
    raw = bytearray(path.read_bytes())
    if how == "missing":
        path.unlink()
    elif how == "cut":
        path.write_bytes(raw[:-100])
    else:
        raw[len(raw) // 2] ^= 1  # one bit; the size is unchanged
        path.write_bytes(raw)


@pytest.mark.parametrize("how", ["missing", "cut", "one bit"])
def test_a_damaged_shard_is_named_and_rebuilt_byte_for_byte(how, folder):
    before = shards(folder)
    assert check(folder / "data", "fine") == []
    path = dataset.shard_path(folder / "data", "fine", "case_00001")
    damage(path, how)
    line, = check(folder / "data", "fine")
    assert line.startswith(str(path))
    assert len(line.splitlines()) == 1
    assert check(folder / "data", "coarse") == []
    assert prepare(folder) == 0
    after = shards(folder)
    assert {name: content for name, (_, content) in after.items()} == {
        name: content for name, (_, content) in before.items()}
    assert {name for name in before if after[name] != before[name]} == {"fine/case_00001.tfrecord"}
    assert check(folder / "data", "fine") == []


def test_a_summary_stays_until_the_next_one_is_whole(folder, monkeypatch):
    path = folder / "data" / "summary.csv"
    before = path.read_text()

    def lost(*_):
        raise InputError("the connection to the scheduler is lost")

    monkeypatch.setattr(cluster, "run", lost)
    with pytest.raises(InputError, match="is lost"):
        prepare(folder)
    assert path.read_text() == before


def test_a_table_of_the_users_in_the_summarys_place_is_kept(folder):
    path = folder / "data" / "summary.csv"
    path.write_text("patient,age\ncase_00000,57\n")
    before = everything(folder)
    with pytest.raises(InputError, match=r"summary.csv: was not written by data_prep, and is kept; move it away"):
        prepare(folder)
    assert everything(folder) == before


def test_checking_writes_nothing(folder):
    damage(dataset.shard_path(folder / "data", "fine", "case_00001"), "cut")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    check(folder / "data", "fine")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize("text", ["", "[]", '{"settings": 3}'])
def test_a_manifest_that_cannot_be_read_is_written_again(text, folder):
    dataset.manifest_path(folder / "data", "fine").write_text(text)
    assert prepare(folder) == 0
    assert check(folder / "data", "fine") == []
    assert set(dataset.read_manifest(folder / "data", "fine")["cases"]) == {"case_00000", "case_00001"}


def test_an_interruption_leaves_whole_shards_and_the_next_run_continues(template, tmp_path, monkeypatch):
    shutil.copytree(template / "study", tmp_path / "study")
    real = examples.CUTTERS["fine"]

    def broken(case, config):
        yield next(iter(real(case, config)))
        if case.name == "case_00001":
            raise KeyboardInterrupt
        yield from list(real(case, config))[1:]

    with monkeypatch.context() as patch:
        patch.setitem(examples.CUTTERS, "fine", broken)
        with pytest.raises(KeyboardInterrupt):
            prepare(tmp_path)
    assert list(shards(tmp_path)) == ["coarse/case_00000.tfrecord", "coarse/case_00001.tfrecord",
                                      "fine/case_00000.tfrecord"]
    assert [path.name for path in (tmp_path / "data").rglob(".*")] == []
    assert check(tmp_path / "data", "fine") == ["case_00001: was never prepared for fine"]
    before = shards(tmp_path)
    assert prepare(tmp_path) == 0
    after = shards(tmp_path)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"fine/case_00001.tfrecord"}


def _moved(case):
    affine = nib.load(case / "segmentation.nii.gz").affine.copy()
    affine[0, 3] += 1.0
    rewrite(case / "segmentation.nii.gz", affine=affine)


def _turned_about_its_diagonal(case):
    """Rotates the volume about its diagonal: the first and last voxel stay in place, all others move."""
    image = nib.load(case / "segmentation.nii.gz")
    affine = image.affine.copy()
    axis = affine[:3, :3] @ (np.array(image.shape) - 1.0)
    axis /= np.linalg.norm(axis)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    angle = np.deg2rad(5)
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    affine[:3, :3] = turn @ affine[:3, :3]
    rewrite(case / "segmentation.nii.gz", affine=affine)


def _cut(path):
    raw = path.read_bytes()
    path.write_bytes(raw[:len(raw) // 2])


BAD = {
    "case_90001": (lambda case: (case / "segmentation.nii.gz").unlink(), "has no segmentation.nii.gz"),
    "case_90002": (lambda case: (case / "imaging.nii.gz").unlink(), "imaging.nii.gz: no such file"),
    "case_90003": (lambda case: rewrite(case / "segmentation.nii.gz", two_kidneys()[:-1]), r"\(12, 36, 43\)"),
    "case_90004": (_moved, "up to 1.00 mm away"),
    "case_90005": (_turned_about_its_diagonal, "mm away from its scan"),
    "case_90006": (lambda case: rewrite(case / "segmentation.nii.gz", 0 * two_kidneys()), "contains no kidney"),
    "case_90007": (lambda case: rewrite(case / "segmentation.nii.gz", 3 * two_kidneys()), "holds label 3"),
    "case_90008": (lambda case: _cut(case / "imaging.nii.gz"), "imaging.nii.gz"),
    "case_90009": (lambda case: _cut(case / "segmentation.nii.gz"), "segmentation.nii.gz"),
    "case_90010": (lambda case: (case / "imaging.nii.gz").write_text("no scan"), "cannot be read as NIfTI"),
}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A study of ten bad cases between two good ones."""
    folder = tmp_path_factory.mktemp("mixed")
    for name in ("case_00000", *BAD, "case_99999"):
        write_case(folder / "study", name, two_kidneys())
    for name, (spoil, _) in BAD.items():
        spoil(folder / "study" / name)
    return folder


def test_bad_cases_are_a_line_each_and_the_others_are_prepared(mixed, capsys):
    assert prepare(mixed) == 1
    said = capsys.readouterr().err.splitlines()
    failures = [line for line in said if line.startswith("failed: ")]
    assert len(failures) == len(BAD)
    assert [name for name, line in zip(BAD, failures, strict=True) if name not in line] == []
    assert "2 done, 0 unchanged, 10 failed" in said[-1]
    assert list(shards(mixed)) == [f"{stage}/{name}.tfrecord" for stage in TWO for name in ("case_00000", "case_99999")]
    known = dataset.read_manifest(mixed / "data", "fine")["cases"]
    assert [name for name, entry in known.items() if "failure" in entry] == list(BAD)
    assert [line.split(":")[0] for line in check(mixed / "data", "fine")] == list(BAD)
    # A second run skips the good cases and reports the bad ones again.
    before = shards(mixed)
    assert prepare(mixed) == 1
    assert shards(mixed) == before
    assert "0 done, 2 unchanged, 10 failed" in capsys.readouterr().err


@pytest.mark.parametrize("name", BAD)
def test_a_bad_case_says_what_is_wrong_with_it(name, mixed):
    case = next(case for case in find_study(mixed / "study") if case.name == name)
    with pytest.raises(InputError, match=BAD[name][1]) as caught:
        read_case(case, CONFIG.spacing_mm)
    assert name in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_case_that_turns_bad_loses_its_shards_and_one_mended_gets_them_back(folder):
    before = shards(folder)
    path = folder / "study" / "case_00001" / "segmentation.nii.gz"
    whole = path.read_bytes()
    _cut(path)
    assert prepare(folder) == 1
    assert list(shards(folder)) == ["coarse/case_00000.tfrecord", "fine/case_00000.tfrecord"]
    path.write_bytes(whole)
    assert prepare(folder) == 0
    assert {name: content for name, (_, content) in shards(folder).items()} == {
        name: content for name, (_, content) in before.items()}


@pytest.mark.parametrize("name", ["imaging", "segmentation"])
def test_a_case_that_has_a_file_twice_is_refused_and_the_others_continue(name, folder, capsys):
    case = folder / "study" / "case_00001"
    (case / f"{name}.nii").write_bytes(b"another")
    assert prepare(folder) == 1
    said = capsys.readouterr().err.splitlines()
    assert f"failed: {case}: contains both {name}.nii.gz and {name}.nii; remove one" in said
    assert "0 done, 1 unchanged, 1 failed" in said[-1]
    assert list(shards(folder)) == ["coarse/case_00000.tfrecord", "fine/case_00000.tfrecord"]


def test_a_scan_of_fractions_is_rounded_and_clipped_to_int16(tmp_path):
    write_case(tmp_path, "case_00000", two_kidneys())
    voxels = noisy_scan().astype(np.float32) + 0.4
    voxels[0, 0, :2] = 1e6, -1e6
    write_volume(tmp_path / "case_00000" / "imaging.nii.gz", Volume.from_spacing(voxels, SPACING_MM))
    case = read_case(find_study(tmp_path)[0], CONFIG.spacing_mm)
    assert isinstance(case, NormalizedCase)
    expected = noisy_scan()
    expected[0, 0, :2] = 32767, -32768
    assert np.array_equal(case.ct, expected)


def test_labels_a_rounding_error_away_from_the_scan_are_accepted(tmp_path):
    write_case(tmp_path, "case_00000", two_kidneys())
    affine = nib.load(tmp_path / "case_00000" / "segmentation.nii.gz").affine + 1e-3 * np.eye(4, k=3)
    rewrite(tmp_path / "case_00000" / "segmentation.nii.gz", affine=affine)
    assert read_case(find_study(tmp_path)[0], CONFIG.spacing_mm).name == "case_00000"


def test_nothing_starts_without_a_study_or_a_place_to_write(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        prepare_study(tmp_path / "nowhere", tmp_path / "data", TWO, CONFIG, 0)
    with pytest.raises(InputError, match="contains no scan"):
        prepare_study(tmp_path, tmp_path / "data", TWO, CONFIG, 0)
    assert list(tmp_path.iterdir()) == []
    write_case(tmp_path / "study", "case_00000", two_kidneys())
    (tmp_path / "data").write_text("")
    with pytest.raises(InputError, match=r"data: cannot be created .*--output"):
        prepare(tmp_path)


def command(*flags):
    return commands.run("-m", "data_prep", *flags)


def test_the_command_prepares_a_study_and_checks_it(tmp_path):
    write_case(tmp_path / "study", "case_00000", two_kidneys())
    flags = [f"--output={tmp_path / 'data'}", "--stage=coarse", "--preset=demo"]
    done = command(f"--input={tmp_path / 'study'}", *flags)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "1 done, 0 unchanged, 0 failed" in done.stderr.splitlines()[-1]
    done = command("--check", *flags)
    assert (done.returncode, done.stderr.strip()) == (
        0, f"{tmp_path / 'data'}: all 1 shards are whole (coarse)")
    path = dataset.shard_path(tmp_path / "data", "coarse", "case_00000")
    damage(path, "cut")
    done = command("--check", *flags)
    assert done.returncode == 2
    assert [str(path) in line for line in done.stderr.splitlines()] == [True, False]


@pytest.mark.parametrize(("flags", "said"), [
    (["--check", "--output=nowhere"], "nowhere"), ([], "--input is missing"), (["--stage=finest"], "finest"),
    (["more"], "more")])
def test_a_users_mistake_ends_with_status_1_and_names_itself(flags, said):
    done = command(*flags)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_run_into_a_folder_is_refused_while_the_first_lasts(folder):
    before = shards(folder)
    with only_writer(folder / "data"), pytest.raises(InputError, match=r"data: is in use by process \d+"):
        prepare(folder, stages=STAGES)
    assert shards(folder) == before
