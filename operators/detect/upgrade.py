"""upgrade: a slot's snapshot of a version before, in the layout of the next."""

from array import array
from struct import Struct
from typing import Any
from uuid import UUID

from operators.detect.metric_series import pack_head
from operators.detect.saved_rows import DICTIONARY, pack_row

_JUDGE = Struct("<B7d3H")


def _fires(saved: dict[str, Any]) -> bool:
    """Whether a detector had fired, wherever its version 2 kept that."""
    if "judge" in saved:
        return bool(_JUDGE.unpack_from(saved["judge"])[7])
    return bool(saved["flat"][-1] if "flat" in saved else saved["firing"])


def from_v2(state: dict[str, Any]) -> dict[str, Any]:
    """Version 2 kept the whole last sample of a series, no rhythm, and outlier detectors in another form.

    Rhythms and outliers are learnt anew; what an outlier detector had firing becomes an orphan, which is
    cleared. Thresholds go on.
    """
    places: dict[tuple[str, str], int] = {}
    subjects: dict[tuple[str, str, str, str | None], int] = {}
    rows = []
    for name, saved in state["samples"].items():
        last = saved["last"]
        place = (last["ship_id"], last["device_id"])
        subject = (last["domain"], last["service"], last["metric_name"], last["unit"])
        labels = name.removeprefix(f"{place[0]}/{place[1]}/{subject[1]}/{subject[2]}")
        arrived, last_at = last["observed_at"].timestamp(), saved["last_at"]
        taken = float("-inf") if last_at is None else last_at
        kept = {kind: detector for kind, detector in saved["detectors"].items() if kind.startswith("threshold:")}
        firing = [kind for kind, detector in saved["detectors"].items() if _fires(detector)]
        rows.append(
            (
                places.setdefault(place, len(places)),
                subjects.setdefault(subject, len(subjects)),
                labels,
                pack_head(UUID(last["tracking_id"]).bytes, arrived, taken, saved["late_run"], watched=False),
                kept,
                [kind for kind in firing if kind in kept],
                [*saved["orphans"], *(kind for kind in firing if kind not in kept)],
            )
        )
    samples = {"places": list(places), "subjects": list(subjects), "series": rows, "times": (None, float("-inf"))}
    return {**state, "v": 3, "samples": samples}


def from_v3(state: dict[str, Any]) -> dict[str, Any]:
    """Version 3 kept the views of record_surprise in ten parts; nothing is lost."""
    rows = [
        (*row[:4], {name: _in_v4(saved) for name, saved in row[4].items()}, *row[5:])
        for row in state["samples"]["series"]
    ]
    return {**state, "v": 4, "samples": {**state["samples"], "series": rows}}


def from_v4(state: dict[str, Any]) -> dict[str, Any]:
    """Version 4 kept the rows of series as they are, this one as bytes."""
    rows = b"".join(map(pack_row, state["samples"]["series"]))
    return {**state, "v": 5, "samples": {**state["samples"], "series": rows, "dictionary": DICTIONARY}}


def _in_v4(detector: dict[str, Any]) -> dict[str, Any]:
    voters = detector.get("voters", {})
    records = voters.get("record_surprise")
    if records is None:
        return detector
    return {**detector, "voters": {**voters, "record_surprise": {**records, "views": _one_array(records["views"])}}}


def _one_array(views: dict[str, Any]) -> dict[str, Any]:
    """The parts in the order of views.py; the bins of the present time are read anew."""
    logs, change, week, weeks, hours, day, days, drift, rest, long = views["parts"]
    numbers = array("d", [drift["count"], -1.0, 0.0, 0.0, 0.0, 0.0])
    numbers.extend((logs["total"], weeks["total"], days["total"], rest["total"], views["log_before"] or 0.0))
    numbers.extend((drift["variance"], drift["mean"], drift["up"], drift["down"]))
    numbers.extend((long["total"], long["squares"], long["mean"], long["variance"], 0.0))
    rings = [array("d", part["ring"]) for part in (change, logs, weeks, days)]
    for row in zip(*rings, strict=True):
        numbers.extend(row)
    bins = (week, hours, day)
    arrays = b"".join((rest["ring"], long["ring"], *(part["means"] for part in bins)))
    return {"numbers": numbers.tobytes() + arrays, "visits": b"".join(part["visits"] for part in bins)}
