"""Requests answered as a worker does, without one."""

from __future__ import annotations

from collections.abc import Iterable

from stream.knowledge.serving import Serving
from stream.worker.answers import Answers
from stream.worker.batch import Chunk, RowOf
from stream.worker.requests import Replied, Requests


def reply_to(requests: Requests, chunks: Iterable[Chunk], serving: Serving, answers: Answers, row_of: RowOf) -> Replied:
    """What comes of the requests in these chunks, whose lists are made together."""
    asking = requests.ask(chunks, serving, answers, row_of)
    return requests.reply(asking, serving.recommend(asking.queries()), answers)
