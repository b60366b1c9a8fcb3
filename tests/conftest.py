"""Shape annotations are checked while the tests run, and only then."""

import os
from pathlib import Path

# workers share the processors: one thread for each, and for all that they start
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from jaxtyping import install_import_hook

ROOT = Path(__file__).parents[1]
# numba cannot compile what beartype has wrapped: isp_env.compiled is left out
ISP_ENV = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "isp_env").rglob("*.py")
    if path.parent.name != "compiled" and path.name != "__init__.py"
]
install_import_hook(["attiqa", "agents", *ISP_ENV], "beartype.beartype")

DATA = Path(os.environ.get("ATTIQA_TEST_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder with test data that is not part of the repository."""
    if not DATA.is_dir():
        pytest.skip(f"no test data at {DATA}; set ATTIQA_TEST_DATA to the folder that holds it")
    return DATA
