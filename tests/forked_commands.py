"""Commands of ours, each a process of its own, forked from one that has imported everything: many of them in seconds.

What they print goes into a file; nothing of one run is left for the next, since each ends with its process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

AT_ONCE = 8
PATIENCE = 200.0


@dataclass(frozen=True)
class Run:
    """One command line. `until`: it goes on for ever, and gets SIGTERM once it has said this."""

    arguments: Sequence[str]
    environment: Mapping[str, str]
    until: str = ""


@dataclass(frozen=True)
class Done:
    """What became of it: the exit status (negative: a signal), and all it said on either output."""

    arguments: Sequence[str]
    status: int
    said: str


def run_all(runs: Sequence[Run], directory: Path, at_once: int = AT_ONCE) -> list[Done]:
    """Runs them in `directory`, in the order given; 1 at once: each after the one before."""
    outputs = [directory / f"said-{number}.txt" for number in range(len(runs))]
    plan = [{**asdict(run), "output": str(output)} for run, output in zip(runs, outputs, strict=True)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.forked_commands"],
        input=json.dumps({"directory": str(directory), "plan": plan, "at_once": at_once}),
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    said = [output.read_text("utf-8", "replace") for output in outputs]
    for output in outputs:
        output.unlink()
    statuses = json.loads(done.stdout)
    return [Done(run.arguments, status, text) for run, status, text in zip(runs, statuses, said, strict=True)]


@dataclass
class _Running:
    number: int
    until: str
    output: Path
    since: float = field(default_factory=time.monotonic)


def _serve() -> None:
    given = json.load(sys.stdin)
    os.chdir(given["directory"])
    _import_everything()
    waiting = list(enumerate(given["plan"]))
    statuses = [0] * len(waiting)
    running: dict[int, _Running] = {}
    while waiting or running:
        while waiting and len(running) < given["at_once"]:
            number, planned = waiting.pop(0)
            output = Path(planned["output"])
            output.touch()
            pid = os.fork()
            if pid == 0:
                _become(planned["arguments"], planned["environment"], output)
            running[pid] = _Running(number, planned["until"], output)
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            statuses[running.pop(pid).number] = os.waitstatus_to_exitcode(status)
            continue
        for pid, run in running.items():
            if run.until and run.until in run.output.read_text("utf-8", "replace"):
                run.until = ""
                os.kill(pid, signal.SIGTERM)
            elif time.monotonic() - run.since > PATIENCE:
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    json.dump(statuses, sys.stdout)


def _import_everything() -> None:
    """What commands import when they begin, too; no threads are started by it."""
    import stream.evaluation.protocols
    import stream.knowledge.transfer
    import stream.shop.simulator
    import stream.trainer.life
    import stream.worker.process  # noqa: F401
    from stream.cli.main import load_commands

    load_commands()


def _become(arguments: Sequence[str], environment: Mapping[str, str], output: Path) -> None:
    from stream.cli.main import main

    os.environ.clear()
    os.environ.update(environment)
    target = os.open(output, os.O_WRONLY | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for stream in (1, 2):
        os.dup2(target, stream)
    sys.argv = ["alluvium", *arguments]
    status = 1
    try:
        main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve()
