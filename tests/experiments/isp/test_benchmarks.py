"""The benchmarks of whole commands, on next to nothing."""

import json

import pytest

from experiments.isp import benchmark_commands, benchmark_growth


@pytest.mark.slow
def test_commands_are_timed_and_compared(tmp_path, monkeypatch):
    every = benchmark_commands.commands
    few = ("one file: render.py", "one file: rawpy AHD", "import torch", "attiqa score ONE.jpg")
    monkeypatch.setattr(
        benchmark_commands, "commands", lambda *given: {name: every(*given)[name] for name in few}
    )
    settings = benchmark_commands.Settings(
        megapixels=1.0, files=2, rounds=1, darktable=False, out=tmp_path
    )
    benchmark_commands.main(settings)
    found = json.loads((tmp_path / "commands.json").read_text())
    assert all(len(each) == 1 and each[0] > 0 for each in found["seconds"].values())
    assert "import torch over attiqa score ONE.jpg" in found["ratios"]
    one = found["ratios"]["one file: rawpy AHD over one file: render.py"]
    seconds = found["median seconds"]
    expected = seconds["one file: rawpy AHD"] / seconds["one file: render.py"]
    assert one["median"] == pytest.approx(expected)


def test_a_command_that_fails_is_no_measurement(tmp_path):
    with pytest.raises(RuntimeError, match="MISSING"):
        benchmark_commands.seconds_of(["sh", "-c", "echo MISSING; false"], tmp_path / "out")


@pytest.mark.slow
def test_growth_is_measured_and_drawn(tmp_path):
    settings = benchmark_growth.Settings(
        files=(1, 3), megapixels=(0.5,), workers=(1,), out=tmp_path
    )
    benchmark_growth.main(settings)
    found = json.loads((tmp_path / "growth.json").read_text())
    assert [row["files"] for row in found["files"]] == [1, 3]
    for row in found["files"]:
        assert 0 < row["first picture, s"] <= row["seconds"]
    assert found["pixels"][0]["worker, MB"] > 50
    assert (tmp_path / "growth.png").stat().st_size > 10_000
