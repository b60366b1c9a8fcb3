"""Our functions beside those of libraries: the same where they should be the same."""

import json

from experiments.isp import compare_libraries
from experiments.isp.compare_libraries import PAIRS, SHAPES, Settings, main
from experiments.upkeep.document import WHY_OURS


def test_equal_functions_are_equal_and_every_one_has_its_reason(tmp_path, monkeypatch):
    # torch.compile takes minutes
    monkeypatch.setattr(compare_libraries, "compare_compiler", lambda rounds: {})
    main(Settings(tmp_path / "libraries.json", rounds=1))
    found = json.loads((tmp_path / "libraries.json").read_text())
    assert set(found["kornia"]) == set(PAIRS) == set(WHY_OURS)
    differences = {name: row["largest difference"] for name, row in found["kornia"].items()}
    for name in ("srgb_encode", "srgb_decode", "luminance"):
        assert differences.pop(f"color.rgb.{name}") < 1e-6
    for name in ("gaussian_blur", "box_mean"):
        assert differences.pop(f"isp.guide.{name}") < 1e-6
    assert all(1e-3 < difference < 0.5 for difference in differences.values())
    for row in found["kornia"].values():
        assert set(row["time over Kornia's"]) == set(SHAPES)
    assert found["imagecodecs.ljpeg_decode"]["different samples"] == 0
    ours, theirs = found["kornia"]["isp.stages.color.scale_chroma"]["change of L*, hue"]
    assert ours[0] < 1 < theirs[0]
