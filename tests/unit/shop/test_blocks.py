"""Rows read as columns say what the same rows say one by one."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from stream.settings import EventSettings
from stream.shop import rows as rows_module
from stream.shop.datasets import layout_of
from stream.shop.interactions import Parse, map_columns
from stream.shop.log_file import Plan, Rejects, Status, read_log, singly
from stream.shop.rows import Block, RowFile
from stream.wire.decoding import Decoder

NOW = 1_795_435_200_000
ODD = ["", " ", "NA", "u 1", "17.0", "é", "x" * 600, '"quoted"', '"two\nlines"', "a,b"]


def text_of(seed: int, odd: float) -> str:
    rng = random.Random(seed)

    def field(name: str, usual: str) -> str:
        if rng.random() > odd:
            return usual
        return rng.choice([*ODD, "9999999999999", "-1"] if name == "time" else ODD)

    lines = ["user,item,time,session"]
    for number in range(60):
        usual = {"user": f"u{rng.randrange(9)}", "item": f"i{rng.randrange(9)}", "time": str(1_500_000_000 + number)}
        fields = [field(name, value) for name, value in (usual | {"session": f"s{rng.randrange(5)}"}).items()]
        lines.append(",".join(fields) if rng.random() > odd / 4 else "")
    return "\n".join(lines) + "\n"


def said(path: Path, parse: Parse, rejects_file: Path) -> tuple[object, ...]:
    """All events of a file and all rejected lines."""
    rejects = Rejects(rejects_file)
    plan = Plan(RowFile(path), parse, None, sort=False, speed=None)
    status = Status()
    events = [*singly(read_log(plan, Decoder(EventSettings()), rejects, status, NOW))]
    rejects.close()
    return events, rejects_file.read_text(), status.fraction


@pytest.mark.parametrize("odd", [0.0, 0.003, 0.1])
@pytest.mark.parametrize("lot", [1, 120, 5_000])
def test_blocks_say_what_rows_say(odd: float, lot: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same events with the same ids and the same rejected lines, however rows are put together."""
    mapping = {"user": "user", "item": "item", "time": "time", "session": "session"}
    for seed in range(10):
        path = tmp_path / f"log-{seed}.csv"
        path.write_text(text_of(seed, odd))
        monkeypatch.setattr(rows_module, "LOT_BYTES", 5_000)
        plain = said(path, Parse(map_columns(mapping, "click")._read), tmp_path / "rows.jsonl")
        monkeypatch.setattr(rows_module, "LOT_BYTES", lot)
        assert said(path, map_columns(mapping, "click"), tmp_path / "blocks.jsonl") == plain


def test_days_are_spread_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The day's clock goes on from block to block, and from blocks to rows."""
    lines = [f"{number // 40},{number % 7},{number % 5}" for number in range(100)]
    lines[50] = ",,"
    path = tmp_path / "ader.csv"
    path.write_text("period,session_id,item_id\n" + "\n".join(lines) + "\n")
    found = []
    for lot in (5_000, 50):
        monkeypatch.setattr(rows_module, "LOT_BYTES", lot)
        file = RowFile(path)
        found.append(said(path, layout_of("yoochoose", file).parse(file), tmp_path / "rejects.jsonl"))
    assert found[0] == found[1]
    events = found[0][0]
    assert isinstance(events, list)
    assert [event.timestamp - events[0].timestamp for event in events[:3]] == [0, 86_400_000 // 40, 86_400_000 // 20]


def test_a_regular_file_is_read_as_blocks(tmp_path: Path) -> None:
    """Line numbers are those of an editor, and columns stand under their names."""
    path = tmp_path / "log.csv"
    path.write_text("user,item,time\nu1,i1,1\nu2,i2,2\n")
    (block,) = RowFile(path).lots()
    assert isinstance(block, Block)
    columns = {name: texts.to_pylist() for name, texts in block.named().items()}
    assert (block.line, columns) == (2, {"user": ["u1", "u2"], "item": ["i1", "i2"], "time": ["1", "2"]})
