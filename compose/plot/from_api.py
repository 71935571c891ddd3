"""A series out of the API."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from compose.plot.build import Found, SeriesData
from compose.plot.errors import PlotError, PlotFailedError
from compose.plot.naming import Times, is_anomaly_id, no_samples, pick

POINTS: Final = 10_000
"""The most that the API gives: samples rather than means, where they are not more."""
TIMEOUT_S: Final = 30.0
AROUND: Final = timedelta(hours=12)
MAX_ANSWER: Final = 64 * 1024 * 1024

Json = dict[str, Any]


class _NotFoundError(Exception):
    """The API does not know it; the message is what it said."""


class ApiReader:
    """Asks one API; every failure says what to do.

    Proxies of the environment are not used: the API is on board.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise PlotError(f"--api is {url!r}: expected an address such as http://127.0.0.1:8080")
        self.url = url.rstrip("/")
        self._open = build_opener(ProxyHandler({})).open

    def get(self, path: str, **parameters: object) -> Json:
        """The answer to one GET.

        Raises:
            PlotFailedError: when the API is away, fails, or is something else.
            PlotError: when it refuses a parameter.
        """
        query = urlencode({key: value for key, value in parameters.items() if value is not None})
        request = Request(f"{self.url}{path}?{query}", headers={"Accept": "application/json"})
        try:
            with self._open(request, timeout=TIMEOUT_S) as response:
                return self._read(response.read(MAX_ANSWER + 1))
        except HTTPError as error:
            with error:
                raise self._refusal(error.code, error.read(65_536)) from error
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise PlotFailedError(
                f"the API at {self.url} does not answer ({reason}): start it with `watchkeeper up`, "
                "name it with --api, or read a file with --capture"
            ) from error

    def _read(self, data: bytes) -> Json:
        try:
            answer = json.loads(data)
        except ValueError as error:
            raise self._stranger() from error
        if not isinstance(answer, dict):
            raise self._stranger()
        return answer

    def _stranger(self) -> PlotFailedError:
        return PlotFailedError(f"{self.url} answers, but not as Watchkeeper's API of this version: correct --api")

    def _refusal(self, status: int, data: bytes) -> Exception:
        try:
            answer = json.loads(data)
        except ValueError:
            answer = None
        detail = str(answer.get("detail", "")) if isinstance(answer, dict) and "request_id" in answer else ""
        if not detail or (status == 404 and detail.startswith("there is nothing")):
            return self._stranger()
        if status == 404:
            return _NotFoundError(detail)
        return PlotError(detail) if status == 422 else PlotFailedError(f"the API at {self.url}: {detail}")


def read_api_series(name: str, api: ApiReader, times: Times, clock: Callable[[], datetime]) -> SeriesData:
    """The series (or that of the anomaly) of that name as the API has it; by default its last 24 h.

    Of an anomaly it is 12 h before it to 12 h after it, unless times are given.

    Raises:
        PlotError: for a name that is not known, or a span without samples.
        PlotFailedError: when the API is away.
    """
    try:
        if is_anomaly_id(name):
            anomaly = api.get(f"/api/v3/anomalies/{quote(name.lower(), safe='')}")
            series, times = anomaly["series"], _around(anomaly) if times == Times() else times
        else:
            series = name
        answer = _get_series(api, series, times, clock)
        if answer is None:
            series = pick(name, _names(api, name), f"the API at {api.url}")
            answer = _get_series(api, series, times, clock)
    except _NotFoundError as error:
        raise PlotError(f"{name}: {error}") from error
    if answer is None:
        raise PlotError(f"{series} cannot be asked for by its name: read a capture of it with --capture")
    return _data(answer)


def _get_series(api: ApiReader, series: str, times: Times, clock: Callable[[], datetime]) -> Json | None:
    since = clock() - timedelta(seconds=times.ago_s) if times.ago_s is not None else times.since
    span = {"from": _text(since), "to": _text(times.until)} if since is not None else {"window": "24h"}
    try:
        return api.get(f"/api/v3/series/{quote(series, safe='')}", points=POINTS, **span)
    except _NotFoundError:
        return None


def _names(api: ApiReader, name: str) -> list[str]:
    """Series that may be meant: those with the name in theirs, else with its last part, else some."""
    for like in (name, name.rpartition("/")[2], ""):
        found = [str(item["series"]) for item in api.get("/api/v3/series", like=like)["items"]]
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
