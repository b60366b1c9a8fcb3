"""What the packages offer by name, and what importing them costs."""

import importlib
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

PUBLIC = {
    "attiqa": [
        "ATTRIBUTES",
        "AttiqaError",
        "Card",
        "IntervalPrediction",
        "QualityModel",
        "QualityPrediction",
        "load_model",
    ],
    "isp_env": [
        "DEFAULT_PIPELINE",
        "IspEnvError",
        "IspPipeline",
        "IspTuningEnv",
        "IspTuningVectorEnv",
        "LinearImage",
        "OutputSize",
        "Parameter",
        "PreviewSet",
        "PreviewStore",
        "QualityReward",
        "RawFileError",
        "RawImage",
        "RenderSettings",
        "RewardSettings",
        "SPACES",
        "Stage",
        "TaskSettings",
        "default_pipeline",
        "find_inputs",
        "preview",
        "read_raw",
        "render_many",
        "render_raw",
        "sample_files",
        "to_theta",
        "to_values",
        "write_dng",
        "write_photograph",
    ],
    "agents": [
        "Agent",
        "IspTuningVecEnv",
        "PPOSettings",
        "SACSettings",
        "TD3Settings",
        "load_agent",
        "load_prior",
        "play",
        "save_agent",
        "train",
    ],
}


@pytest.mark.parametrize("package", PUBLIC)
def test_public_names(package):
    module = importlib.import_module(package)
    assert sorted(module.__all__) == sorted(PUBLIC[package])
    for name in PUBLIC[package]:
        assert getattr(module, name) is not None
        assert name in dir(module)


@pytest.mark.parametrize("package", PUBLIC)
def test_importing_a_package_imports_nothing_heavy(package):
    program = f"import {package}, sys; print(*sorted(m.split('.')[0] for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert not done.stderr
    heavy = {"torch", "kornia", "timm", "numba", "scipy", "pandas", "matplotlib", "rawpy"}
    assert not heavy & set(done.stdout.split())


@pytest.mark.parametrize("program", ["attiqa", "attiqa-enhance", "attiqa-render"])
def test_installed_programs_tell_their_version(program):
    path = Path(sys.executable).with_name(program)
    done = subprocess.run([path, "--version"], capture_output=True, text=True)
    assert done.stdout == f"attiqa {version('attiqa')}\n", done.stderr


COMMANDS = (
    *("score", "label", "select-prompts", "pretrain", "finetune"),
    *("evaluate", "compare", "reproduce", "export"),
)
WRONG = {
    "score MISSING.jpg": "no such file",
    "score . --model MISSING": "no such model",
    "label MISSING --out out": "no such folder",
    "select-prompts MISSING --out out": "no such file",
    "pretrain MISSING": "no such folder",
    "pretrain . --labels MISSING": "no such folder",
    "finetune . --dataset konik": "did you mean",
    "finetune MISSING": "no such folder",
    "evaluate as-is MISSING": "no such folder",
    "evaluate pairs MISSING.csv": "no such table of pairs",
    "evaluate as-is . --model table:MISSING.csv": "no such table",
    "compare MISSING --models embedded": "no such folder",
    "compare . --models embedded table:MISSING.csv": "no such table",
    "export MISSING": "no such model",
}


@pytest.mark.parametrize("words", ["--help", *(f"{name} --help" for name in COMMANDS), *WRONG])
def test_help_and_wrong_names_are_answered_without_pytorch(words):
    program = (
        f"import sys; sys.argv[1:] = {words.split()}\n"
        "from attiqa.cli.main import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    print('torch' in sys.modules, len(sys.modules) < 900)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False True"
    said = " ".join((done.stdout + done.stderr).split())
    assert WRONG.get(words, "usage: ") in said
