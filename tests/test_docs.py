"""README and documentation: their programs run, their commands parse, what they name exists."""

import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import tyro

from experiments.upkeep.document import MARKED, PARTS, filled

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SEARCHED = (
    "",
    "experiments/",
    "tests/",
    "tests/isp_env/",
    "docs/",
    "isp_env/",
    "attiqa/data/datasets/",
)
"""Folders that paths in the documentation are relative to."""
LATER = {"runs", "outputs", "page", "DEVELOPED", "RENDERED"}
"""First parts of paths that commands make."""


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def programs(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if programs(p)], ids=page_id)
def test_programs_run(page, tmp_path):
    program = "\n".join(programs(page))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr


def commands(page: Path) -> list[list[str]]:
    """Commands of indented blocks, with continued lines joined and variables filled in."""
    found, variables = [], dict[str, str]()
    lines = re.sub(r"\\\n\s*", " ", page.read_text()).splitlines()
    for line in (line.strip() for line in lines if re.match(r" {4,}\S", line)):
        if assigned := re.fullmatch(r"([A-Z]+)=(\S+|\"[^\"]*\")", line):
            variables[assigned[1]] = assigned[2].strip('"')
            continue
        line = re.sub(r"\$([A-Z]+)", lambda name: variables[name[1]], line)
        if re.match(r"(python experiments/|attiqa )", line):
            found.append(shlex.split(line, comments=True))
    return found


COMMANDS = [
    pytest.param(command, id=f"{page_id(page)}-{' '.join(command)[:60]}")
    for page in PAGES
    for command in commands(page)
]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command, capsys):
    program, *arguments = command
    if program == "attiqa":
        module, arguments = f"attiqa.cli.{arguments[0].replace('-', '_')}", arguments[1:]
    else:
        script, *arguments = arguments
        module = script.removesuffix(".py").replace("/", ".")
    settings = importlib.import_module(module).Settings
    try:
        tyro.cli(settings, args=arguments)
    except SystemExit:
        pytest.fail(capsys.readouterr().err)


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_generated_parts_are_those_of_now(page):
    assert filled(page.read_text("utf-8")) == page.read_text("utf-8"), (
        "experiments/upkeep/document.py"
    )


def test_every_generated_part_has_its_place():
    places = [part for page in PAGES for _, part, _ in MARKED.findall(page.read_text("utf-8"))]
    assert sorted(places) == sorted(PARTS)


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_what_is_named_exists(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    for name in re.findall(r"`([a-z_]+(?:/[a-zA-Z0-9_.-]+)+/?|[a-z0-9_]+\.py)`", text):
        if name.split("/")[0] not in LATER:
            assert any((ROOT / folder / name).exists() for folder in SEARCHED), name
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            titles = re.findall(r"^#+ (.*)$", target.read_text(), re.M)
            slugs = {re.sub(r"[^a-z0-9 -]", "", t.lower()).replace(" ", "-") for t in titles}
            assert anchor in slugs, link
