"""From rows of the archive back to messages."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from api.context import Reader, Row
from api.queries import evidence as query
from schemas.telemetry import LogMessage, MetricSample

Json = dict[str, Any]


def logs(reader: Reader, ids: Sequence[str], each: int = 1) -> list[Json]:
    """The log lines with these tracking ids as messages, by arrival; of each id the first, and up to `each`."""
    return [
        LogMessage.model_validate({**row, "meta": json.loads(row["meta"])}).to_dict()
        for row in query.logs(reader, ids, each)
    ]


def samples(reader: Reader, ids: Sequence[str], each: int = 1) -> list[Json]:
    """The samples with these tracking ids as messages, by arrival; of each id the first, and up to `each`."""
    return [
        MetricSample.model_validate({**row, "labels": json.loads(row["labels"]), "unit": row["unit"] or None}).to_dict()
        for row in query.samples(reader, ids, each)
    ]


def by_arrival(raw: Iterable[Json]) -> list[Json]:
    """Lines and samples, the first that arrived first: it is the event, the others came later under its id."""
    return sorted(raw, key=lambda each: datetime.fromisoformat(each["observed_at"]))


def anomalies(rows: Iterable[Row]) -> dict[str, Json]:
    """Each anomaly once by id, as published: the enriched message, else the detected one."""
    bodies: dict[str, str] = {}
    for row in rows:
        if row["stage"] == "enriched" or row["anomaly_id"] not in bodies:
            bodies[row["anomaly_id"]] = row["body"]
    return {anomaly_id: json.loads(body) for anomaly_id, body in bodies.items()}


def resolve(reader: Reader, evidence: Sequence[Json]) -> list[Json]:
    """Each evidence of an incident with its anomaly and its log line or sample (None when not stored)."""
    ids = sorted({str(each["tracking_id"]) for each in evidence})
    found = anomalies(query.anomalies(reader, sorted({str(each["ref"]) for each in evidence})))
    lines = {line["tracking_id"]: line for line in logs(reader, ids)}
    values = {sample["tracking_id"]: sample for sample in samples(reader, ids)}
    for both in lines.keys() & values.keys():
        later = by_arrival((lines[both], values[both]))[1]
        del (lines if later is lines[both] else values)[both]
    return [
        {
            "ref": each["ref"],
            "tracking_id": each["tracking_id"],
            "anomaly": found.get(each["ref"]),
            "log": lines.get(each["tracking_id"]),
            "sample": values.get(each["tracking_id"]),
        }
        for each in evidence
    ]
