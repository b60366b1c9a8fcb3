"""`attiqa score --map`: a picture for each photograph, made once."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tyro
from PIL import Image

from attiqa.cli.score import Settings, main
from attiqa.errors import AttiqaError
from attiqa.model.cards import Scale
from attiqa.model.quality_map import QualityMap, WindowGrid
from attiqa.scoring import map_pictures
from attiqa.scoring.map_pictures import color_range, is_current, map_path, map_picture, write_maps
from attiqa.scoring.scorers import load_scorer


def test_a_picture_for_each_photograph_that_can_be_read(weights, folder, tmp_path, capsys):
    maps = tmp_path / "maps"
    names = ("0.png", "more/1.png", "broken.jpg", "dot.png")
    paths = tuple(folder / name for name in names)
    assert main(Settings(paths, None, str(weights), map=maps)) == 1
    found = sorted(path.relative_to(maps).as_posix() for path in maps.rglob("*.*"))
    assert found == ["0.png.map.png", "more/1.png.map.png"]
    assert "2 maps in" in capsys.readouterr().out
    with Image.open(maps / "0.png.map.png") as picture:
        assert min(picture.size) > 200
        assert np.ptp(np.asarray(picture.convert("RGB"))) > 100


def test_maps_are_made_again_for_changed_photographs_and_other_weights(
    weights, folder, tmp_path, monkeypatch
):
    scorer, maps = load_scorer(weights), tmp_path / "maps"
    paths = [folder / "0.png", folder / "2.png"]
    assert write_maps(scorer, paths, maps) == 2
    drawn = []

    def recorded(found, card, name, grid):
        drawn.append(name)
        return map_picture(found, card, name, grid)

    monkeypatch.setattr(map_pictures, "map_picture", recorded)
    assert write_maps(scorer, paths, maps) == 2
    assert drawn == []
    earlier = paths[1].stat().st_mtime - 5
    os.utime(maps / "2.png.map.png", (earlier, earlier))
    write_maps(scorer, paths, maps)
    assert drawn == ["2.png"]
    assert not is_current(maps / "0.png.map.png", paths[0], load_scorer().card)
    (maps / "0.png.map.png").write_bytes(b"half a pict")
    write_maps(scorer, paths, maps)
    assert drawn == ["2.png", "0.png"]


def test_names_of_several_folders_do_not_collide():
    shared = Path("/trip")
    names = {map_path(Path(f"/trip/{day}/a.jpg"), shared, Path("maps")) for day in (1, 2)}
    assert len(names) == 2


@pytest.mark.parametrize("name", ["$x_{", "ä" * 80 + ".png"])
def test_any_name_can_be_drawn(weights, name):
    card = load_scorer(weights).card
    random = np.random.default_rng(0)
    found = QualityMap(random.uniform(size=(20, 60)), random.uniform(size=(20, 60, 3)))
    picture = map_picture(found, card, name, WindowGrid(20, 12, 4))
    assert picture.startswith(b"\x89PNG")


def test_small_differences_look_small():
    scale = Scale(1.0, 5.0, "")
    low, high = color_range(np.array([[3.0, 3.1]]), scale)
    assert (low, high) == pytest.approx((2.85, 3.25))  # a tenth of the scale
    assert color_range(np.array([[2.0, 4.0]]), scale) == (2.0, 4.0)


def test_maps_among_the_photographs_are_refused(folder):
    arguments = [str(folder), "--map", str(folder / "maps")]
    with pytest.raises(AttiqaError, match="name a folder outside"):
        tyro.cli(Settings, args=arguments).check()
    tyro.cli(Settings, args=[str(folder), "--map", str(folder.parent / "maps")]).check()


def test_a_folder_that_cannot_be_written_is_named(weights, folder, tmp_path):
    (tmp_path / "maps").write_text("a file")
    with pytest.raises(AttiqaError, match=r"0\.png\.map\.png: cannot be written"):
        write_maps(load_scorer(weights), [folder / "0.png"], tmp_path / "maps")


def test_maps_need_no_pytorch(folder, tmp_path):
    code = """if True:
        import sys
        from pathlib import Path
        from attiqa.cli.score import Settings, main
        status = main(Settings((Path(sys.argv[1]),), map=Path(sys.argv[2])))
        print(status, sorted({"torch", "timm", "torchvision"} & set(sys.modules)))
    """
    run = [sys.executable, "-c", code, str(folder / "0.png"), str(tmp_path / "maps")]
    done = subprocess.run(run, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "0 []"
