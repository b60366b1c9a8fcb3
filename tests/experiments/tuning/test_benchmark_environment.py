import json

import pytest

from experiments.tuning.benchmark_environment import Settings, main


@pytest.mark.slow
def test_all_is_measured_and_written(tmp_path):
    out = tmp_path / "figures.json"
    small = Settings(
        out=out,
        environments=2,
        side=64,
        scenes=4,
        compiled=False,
        steps=1,
        rounds=1,
        sweep_chunks=(2,),
        sweep_sides=(64,),
    )
    main(small)
    told = json.loads(out.read_text())
    medians = told["step"]["medians"]
    assert 0 < medians["share_beside_judge"] < 1
    assert all(value > 0 for value in medians.values())
    assert told["sweep"][0]["pictures_per_second"] > 0
