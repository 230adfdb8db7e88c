"""Tests the first line of long commands, and the warning about an NVIDIA device that TensorFlow cannot use."""

import pytest

from kits_tf import device, environment


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Returns a function that makes this machine one with an NVIDIA device (by its driver or nvidia-smi), or none."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(device, "OTHERS", ())
    monkeypatch.setattr(device.sys, "platform", "linux")

    def become(nvidia, usable=False):
        driver, tools = tmp_path / "version", tmp_path / "bin"
        tools.mkdir(exist_ok=True)
        if nvidia == "driver":
            driver.touch()
        if nvidia == "nvidia-smi":
            (tools / "nvidia-smi").touch(0o755)
        monkeypatch.setattr(device, "NVIDIA", (str(driver),))
        monkeypatch.setenv("PATH", str(tools))
        monkeypatch.setattr(device.lazy.load("tensorflow").config, "list_physical_devices",
                            lambda kind: ["a GPU"] if usable else [])

    return become


@pytest.mark.parametrize("nvidia", ["driver", "nvidia-smi"])
def test_an_nvidia_device_that_tensorflow_cannot_use_is_one_line_with_the_remedy(machine, nvidia, capsys):
    machine(nvidia)
    device.announce("float32", False, "training")
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("training on the CPU (") and first.endswith("in float32, without XLA")
    assert "NVIDIA DEVICE" in second and "make venv GPU=1" in second


@pytest.mark.parametrize(("nvidia", "usable", "hidden"), [
    (None, False, None), ("driver", True, None), ("driver", False, "-1"), ("driver", False, "")])
def test_nothing_is_printed_without_a_device_or_if_it_is_used_or_hidden(machine, nvidia, usable, hidden, capsys,
                                                                        monkeypatch):
    machine(nvidia, usable)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    device.announce("bfloat16", usable, "predicting")
    line, = capsys.readouterr().err.splitlines()
    assert ("on a GPU in bfloat16, compiled by XLA" in line) == usable


@pytest.mark.parametrize(("vendor", "flags", "fast"), [
    ("GenuineIntel", "avx512_bf16 amx_bf16 amx_tile", True), ("GenuineIntel", "avx512_bf16", False),
    ("AuthenticAMD", "avx2 avx512_bf16", True), ("AuthenticAMD", "avx2 avx512f", False)])
def test_bfloat16_is_fast_with_amx_and_on_amd_with_its_instructions(vendor, flags, fast, tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "CPUINFO", tmp_path / "cpuinfo")
    assert not device.computes_fast_in_bfloat16()  # no such file
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: fpu {flags}\n")
    assert device.computes_fast_in_bfloat16() == fast
