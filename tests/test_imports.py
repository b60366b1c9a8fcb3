"""Imports flow one way: experiments -> agents -> isp_env, experiments -> attiqa."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "attiqa": {"isp_env", "agents", "experiments"},
    "isp_env": {"attiqa", "agents", "experiments"},
    "agents": {"attiqa", "experiments"},
}


def imported_packages(source: str) -> set[str]:
    packages = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            packages |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            packages.add(node.module.split(".")[0])
    return packages


@pytest.mark.parametrize("package", FORBIDDEN)
def test_packages_do_not_import_against_the_flow(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for file in files:
        assert not imported_packages(file.read_text()) & FORBIDDEN[package], file


def test_the_check_sees_imports():
    source = (
        "def f():\n    from attiqa.model.quality_model import load_model\nimport isp_env.raw as raw"
    )
    assert imported_packages(source) == {"attiqa", "isp_env"}
