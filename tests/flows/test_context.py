"""Enrichment and correlation read one rule the same way, each from its own knowledge of the device."""

import json
from pathlib import Path

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, TestingSource, run_main

from flows.correlate import correlation
from operators.clickhouse import Reader
from operators.clickhouse.rows import Arrival, device_row, incident_row
from operators.enrich import ContextSource
from operators.observability import FlowMetrics
from policy import load_policy
from schemas.event import Event, Outgoing
from schemas.incident import Scope, TimelineEntry
from schemas.settings import Settings
from tests.operators.enrich.conftest import Store, chdb_dsn, clickhouse_database, reader, store
from tests.support import published
from tests.support.make import anomaly, at, event, tick

__all__ = ["chdb_dsn", "clickhouse_database", "reader", "store"]

RULE = 'rules: [{match: {device_type: "vsat*"}, incident_type: comms_outage}]\n'


def test_a_rule_about_a_type_of_device_finds_the_last_incident_of_its_kind(
    reader: Reader, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "correlate.yaml").write_text(RULE)
    policy = load_policy(tmp_path)
    modem = published.device(device_id="modem-1", device_type="vsat_modem", removed=False)
    end = TimelineEntry(at=at(99), event="resolved", by="ada", reason="antenna turned")
    past = published.incident(
        50,
        "before",
        incident_type="comms_outage",
        scope=(Scope(device_id="modem-1", service="snmp"),),
        status="resolved",
        opened_at=at(39),
        updated_at=at(99),
        timeline=(end,),
    )
    store([device_row(modem, Arrival(at(1), 1)), incident_row(past, Arrival(at(99), 2), past.model_dump_json())])
    found = event(anomaly(1000, device_id="modem-1", incident_type=None, metric_name="odd_pct"))
    events = [Event((1, 0), at(900), modem), found, tick(1001)]
    out: list[Outgoing] = []
    flow = Dataflow("context")
    stream = op.input("in", flow, TestingSource(events))
    patient = policy.default.enrich.model_copy(update={"timeout_ms": 60_000.0})  # not about the limit
    context = ContextSource(reader, patient)
    decided = correlation(stream, policy=policy, settings=Settings(), metrics=FlowMetrics("test"), context=context)
    op.output("out", decided, TestingSink(out))
    run_main(flow)
    (enriched,) = [json.loads(each.data) for each in out if each.subject.startswith("anomaly.enriched")]
    assert enriched["context"]["device_type"] == "vsat_modem"
    assert enriched["context"]["last_incident_outcome"] == "resolved after 60 s by ada: antenna turned"
    (incident,) = [json.loads(each.data) for each in out if each.subject == "incidents.created"]
    assert incident["incident_type"] == "comms_outage"
