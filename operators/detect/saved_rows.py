"""The rows of a snapshot of many series: each is packed when it has changed, not each time."""

import pickle
from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Any
from zlib import DEFLATED, compressobj, decompressobj

from operators.detect.metric_series import MetricSeries, Subject

MAX_CHANGED = 50
"""Changes that wait for the end of the epoch; more are packed as they come."""

AT_ONCE = 4
"""But no more than so many rows a batch: under load a series changes again and again."""

SHORT = 1024
"""Longer rows are not compressed: they hold arrays of numbers, which gain little for much time."""

_HEAD = Struct("<I")

DICTIONARY = pickle.dumps(
    (
        ("record_surprise", "flat", "seasonal", "mad", "zscore", "threshold:", "hysteresis"),
        ({"since": None, "firing": False}, {"v": 1, "state": "cleared", "vote": False, "times": (), "starts": ()}),
        (0, 0, "", bytes(76), {"ewma": {"voters": {"ewma": {"ewma": b"\2" + bytes(96)}}}}, [], []),
    ),
    protocol=4,
)
"""What most rows hold, for the compression; kept with each snapshot, for it may be another one day."""

Place = tuple[str, str]
Row = tuple[Any, ...]
"""(number of place, number of subject, labels, …): what a series keeps, with what it shares by number."""


class SavedRows:
    """What a table of series writes to the recovery store, kept ready.

    At the end of an epoch only rows of series that changed since the last one are packed, MAX_CHANGED at
    most (more are packed while the epoch lasts); the rest is copied. So the pause follows what happened in
    an epoch, not how many series there are. Short rows are compressed (240 bytes to 60 in core-fast, 5 µs):
    the store writes all of a slot, whatever changed in it. State: about 120 bytes a series.
    """

    def __init__(self) -> None:
        self.changed: dict[str, MetricSeries] = {}
        self._places: dict[Place, int] = {}
        self._subjects: dict[Subject, int] = {}
        self._rows: dict[str, bytes] = {}
        self._dictionary = DICTIONARY

    def number(self, series: MetricSeries) -> None:
        """Give a new series' place and subject their numbers, so that these follow the order of the log."""
        self._places.setdefault(series.place, len(self._places))
        self._subjects.setdefault(series.watch.subject, len(self._subjects))

    def settle(self) -> None:
        """Pack some of what changed beyond MAX_CHANGED."""
        changed = self.changed
        for _ in range(min(AT_ONCE, len(changed) - MAX_CHANGED)):
            self._pack(*changed.popitem())

    def forget_all(self, left: dict[str, MetricSeries]) -> None:
        """Series were forgotten: number and pack anew what is left."""
        for each in (self.changed, self._places, self._subjects, self._rows):
            each.clear()
        for name, series in left.items():
            self.number(series)
            self.changed[name] = series

    def snapshot(self, names: Iterable[str]) -> dict[str, Any]:
        """The rows of these series, in their order, as plain data: what they share, and one byte string."""
        for name, series in self.changed.items():
            self._pack(name, series)
        self.changed.clear()
        return {
            "places": list(self._places),
            "subjects": [tuple(subject) for subject in self._subjects],
            "dictionary": self._dictionary,
            "series": b"".join(map(self._rows.__getitem__, names)),
        }

    def restore(self, state: dict[str, Any]) -> Iterator[tuple[str, Place, Subject, Row]]:
        """Take over a snapshot; yields each series' name, what it is about, and what it keeps."""
        subjects = [Subject(*subject) for subject in state["subjects"]]
        places = [(ship_id, device_id) for ship_id, device_id in state["places"]]
        self._places = {place: number for number, place in enumerate(places)}
        self._subjects = {subject: number for number, subject in enumerate(subjects)}
        self._dictionary = state["dictionary"]
        for row, packed in _split(state["series"], self._dictionary):
            place, subject = places[row[0]], subjects[row[1]]
            name = _prefix(place, subject) + row[2]
            self._rows[name] = packed
            yield name, place, subject, row[3:]

    def _pack(self, name: str, series: MetricSeries) -> None:
        place, subject = series.place, series.watch.subject
        labels = name.removeprefix(_prefix(place, subject))
        self._rows[name] = pack_row(
            (self._places[place], self._subjects[subject], labels, *series.snapshot()), self._dictionary
        )


def pack_row(row: Row, dictionary: bytes = DICTIONARY) -> bytes:
    """One row as bytes; rows one after the other are a table."""
    data = pickle.dumps(row, protocol=4)
    if len(data) > SHORT:
        return _HEAD.pack(len(data) << 1) + data
    squeeze = compressobj(1, DEFLATED, -15, 1, zdict=dictionary)
    data = squeeze.compress(data) + squeeze.flush()
    return _HEAD.pack(len(data) << 1 | 1) + data


def unpack_rows(data: bytes, dictionary: bytes = DICTIONARY) -> list[Row]:
    """The rows of a table.

    >>> unpack_rows(pack_row((0, 0, "")) + pack_row((0, 1, "{a=b}")))
    [(0, 0, ''), (0, 1, '{a=b}')]
    """
    return [row for row, _ in _split(data, dictionary)]


def _split(data: bytes, dictionary: bytes) -> Iterator[tuple[Row, bytes]]:
    end = 0
    while end < len(data):
        begin = end
        (head,) = _HEAD.unpack_from(data, begin)
        end = begin + _HEAD.size + (head >> 1)
        row = data[begin + _HEAD.size : end]
        if head & 1:
            row = decompressobj(-15, zdict=dictionary).decompress(row)
        yield pickle.loads(row), data[begin:end]


def _prefix(place: Place, subject: Subject) -> str:
    ship_id, device_id = place
    return f"{ship_id}/{device_id}/{subject.service}/{subject.metric_name}"
