"""Helpers for tests: patients, networks, exports, records and processes, each built in one line.

| to get | use |
| --- | --- |
| labels of a patient, its scan | the fixtures `patient` and `small_patient`, `patients.ball`, `patients.HU[labels]` |
| a KiTS-shaped study on disk | `patients.write_study`, `prepared.write_case` |
| the traced cascade with networks that can be made wrong | the fixture `cascade` (threshold_nets.py) |
| the same for one call, with another config | `threshold_nets.eager` |
| an exported cascade | the fixtures `oracle_export`, `tiny_export` and, if networks do not matter, `quick_export` |
| the score that perfect networks can reach | oracles.py |
| records to train on, and settings to train in seconds | `ellipses.write`, `ellipses.tiny_config` |
| a command as a user runs it | `commands.run("train.py", "--stage=fine", cwd=tmp_path)` |
| a process to watch or to kill | `commands.started`, processes.py (training), dask_processes.py, killed.py |
| the losses of a training's steps | `events.step_losses` |
| a disk that is soon full | disks.py |
| a figure shown at the end of the run | the fixture `figure` |
| files that are damaged or odd | bad_scans.py, dicom_series.py, geometries.py |
| a browser | the fixtures `browser` and `launch` |
| the web server, scans to upload to it | web.py |
| something made once for all test processes | the fixture `once` |

For example, a test of one of the cascade's rules draws the case, makes a network wrong, and checks labels and report
(the switches are those of `threshold_nets.Nets`):

    def test_a_lesion_far_from_the_kidneys_is_dropped(cascade, patient):
        mark = patients.ball(patient.shape, (20, 20, 110), (3, 5, 5))
        scan = patients.HU[patient]
        scan[mark] = patients.MARK_HU
        labels, report = cascade(scan, tumor3d_marks=1)
        assert report["lesions_dropped"] == 1
        assert not labels[mark].any()
"""
