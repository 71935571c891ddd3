"""A series out of the API."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from compose.api_client import ApiClient, Json, NotKnownError
from compose.plot.build import Found, SeriesData
from compose.plot.errors import PlotError
from compose.plot.naming import Times, is_anomaly_id, no_samples, pick

POINTS: Final = 10_000
"""The most that the API gives: samples rather than means, where they are not more."""
TIMEOUT_S: Final = 30.0
AROUND: Final = timedelta(hours=12)
REMEDY: Final = "name it with --api, or read a file with --capture"


def read_api_series(name: str, api: ApiClient, times: Times, clock: Callable[[], datetime]) -> SeriesData:
    """The series (or that of the anomaly) of that name as the API has it; by default its last 24 h.

    Of an anomaly it is 12 h before it to 12 h after it, unless times are given.

    Raises:
        PlotError: for a name that is not known, or a span without samples.
        ApiAwayError: when the API is away.
    """
    try:
        if is_anomaly_id(name):
            anomaly = api.get("anomalies", name.lower())
            series, times = anomaly["series"], _around(anomaly) if times == Times() else times
        else:
            series = name
        answer = _get_series(api, series, times, clock)
        if answer is None:
            try:
                series = pick(name, _names(api, name), f"the API at {api.url}")
            except PlotError:
                anomaly_id = _beginning(name, api)
                if anomaly_id is None:
                    raise
                return read_api_series(anomaly_id, api, times, clock)
            answer = _get_series(api, series, times, clock)
    except NotKnownError as error:
        raise PlotError(f"{name}: {error}") from error
    if answer is None:
        raise PlotError(f"{series} cannot be asked for by its name: read a capture of it with --capture")
    return _data(answer)


def _beginning(name: str, api: ApiClient) -> str | None:
    """The only anomaly whose id begins so; None when there is none."""
    if re.fullmatch(r"[0-9a-f-]{4,35}", name.lower()) is None:
        return None
    items = api.get("ids", name.lower(), kind="anomaly", limit=5)["items"]
    if len(items) > 1:
        shown = ", ".join(str(item["id"]) for item in items)
        raise PlotError(f"{name} is the beginning of several anomalies' ids: {shown}; give more of it")
    return str(items[0]["id"]) if items else None


def _get_series(api: ApiClient, series: str, times: Times, clock: Callable[[], datetime]) -> Json | None:
    since = clock() - timedelta(seconds=times.ago_s) if times.ago_s is not None else times.since
    span = {"from": _text(since), "to": _text(times.until)} if since is not None else {"window": "24h"}
    try:
        return api.get("series", series, points=POINTS, **span)
    except NotKnownError:
        return None


def _names(api: ApiClient, name: str) -> list[str]:
    """Series that may be meant: those with the name in theirs, else with its last part, else some."""
    for like in (name, name.rpartition("/")[2], ""):
        found = [str(item["series"]) for item in api.get("series", like=like)["items"]]
        if found:
            return found
    return []


def _around(anomaly: Json) -> Times:
    at = datetime.fromisoformat(anomaly["ts"])
    since = datetime.fromisoformat(anomaly["since"]) if anomaly.get("since") else at
    return Times(None, min(since, at) - AROUND, at + AROUND)


def _data(answer: Json) -> SeriesData:
    series, points = str(answer["series"]), answer["points"]
    if not points:
        if answer["first_at"] is None:
            raise PlotError(f"{series} is about log lines: it has findings, but no values to draw")
        raise PlotError(no_samples(series, _seconds(answer["first_at"]), _seconds(answer["last_at"])))
    counts = [int(point["samples"]) for point in points]
    return SeriesData(
        series,
        str(answer["ship_id"]),
        answer["unit"],
        [_seconds(point["ts"]) for point in points],
        [float(point["value"]) for point in points],
        sum(counts),
        [_found(each) for each in answer["findings"]],
        [(float(point["min"]), float(point["max"])) for point in points] if max(counts) > 1 else None,
    )


def _found(finding: Json) -> Found:
    return Found(
        finding["anomaly_id"],
        finding["state"],
        finding["detector"],
        finding["rule"],
        _seconds(finding["ts"]),
        _seconds(finding["since"]) if finding["since"] else None,
        finding["lower"],
        finding["upper"],
        finding["msg"],
    )


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _text(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat() if at is not None else None
