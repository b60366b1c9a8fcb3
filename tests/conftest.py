"""Shape annotations are checked while the tests run, and only then."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

install_import_hook(["attiqa", "isp_env", "agents"], "beartype.beartype")

DATA = Path(os.environ.get("ATTIQA_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder with test data that is not part of the repository."""
    if not DATA.is_dir():
        pytest.skip(f"no test data at {DATA}; set ATTIQA_TEST_DATA to the folder that holds it")
    return DATA
