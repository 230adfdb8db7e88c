"""Tests deliberate_faults.py, which checks that the suite catches small faults in the source, one at a time."""

import collections
import re

import deliberate_faults
import pytest
from deliberate_faults import FAULTS, ROOT


def test_every_fault_fits_the_source_and_names_tests_that_are_there():
    """Fails when code or a test moves without an update of the table."""
    wrong = []
    for fault in FAULTS:
        path = ROOT / fault.file
        found = path.read_text(encoding="utf-8").count(fault.old) if path.is_file() else 0
        if found != 1 or fault.new == fault.old:
            wrong.append(f"{fault.file}: {fault.old!r} occurs {found} times, expected once")
        for test in fault.tests:
            path, _, function = test.partition("::")
            text = f"def {function.split('[')[0]}(" if function else ""
            if not (ROOT / path).is_file() or text not in (ROOT / path).read_text(encoding="utf-8"):
                wrong.append(f"{fault.broken}: no test {test}")
    assert not wrong, "\n".join(wrong)
    assert max(collections.Counter(fault.broken for fault in FAULTS).values()) == 1


@pytest.fixture
def checkout(tmp_path):
    """A checkout of one function and its tests, one of which misses faults."""
    (tmp_path / "sums.py").write_text("def double(number):\n    return 2 * number\n")
    (tmp_path / "test_sums.py").write_text(
        "from sums import double\n\n\ndef test_two():\n    assert double(2) == 4\n\n\n"
        "def test_three():\n    assert double(3) == 6\n\n\ndef test_wrong():\n    assert double(3) == 5\n")
    return tmp_path


@pytest.mark.parametrize(("new", "test", "status", "shown"), [
    ("2 + number", "test_three", 0, "1 of 1 faults caught"), ("2 + number", "test_two", 1, "NOT CAUGHT"),
    ("2 + number", "test_wrong", 2, "do not pass without a fault"), ("2 + number", "test_four", 2, "do not pass"),
    ("2 + +", "test_three", 1, "DID NOT RUN")])
def test_a_fault_is_caught_where_its_tests_fail_that_passed(checkout, monkeypatch, capsys, new, test, status, shown):
    before = (checkout / "sums.py").read_text()
    fault = deliberate_faults.Fault("sums.py", "2 * number", new, (f"test_sums.py::{test}",), "double is another sum")
    monkeypatch.setattr(deliberate_faults, "FAULTS", (fault,))
    assert deliberate_faults.main([f"--root={checkout}"]) == status
    captured = capsys.readouterr()
    assert shown in captured.out + captured.err
    assert (checkout / "sums.py").read_text() == before


@pytest.mark.soak
def test_the_suite_catches_every_deliberate_fault(capsys, figure):
    status = deliberate_faults.main([])
    said = capsys.readouterr()
    print(said.out, said.err)  # shown if it fails
    figure(re.search(r"\d+ of \d+ faults caught in .* minutes|$", said.out)[0])
    assert status == 0
