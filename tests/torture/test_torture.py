"""The short form of the torture, the load that it sends, and that its audit can fail."""

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.support.make import raw
from tests.support.story import told
from tests.torture.__main__ import LEGS, figures, runs
from tests.torture.audit import audit_ids, audit_messages
from tests.torture.load import message
from tests.torture.reckoning import undisturbed

RATE = 1000.0


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize("name", runs(short=True))
def test_nothing_is_lost_doubled_or_wrong(name: str, tmp_path: Path) -> None:
    result = runs(short=True)[name](1, tmp_path, RATE)
    assert result.audit.is_clean, f"seed 1: {result.audit}"
    assert result.revisions > 5 or name == "pressure"
    assert {each.name.rpartition(".")[2]: each.value for each in figures(result)}["lost"] == 0


def test_the_whole_kills_as_often_as_promised() -> None:
    kills: Counter[str] = Counter()
    for leg in LEGS:
        kills[leg.name.removesuffix("_apart")] += leg.kills
    assert kills == {"vessel": 50, "archive": 50, "nats": 20, "everything": 10}
    apart = sum(leg.kills for leg in LEGS if leg.apart)
    in_vessel = sum(leg.kills for leg in LEGS if leg.name != "archive")
    assert 3 * apart >= in_vessel


def test_the_load_is_the_same_at_each_call_and_gives_incidents(tmp_path: Path) -> None:
    sent = [message(7, number) for number in range(9000)]
    assert sent[5000] == message(7, 5000)
    assert len({each.tracking_id for each in sent}) == len(sent)
    capture = tmp_path / "load.ndjson"
    with capture.open("w") as out:
        for number, each in enumerate(sent, start=1):
            stored = raw(number, each.subject, each.body, number / 1000)
            line = {"seq": number, "subject": stored.subject, "ts": stored.observed_at.isoformat(), "headers": {}}
            out.write(json.dumps({**line, "data": json.dumps(each.body)}) + "\n")
    found = [told(each.data) for each in undisturbed(capture).values() if each.stream == "INCIDENTS"]
    types = {each["incident_type"] for each in found}
    assert {"auth_attack", "resource_pressure", "network_issue"} <= types
    assert {"created", "resolved"} <= {each["event"] for each in found}


def test_the_audit_sees_what_is_wrong() -> None:
    assert not audit_ids("row", ["a"], []).is_clean
    assert not audit_ids("row", ["a"], ["a", "a"]).is_clean
    assert not audit_ids("row", [], []).is_clean, "nothing was compared"
    assert not audit_messages({"a": b"1"}, [("a", b"2")]).is_clean
    assert not audit_messages({"a": b"1"}, [("a", b"1"), ("b", b"1")]).is_clean
    assert audit_messages({"a": b"1"}, [("a", b"1")]).is_clean
