"""Tests a study on disk: KiTS19's layout, independent cases, and anatomy from label files."""

import json

import nibabel as nib
import numpy as np
import pytest
from harness import commands

from kits_tf.errors import InputError
from kits_tf.files import own
from kits_tf.phantoms import study
from kits_tf.phantoms.abdomen import Scanner, draw_abdomen
from kits_tf.phantoms.anatomy import draw_around
from kits_tf.phantoms.study import write_study
from kits_tf.phantoms.tissues import HARD_PHASES
from kits_tf.scans.nifti import read_labels, read_volume, write_volume
from kits_tf.volume import Volume

SMALL = Scanner(size_voxels=64, slice_mm=(8.0, 8.0))


def run(*flags):
    return commands.run("-m", "kits_tf.phantoms", *flags)


def digests(folder):
    return {path.relative_to(folder).as_posix(): read_volume(path).voxels.tobytes()
            for path in sorted(folder.glob("case_*/*.nii.gz"))}


def test_command_writes_kits19_layout(tmp_path):
    done = run(f"--output={tmp_path}", "--cases=2", "--seed=5", "--size=64", "--slice_mm=8")
    assert done.returncode == 0, done.stderr
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert {name for name in names if own.LIST not in name} == {
        "study.json", *(f"case_0000{index}/{name}.nii.gz" for index in (0, 1) for name in ("imaging", "segmentation"))}
    summary = json.loads((tmp_path / "study.json").read_text())
    assert [summary[case]["kind"] for case in ("case_00000", "case_00001")] == ["ordinary", "tiny"]
    for case, entry in summary.items():
        image = nib.load(tmp_path / case / "imaging.nii.gz")
        mask = nib.load(tmp_path / case / "segmentation.nii.gz")
        assert nib.aff2axcodes(image.affine) == ("I", "P", "L")
        assert np.array_equal(image.affine, mask.affine)
        assert image.get_data_dtype() == np.int16
        assert mask.get_data_dtype() == np.uint8
        assert image.shape == mask.shape == tuple(entry["shape"])
        assert image.header.get_zooms() == pytest.approx(entry["spacing_mm"], abs=1e-4)
        tumor_ml = (np.asarray(mask.dataobj) == 2).sum() * np.prod(entry["spacing_mm"]) / 1000
        assert entry["tumor_ml"] == pytest.approx(tumor_ml, abs=0.01)


def test_a_case_is_the_same_whatever_is_written_with_it(tmp_path):
    write_study(tmp_path / "run", cases=3, seed=2, scanner=SMALL)
    write_study(tmp_path / "alone", cases=1, seed=2, scanner=SMALL, first=2)
    whole, alone = digests(tmp_path / "run"), digests(tmp_path / "alone")
    assert set(alone) == {"case_00002/imaging.nii.gz", "case_00002/segmentation.nii.gz"}
    assert all(whole[name] == voxels for name, voxels in alone.items())


def test_two_cases_of_one_kind_are_two_patients(tmp_path):
    written = write_study(tmp_path, cases=3, seed=2, scanner=SMALL)
    assert written["case_00000"]["kind"] == written["case_00002"]["kind"]
    assert len(set(digests(tmp_path).values())) == 6


def test_the_segmentation_is_written_after_the_other_files_of_its_case(tmp_path, monkeypatch):
    def killed(path, volume):
        if path.name.startswith("segmentation"):
            raise KeyboardInterrupt
        write_volume(path, volume)

    write_volume = study.write_volume
    monkeypatch.setattr(study, "write_volume", killed)
    with pytest.raises(KeyboardInterrupt):
        write_study(tmp_path, cases=1, seed=2, scanner=SMALL)
    assert "case_00000" in json.loads((tmp_path / "study.json").read_text())


def test_hard_patients_of_each_kind_have_different_phases(tmp_path, monkeypatch):
    drawn, nothing = set(), Volume.from_spacing(np.zeros((1, 2, 3), np.int16), (5.0, 1.0, 1.0))

    def draw(seed, kind, scanner, phase):
        drawn.add((kind, phase.name))
        return nothing, nothing

    monkeypatch.setattr(study, "draw_abdomen", draw)
    write_study(tmp_path, cases=48, seed=0, scanner=SMALL, hard=True)
    assert len(drawn) == 4 * len({kind for kind, _ in drawn})


def test_cases_added_later_keep_the_summary_of_earlier_ones(tmp_path):
    write_study(tmp_path, cases=1, seed=0, scanner=SMALL)
    write_study(tmp_path, cases=1, seed=0, scanner=SMALL, first=1)
    assert list(json.loads((tmp_path / "study.json").read_text())) == ["case_00000", "case_00001"]


def test_the_same_command_draws_only_what_is_not_there_yet(tmp_path, monkeypatch):
    drawn, draw = [], study.draw_abdomen
    monkeypatch.setattr(study, "draw_abdomen", lambda seed, *rest: drawn.append(seed[1]) or draw(seed, *rest))
    first = write_study(tmp_path, cases=3, seed=0, scanner=SMALL)
    (tmp_path / "case_00001" / "segmentation.nii.gz").unlink()  # as if the run was killed there
    assert write_study(tmp_path, cases=3, seed=0, scanner=SMALL) == first
    assert drawn == [0, 1, 2, 1]


@pytest.mark.parametrize("change", [{"seed": 1}, {"scanner": Scanner(64, (8.0, 9.0))}, {"hard": True}])
def test_other_settings_draw_a_case_again(tmp_path, change):
    asked = {"cases": 1, "seed": 0, "scanner": SMALL}
    write_study(tmp_path, **asked)
    before = digests(tmp_path)
    write_study(tmp_path, **asked | change)
    write_study(tmp_path / "fresh", **asked | change)
    assert before != digests(tmp_path)
    assert digests(tmp_path) == digests(tmp_path / "fresh")


@pytest.fixture
def anatomy(tmp_path):
    """A folder in KiTS19's layout with one label file at an unusual world position."""
    _, drawn = draw_abdomen((0, 4), "two_tumors", Scanner(96, (6.0, 6.0)))
    affine = drawn.affine.copy()
    affine[:3, 3] = 12.5, -40.0, 300.0
    drawn.voxels[4:6, 20:22, 20:22] = 1  # a fragment far from both kidneys
    folder = tmp_path / "kits"
    write_volume(folder / "case_00017" / "segmentation.nii.gz", Volume.from_affine(drawn.voxels, affine))
    return folder


def test_anatomy_keeps_labels_and_geometry_to_the_voxel(anatomy, tmp_path):
    written = write_study(tmp_path / "out", cases=1, seed=0, scanner=SMALL, anatomy=anatomy)
    assert written["case_00000"]["anatomy"] == "case_00017"
    source = read_labels(anatomy / "case_00017" / "segmentation.nii.gz")
    kept = read_labels(tmp_path / "out" / "case_00000" / "segmentation.nii.gz")
    ct = read_volume(tmp_path / "out" / "case_00000" / "imaging.nii.gz")
    assert np.array_equal(kept.voxels, source.voxels)
    np.testing.assert_allclose(kept.affine, source.affine)
    np.testing.assert_allclose(ct.affine, source.affine)
    assert ct.voxels.shape == source.voxels.shape
    # Kidney voxels look like kidney even where another organ would be; tumor is darker; air surrounds the patient.
    kidney, tumor = (ct.voxels[source.voxels == class_id] for class_id in (1, 2))
    assert np.percentile(kidney, 10) > 90
    assert ct.voxels[4:6, 20:22, 20:22].mean() > 90
    assert tumor.mean() + 20 < kidney.mean()
    assert np.median(ct.voxels[:, :3]) < -900


def test_anatomy_without_any_kidney_names_the_value():
    empty = Volume.from_spacing(np.zeros((4, 5, 6), np.uint8), (5.0, 2.0, 2.0))
    with pytest.raises(ValueError, match="kidney"):
        draw_around(empty, 0, HARD_PHASES[0])


@pytest.mark.parametrize(("flags", "said"), [
    (["--anatomy=nowhere"], "nowhere"), (["--anatomy=."], "segmentation"), (["--cases=0"], "--cases"),
    (["--size=4"], "--size=4"), (["--slice_mm=5,1"], "5,1"), (["--slice_mm=1,2,3"], "1,2,3"),
    (["--slice_mm=1e-9"], "from 0.1 to 20"), (["--slice_mm=thin"], "thin"), (["more"], "more"),
    (["--body", "--field_mm=10"], "--field_mm=10"), (["--body", "--hard"], "--body")])
def test_a_users_mistake_is_one_line_and_status_1(tmp_path, flags, said, monkeypatch):
    flags = [flag.replace("=.", f"={tmp_path}") for flag in flags]
    done = run(f"--output={tmp_path / 'out'}", *flags)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert said in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_file_at_the_path_of_the_output_is_reported(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match="taken"):
        write_study(tmp_path / "taken", cases=1, seed=0, scanner=SMALL)


@pytest.fixture
def real(tmp_path):
    """A study of the user's: one whole case, one without labels, one stored without compression; and their content."""
    for name in ("case_00000/imaging.nii.gz", "case_00000/segmentation.nii.gz", "case_00001/imaging.nii.gz",
                 "case_00002/imaging.nii"):
        (tmp_path / "real" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "real" / name).write_text(f"the patient of {name}")
    return tmp_path / "real"


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.is_file() and path.read_bytes() for path in folder.rglob("*")}


@pytest.mark.parametrize("first", [0, 1, 2])
@pytest.mark.parametrize("link", ["", "study", "case"])
def test_patients_are_never_written_over_nor_mixed_with_phantoms(first, link, real, tmp_path):
    output, before = real, tree(real)
    if link == "study":
        output = tmp_path / "link"
        output.symlink_to(real)
    elif link:
        output = tmp_path / "out"
        output.mkdir()
        for case in real.iterdir():
            (output / case.name).symlink_to(case)
    with pytest.raises(InputError, match=rf"case_0000{first}/\S+: was not written by this program"):
        write_study(output, cases=3 - first, seed=0, scanner=SMALL, first=first)
    assert tree(real) == before
    assert not (output / "study.json").exists()


def test_phantoms_replace_phantoms_and_with_overwrite_patients(real):
    write_study(real, cases=1, seed=0, scanner=SMALL, first=7)
    before = tree(real)
    write_study(real, cases=1, seed=1, scanner=SMALL, first=7)
    changed = {name for name, data in tree(real).items() if before[name] != data}
    assert {"case_00007/imaging.nii.gz", "case_00007/segmentation.nii.gz", "study.json"} <= changed
    assert all("case_00007" in name or name in ("study.json", own.LIST) for name in changed)
    write_study(real, cases=1, seed=0, scanner=SMALL, overwrite=True)
    assert read_volume(real / "case_00000" / "imaging.nii.gz").voxels.shape


@pytest.mark.parametrize("where", ["itself", "link", "linked case"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_phantoms_never_replace_their_anatomy(where, overwrite, anatomy, tmp_path):
    output, before, first = anatomy, tree(anatomy), 0
    if where == "link":
        output = tmp_path / "link"
        output.symlink_to(anatomy)
    elif where == "linked case":
        output, first = tmp_path / "out", 17
        output.mkdir()
        (output / "case_00017").symlink_to(anatomy / "case_00017")
    with pytest.raises(InputError, match="is the folder of --anatomy"):
        write_study(output, cases=1, seed=0, scanner=SMALL, first=first, anatomy=anatomy, overwrite=overwrite)
    assert tree(anatomy) == before


def test_an_empty_label_file_is_named(tmp_path):
    path = tmp_path / "case_00000" / "segmentation.nii.gz"
    write_volume(path, Volume.from_spacing(np.zeros((4, 5, 6), np.uint8), (5.0, 2.0, 2.0)))
    with pytest.raises(InputError, match="case_00000"):
        write_study(tmp_path / "out", cases=1, seed=0, scanner=SMALL, anatomy=tmp_path)
