"""The job that contenders do is the worker's: the same events are bad, and messages have the contract's shape."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from stream.bench.contenders.job import HISTORY, LIST, BadEventError, Job, State, Task
from stream.bench.environments import EnvironmentFailedError, environment
from stream.bench.logs import BAD
from stream.settings import Settings
from stream.wire.decoding import Decoder, Rejection
from stream.wire.messages import Event, Recommendation

NOON = 1_795_435_200_000
TASK = Task(
    "127.0.0.1:1", "g", "events", "recommendations", "dead-letters", "changelog", 8, "/", [f"i{n}" for n in range(90)],
    "sha256:0", "none",
)  # fmt: skip
EVENT = {"user_id": "u", "item_id": "i", "event_type": "click", "timestamp": NOON}
CHANGES: list[dict[str, object]] = [
    {}, {"event_type": "addtocart"}, {"event_type": "sneeze"}, {"user_id": ""}, {"item_id": ""}, {"item_id": "i" * 600},
    {"item_id": 7}, {"timestamp": 5}, {"timestamp": NOON + 90_000_000}, {"timestamp": NOON - 1_000}, {"more": [1, 2]},
]  # fmt: skip


@pytest.mark.parametrize("value", [*BAD, *(msgspec.json.encode(EVENT | change) for change in CHANGES)])
def test_the_same_events_are_bad_for_the_same_reason(value: bytes) -> None:
    """Validation is part of the job: contenders do no less of it than the worker's decoder, on these."""
    ours = Decoder(Settings().events).event(value, NOON)
    try:
        theirs = Job(TASK).event(value, NOON)
    except BadEventError as problem:
        assert isinstance(ours, Rejection)
        assert problem.args[0] == ours.code
    else:
        assert isinstance(ours, Event)
        assert (theirs.user_id, theirs.item_id) == (ours.user_id, ours.item_id)


def test_a_contender_s_message_is_one_of_ours() -> None:
    """It decodes as a Recommendation of 20 items that has seen its event, and a state goes round."""
    job, state = Job(TASK), State()
    for offset in range(HISTORY + 3):
        event = job.event(msgspec.json.encode(EVENT | {"item_id": f"i{offset}"}), NOON)
        job.advance(state, event, offset, NOON)
    state = job.unpack(job.pack(state))
    assert state.items == [f"i{number}" for number in range(3, HISTORY + 3)]
    made = msgspec.json.decode(job.message(state, event, 5), type=Recommendation)
    assert [item.item_id for item in made.items] == TASK.items[:LIST]
    assert made.provenance.event is not None
    assert (made.provenance.event.partition, made.provenance.event.offset) == (5, HISTORY + 2)
    assert made.event_timestamp == "2026-11-23T12:00:00.000Z"


def test_an_environment_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    """What pip says is in the error, at the next try, too: half an environment is not taken for a whole one."""
    requirements = tmp_path / "nobody.txt"
    requirements.write_text("--no-index\nno-such-library-at-all==1\n")
    for _ in range(2):
        with pytest.raises(EnvironmentFailedError, match="no-such-library-at-all"):
            environment(requirements, tmp_path / "cache")
