"""Who is compared: how each contender is started, where it lives, and how much of the log it is given."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from stream.bench.environments import environment

CONTENDERS = Path(__file__).parent / "contenders"
ROOT = Path(__file__).parents[2]
# A contender sees our packages behind its own: the job, and for lists the recommender with its libraries.
LAUNCH = "import runpy, sys; sys.path += {path!r}; runpy.run_module({module!r}, run_name='__main__')"


@dataclass(frozen=True)
class Contender:
    """`own` libraries are installed for it alone; `note` is for the table.

    So much of the log is enough to measure it: `share` where the list is constant, `share_of_lists` where it is made.
    """

    name: str
    title: str
    module: str = ""
    share: float = 1.0
    share_of_lists: float = 0.5
    own: bool = True
    note: str = ""

    def prepare(self, cache: Path) -> str:
        """The Python that runs it, its environment made if need be. Raises EnvironmentFailedError."""
        if not self.own:
            return sys.executable
        return str(environment(CONTENDERS / f"{self.module}.txt", cache))

    def command(self, python: str, task: Path) -> list[str]:
        """What starts it on a task."""
        behind = [str(ROOT), *(entry for entry in sys.path if entry.endswith("site-packages"))]
        code = LAUNCH.format(path=behind, module=f"{__package__}.contenders.{self.module}")
        return [python, "-c", code, str(task)]


ALLUVIUM = Contender("alluvium", "Alluvium", own=False)
FIELD = {
    contender.name: contender
    for contender in (
        Contender("aiokafka", "plain aiokafka, states in a dict", "plain_aiokafka", own=False, note="recovers nothing"),
        ALLUVIUM,
        Contender("bytewax", "Bytewax", "bytewax_flow", note="recovers from SQLite, no changelog"),
        Contender("quix", "Quix Streams", "quix", share=0.5, share_of_lists=0.15),
        Contender("faust", "Faust as in its manual", "idiomatic_faust", share=0.1, share_of_lists=0.05),
    )
}
