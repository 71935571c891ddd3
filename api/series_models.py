"""What the API answers about metric series and single anomalies."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.anomaly import AnomalyDetected, ContextData
from schemas.base import Severity

_NAME: dict[str, Any] = {
    "series": "aurora/vsat-1/modem/rf_snr_db",
    "ship_id": "aurora",
    "device_id": "vsat-1",
    "service": "modem",
    "metric_name": "rf_snr_db",
    "unit": "dB",
}


def _example(**example: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": example})


class SeriesName(BaseModel):
    """One series: its name, whose it is, and when its newest sample was taken."""

    series: str
    ship_id: str
    device_id: str
    service: str
    metric_name: str
    unit: str | None
    last_at: datetime


class SeriesList(BaseModel):
    """Series by name; more says that there are others beside these."""

    model_config = _example(items=[{**_NAME, "last_at": "2026-03-02T00:00:00Z"}], more=False)

    items: list[SeriesName]
    more: bool


class SeriesPoint(BaseModel):
    """One sample; or several as their mean, with the lowest and the highest, at the time of the first."""

    ts: datetime
    value: float
    min: float
    max: float
    samples: Annotated[int, Field(ge=1)]


class SeriesFinding(BaseModel):
    """What a detector said about the series: when it fired, when it cleared, and why."""

    anomaly_id: str
    state: Literal["firing", "cleared"]
    detector: str
    rule: str | None
    ts: datetime
    since: datetime | None
    score: float
    expected: float | None
    lower: float | None
    upper: float | None
    msg: str


class Series(BaseModel):
    """A series in a span of time: its points and the findings on it, each in the order of time.

    metric_name is null and there are no points where only findings of log lines bear this name.
    first_at and last_at bound all samples that are stored, within the span or not. A finding that
    fired before the span and had not cleared by its begin is among them; findings_left_out counts
    the oldest beyond the newest 1000.
    """

    model_config = _example(
        **_NAME,
        **{"from": "2026-03-01T00:00:00Z", "to": "2026-03-02T00:00:00Z"},
        first_at="2026-02-25T00:00:00Z",
        last_at="2026-03-02T00:00:00Z",
        points=[{"ts": "2026-03-01T00:00:00Z", "value": 11.9, "min": 6.8, "max": 12.4, "samples": 9}],
        findings=[
            {
                "anomaly_id": "0c9a6c1e-0000-8000-8000-000000000001",
                "state": "firing",
                "detector": "threshold",
                "rule": "rf_snr_low",
                "ts": "2026-03-01T00:01:00Z",
                "since": "2026-03-01T00:00:00Z",
                "score": 0.58,
                "expected": None,
                "lower": 7.0,
                "upper": None,
                "msg": "rf_snr_db (dB) of vsat-1/modem: 6.8 is below 7 for 60 s (since 2026-03-01 00:00:00 UTC)",
            }
        ],
        findings_left_out=0,
    )

    series: str
    ship_id: str
    device_id: str
    service: str
    metric_name: str | None
    unit: str | None
    since: datetime = Field(serialization_alias="from")
    until: datetime = Field(serialization_alias="to", description="exclusive")
    first_at: datetime | None
    last_at: datetime | None
    points: list[SeriesPoint]
    findings: list[SeriesFinding]
    findings_left_out: Annotated[int, Field(ge=0)]


class AnomalyPublished(AnomalyDetected):
    """An anomaly as it was published; severity and context are there once it has been enriched."""

    severity: Severity | None = None
    severity_reason: str | None = None
    context: ContextData | None = None
