"""Everything runs where nothing but the directory for temporary files can be written to."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stream.cli.caching import VARIABLE, find_cache

ROOT = Path(__file__).parents[2]
DROP_FROM_BOUNDING_SET, MAY_WRITE_EVERYWHERE = 24, 1  # prctl, CAP_DAC_OVERRIDE
RUN = """
import os, sys
sys.argv = ["alluvium", "--help"]
from stream.cli.main import main
try:
    main()
except SystemExit:
    pass
import indexing.kernels, models.encoding, stream.worker.process, stream.trainer.life
print("compiled in", indexing.kernels.__file__, os.environ.get("NUMBA_CACHE_DIR"))
"""


def as_others_would() -> None:
    """Root writes where it may not, unless it gives that up."""
    if os.getuid() == 0:
        ctypes.CDLL(None).prctl(DROP_FROM_BOUNDING_SET, MAY_WRITE_EVERYWHERE, 0, 0, 0)


@pytest.fixture
def read_only(tmp_path: Path) -> Path:
    """A copy of ours in a place that cannot be written to, which is the home and the working directory as well."""
    place = tmp_path / "installed"
    for part in ("stream", "indexing", "models"):
        shutil.copytree(ROOT / part, place / part, ignore=shutil.ignore_patterns("__pycache__"))
    for directory in (place, *(path for path in place.rglob("*") if path.is_dir())):
        directory.chmod(0o555)
    return place


def test_worker_and_trainer_load_where_nothing_can_be_written(read_only: Path, tmp_path: Path) -> None:
    """Compiled functions are kept in a directory of this user alone under the one for temporary files."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = {"HOME": str(read_only), "PATH": os.environ["PATH"], "TMPDIR": str(temporary)}
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        env={**environment, "PYTHONPATH": str(read_only)},
        cwd=read_only,
        preexec_fn=as_others_would,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"compiled in {read_only}/indexing/kernels.py {temporary}/alluvium-compiled-{os.getuid()}" in done.stdout
    read_only.chmod(0o755)


def test_a_directory_that_others_have_made_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies there is code that would be run."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("os.access", lambda *_: False)
    open_to_all = tmp_path / f"alluvium-compiled-{os.getuid()}"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    found: dict[str, str] = {}
    find_cache(found, tmp_path, tmp_path)
    assert Path(found[VARIABLE]).parent == tmp_path
    assert found[VARIABLE] != str(open_to_all)
    assert Path(found[VARIABLE]).stat().st_mode & 0o077 == 0
    told = {VARIABLE: "/elsewhere"}
    find_cache(told, tmp_path, tmp_path)
    assert told == {VARIABLE: "/elsewhere"}
