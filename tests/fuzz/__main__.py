"""Coverage-guided fuzzing of every decoder with atheris: `python -m tests.fuzz --seconds 60 [target …]`.

Each target runs in a process of its own, starts from the committed corpus and keeps what it finds under `.cache/fuzz`.
What breaks a target is left there as `crash-…`: mend it, then commit the file to the corpus.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
FOUND = Path(".cache/fuzz")
NAMES = ("event", "item", "request", "manifest", "state_row", "settings", "letter")
LONGEST = 4096  # bytes of an input; what larger ones do is a matter of limits, which other tests try


def main() -> int:
    """Fuzzes each target for its share of the time; 1 if any broke."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", default=NAMES)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        _fuzz(arguments.targets[0], arguments.seconds)
    command = [sys.executable, "-m", "tests.fuzz", "--inside", "--seconds", str(arguments.seconds)]
    broken = [name for name in arguments.targets if subprocess.run([*command, name], check=False).returncode]
    print(f"broken: {', '.join(broken)}" if broken else "nothing broke")  # noqa: T201
    return bool(broken)


def _fuzz(name: str, seconds: int) -> None:
    import atheris

    with atheris.instrument_imports(include=["stream", "tomllib", "json"]):
        from tests.fuzz.targets import TARGETS
    found = FOUND / name
    found.mkdir(parents=True, exist_ok=True)
    words = CORPUS.parent / "words.txt"
    options = [
        f"-max_total_time={seconds}", f"-max_len={LONGEST}", f"-artifact_prefix={found}-", "-timeout=20",
        f"-dict={words}", "-print_final_stats=1",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(found), str(CORPUS / name)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
