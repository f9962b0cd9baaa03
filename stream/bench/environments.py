"""Virtual environments of the contenders: made once, kept in a cache, none of our dependencies."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

DEFAULT_CACHE = Path("~/.cache/alluvium/bench")
WHOLE = "whole"  # a file in an environment whose installation went through


class EnvironmentFailedError(RuntimeError):
    """A contender's libraries cannot be installed. Operator action: see what pip says; the others run without it."""


def environment(requirements: Path, cache: Path = DEFAULT_CACHE) -> Path:
    """The Python of an environment with these requirements. Raises EnvironmentFailedError with what pip said."""
    wanted = requirements.read_bytes() + sys.version.encode()
    home = cache.expanduser().resolve()
    place = home / f"{requirements.stem}-{hashlib.sha256(wanted).hexdigest()[:12]}"
    python = place / "bin" / "python"
    home.mkdir(parents=True, exist_ok=True)
    with (home / f"{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two benches may begin together
        if not (place / WHOLE).exists():
            shutil.rmtree(place, ignore_errors=True)
            _run([sys.executable, "-m", "venv", str(place)])
            _run([str(python), "-m", "pip", "install", "--quiet", "--requirement", str(requirements)])
            (place / WHOLE).touch()
    return python


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EnvironmentFailedError(f"{' '.join(command[:4])} …: {(done.stdout + done.stderr).strip()[-600:]}")
