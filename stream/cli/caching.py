"""Where compiled functions are kept when neither the installation nor the home directory can be written to."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

VARIABLE = "NUMBA_CACHE_DIR"


def find_cache(environment: dict[str, str] | os._Environ[str], package: Path, home: Path) -> None:
    """Names a directory to Numba, which would refuse to start without one, unless it finds one or has been told.

    What Numba keeps there is code: nobody else may have written it, so it is a directory of this user alone.
    """
    if VARIABLE in environment or os.access(package, os.W_OK) or os.access(home, os.W_OK):
        return
    own = Path(tempfile.gettempdir(), f"alluvium-compiled-{os.getuid()}")
    own.mkdir(mode=0o700, exist_ok=True)
    found = own.lstat()
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    environment[VARIABLE] = str(own) if is_ours else tempfile.mkdtemp(prefix="alluvium-compiled-")
