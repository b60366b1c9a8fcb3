import json

import pytest

from isp_env.batch.sidecars import SidecarError, check_parameters, find_sidecar, read_parameters
from isp_env.files import fitting
from isp_env.isp.default import DEFAULT_PIPELINE

KNOWN = DEFAULT_PIPELINE.parameters


def write(path, parameters, **more):
    path.write_text(json.dumps({"format": 1, "parameters": parameters} | more))
    return path


def test_numbers_and_numbers_with_units(tmp_path):
    path = write(
        tmp_path / "a.json", {"exposure": 0.5, "tint": {"value": -3, "unit": "Duv x 1000"}}
    )
    assert read_parameters(path, KNOWN) == {"exposure": 0.5, "tint": -3.0}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"blur": 1}, r"a\.json: unknown parameter 'blur'; known: .*exposure"),
        ({"exposure": 9}, r"a\.json: exposure must be a number from -2 to 2 EV, got 9"),
        ({"exposure": "much"}, "must be a number .* got 'much'"),
        ({"exposure": True}, "must be a number"),
        ({"exposure": None}, "must be a number"),
    ],
)
def test_wrong_values_are_named(tmp_path, parameters, message):
    with pytest.raises(SidecarError, match=message):
        read_parameters(write(tmp_path / "a.json", parameters), KNOWN)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 1}', '{"parameters": 3}'])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(SidecarError, match=r"a\.json"):
        read_parameters(tmp_path / "a.json", KNOWN)
    with pytest.raises(SidecarError, match="format 7, this version reads 1"):
        read_parameters(write(tmp_path / "b.json", {}, format=7), KNOWN)
    with pytest.raises(SidecarError, match="not readable"):
        read_parameters(tmp_path / "nowhere.json", KNOWN)


def test_nan_is_no_number():
    with pytest.raises(SidecarError, match="exposure must be a number"):
        check_parameters({"exposure": float("nan")}, KNOWN, "here")


def test_sidecars_lie_beside_or_in_their_folder(tmp_path):
    (tmp_path / "shots").mkdir()
    (tmp_path / "notes").mkdir()
    raw = tmp_path / "shots" / "a.dng"
    assert find_sidecar(raw, None) is None
    beside = write(tmp_path / "shots" / "a.dng.json", {})
    assert find_sidecar(raw, None) == beside
    assert find_sidecar(raw, tmp_path / "notes") is None


FOREIGN = (
    '{"title": "a.dng", "geoData": {"latitude": 0.0}}',  # Google Takeout
    '[{"SourceFile": "a.dng", "EXIF:ISO": 100}]',  # exiftool -json
    "[1, 2]",
    "3",
    "",
    "no JSON at all",
    '{"format": "DNG", "width": 480}',
    '{"format": 1, "title": "t"}',
    '{"format": true, "parameters": {}}',
    '{"format": "raw", "parameters": {}}',
    '{"format": 1, "parameters": null}',
    '{"parameters": null}',
    '{"title": "x", "parameters": {"aperture": "f/2"}}',
    '{"description": "see \\"format\\"", "x": "format"',
    "[" * 100_000,
    '{"rating": 5, "',
)


@pytest.mark.parametrize("content", FOREIGN)
def test_json_of_other_programs_is_ignored_with_a_warning(tmp_path, content, caplog):
    (tmp_path / "a.dng.json").write_text(content)
    assert find_sidecar(tmp_path / "a.dng", None) is None
    assert "a.dng.json: ignored" in caplog.text


OURS = (
    '{"format": 1, "parameters": {"blur": 1}}',
    '{"format": 1, "parameters": {"exposure": 1}',
    '{"format": 7, "parameters": {}}',
    '{"format": 1, "parameters": {"exposure": 1e999}}',
    '{"format": 1, "parameters": {"exposure": 1' + "0" * 400 + "}}",
    '{"format": 1, "parameters": ' + "[" * 100_000,
)


@pytest.mark.parametrize("content", OURS, ids=range(len(OURS)))
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_ours_that_is_wrong_is_an_error(tmp_path, content, encoding):
    (tmp_path / "a.dng.json").write_text(content, encoding)
    found = find_sidecar(tmp_path / "a.dng", None)
    assert found is not None
    with pytest.raises(SidecarError, match=r"a\.dng\.json"):
        read_parameters(found, KNOWN)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_sidecar_may_be_in_any_unicode_encoding(tmp_path, encoding):
    (tmp_path / "a.json").write_text('{"format": 1, "parameters": {"exposure": 1}}', encoding)
    assert read_parameters(tmp_path / "a.json", KNOWN) == {"exposure": 1.0}


def test_the_sidecar_of_a_long_name_is_found(tmp_path):
    raw = tmp_path / ("x" * 251 + ".dng")
    assert find_sidecar(raw, None) is None
    beside = write(tmp_path / fitting(raw.name, ".json"), {})
    assert find_sidecar(raw, None) == beside
