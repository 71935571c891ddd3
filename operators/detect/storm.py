"""storm: a device's service writes far more than it used to; one finding, naming the template that grew."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, Self

from operators.detect.finding import clock_time, number
from operators.detect.rate import RateRule, RateSeries
from operators.detect.templates import Template
from operators.mask import hash_of

SNAPSHOT_VERSION = 1
MAX_TEXT = 300
TEMPLATE_SHARE = 0.25
"""A template's count must be this share of what its level usually counts, or it is no storm."""

Origin = tuple[str, str]
"""Device and service."""


class StormFinding(NamedTuple):
    """A log storm of one device and service fires, or clears.

    template is the one that grew, its hash that of the line the storm was found on (of the template's
    first line where that is of another template); now its lines in the newest window so far and before
    what is usual in a window; level_now and level_before say the same for all lines of the level that the storm
    began on. lines counts the origin's lines from firing on; score is 0.5 where firing begins.
    """

    state: Literal["firing", "cleared"]
    at: datetime
    origin: Origin
    level: str
    template: Template
    score: float
    now: int
    before: float
    level_now: int
    level_before: float
    since: datetime
    lines: int
    msg: str


class _Storm:
    """A storm that has not cleared."""

    __slots__ = ("form_hash", "level", "lines", "since", "template")

    def __init__(self, template: int, level: str, since: datetime, lines: int, form_hash: str = "") -> None:
        self.template, self.level, self.since, self.lines, self.form_hash = template, level, since, lines, form_hash


class _Origin:
    """What one device and service writes: a series a level and a series a template."""

    __slots__ = ("born", "last", "levels", "storm", "taught", "templates")

    def __init__(self, born: int) -> None:
        self.born = born
        self.last = born
        self.levels: dict[str, RateSeries] = {}
        self.templates: dict[int, RateSeries] = {}
        self.storm: _Storm | None = None
        self.taught = False

    def shift(self, windows: int) -> None:
        self.born += windows
        self.last += windows
        for series in self.series():
            series.shift(windows)

    def series(self) -> Iterator[RateSeries]:
        yield from self.levels.values()
        yield from self.templates.values()


class LogStorms:
    """Counts the lines of one ship by device, service and level, and by template; finds log storms.

    A storm is a level's or a template's count in a window beyond its limit (see RateSeries). It is
    found on the line that reaches the limit, not at the window's end, and is one finding a device and
    service however many of their counts grow; it clears when all of them have. A series is as
    old as its device's service: a level or template not seen until now counted zero before, so
    errors that burst out of nowhere are a storm, unless the service itself is still new.

    Windows are event time; a line whose window closed before it came is late: counted, not judged.
    Deadlines are log time; those up to a line's arrival must be served before add() of it. State: a
    series a (device, service, level) and a (device, service, template), at most max_series in all;
    beyond that lines of new ones are counted as rate_cap in counts; expire() forgets the silent.
    template_of gives the template of an id.
    """

    def __init__(self, rule: RateRule, template_of: Callable[[int], Template], *, max_series: int) -> None:
        self.rule = rule
        self.counts: Counter[str] = Counter()
        self._template_of = template_of
        self._max_series = max_series
        self._origins: dict[Origin, _Origin] = {}
        self._storms: dict[Origin, _Origin] = {}
        self._size = 0
        self._deadline: datetime | None = None

    def __len__(self) -> int:
        """How many series are kept."""
        return self._size

    def add(
        self, device_id: str, service: str, level: str, template: int, ts: datetime, at: datetime, form: str = ""
    ) -> StormFinding | None:
        """Take one line (event time ts, arrival at, masked form); gives a finding when a storm begins with it."""
        now = at.timestamp()
        window = self.rule.window(min(ts.timestamp(), now))
        if window <= self.rule.closed(now):
            self.counts["late"] += 1
            return None
        key = (device_id, service)
        origin = self._origins.get(key)
        if origin is None:
            origin = self._origins[key] = _Origin(window)
        origin.taught = False
        origin.last = max(origin.last, window)
        of_level = origin.levels.get(level) or self._new(origin, origin.levels, level)
        of_template = origin.templates.get(template) or self._new(origin, origin.templates, template)
        if origin.storm is not None:
            origin.storm.lines += 1
        level_rose = of_level is not None and of_level.add(self.rule, window)
        template_rose = of_template is not None and of_template.add(
            self.rule, window, self._least(of_template, of_level, window)
        )
        if not (level_rose or template_rose):
            return None
        if origin.storm is not None:
            self._set_deadline()
            return None
        grown = template if template_rose else self._most_grown(origin)
        found_on = hash_of(form) if form and grown == template else ""
        return self._rises(key, origin, _Storm(grown, str(level), at, 1, found_on))

    def _rises(self, key: Origin, origin: _Origin, storm: _Storm) -> StormFinding:
        """The first of the origin's series began to fire: a storm begins."""
        origin.storm = storm
        self._storms[key] = origin
        self._set_deadline()
        return self._fires(key, origin, storm)

    @staticmethod
    def _least(of_template: RateSeries, of_level: RateSeries | None, window: int) -> int:
        """The limit that its level sets to a template, asked for when the template opens a window."""
        if of_level is None or window <= of_template.current:
            return 0
        return int(TEMPLATE_SHARE * of_level.usual)

    def _new(self, origin: _Origin, among: dict[Any, RateSeries], name: object) -> RateSeries | None:
        if self._size >= self._max_series:
            self.counts["rate_cap"] += 1
            return None
        self._size += 1
        series = among[name] = RateSeries(origin.born)
        return series

    def _most_grown(self, origin: _Origin) -> int:
        """The template whose count in the newest window lies furthest over its usual."""
        open_now = [
            (series.z, -template) for template, series in origin.templates.items() if series.current == origin.last
        ]
        return -max(open_now)[1] if open_now else 0

    def _fires(self, key: Origin, origin: _Origin, storm: _Storm) -> StormFinding:
        at = storm.since
        of_level = origin.levels.get(storm.level)
        of_template = origin.templates.get(storm.template)
        z = max(series.z for series in (of_level, of_template) if series is not None)
        template = self._grown(storm)
        now, before = _counts(of_template)
        level_now, level_before = _counts(of_level)
        window = f"{number(self.rule.window_s)} s"
        elapsed = max(at.timestamp() - origin.last * self.rule.window_s, 0.0)
        msg = (
            f"{level_now} {storm.level} lines within {elapsed:.0f} s, usually {_usual(level_before)} in {window}; "
            f"most grown, {now} lines, usually {_usual(before)}: {template.text[:MAX_TEXT]}"
        )
        ratio = max(z / self.rule.fire, 1.0)
        score = ratio / (1.0 + ratio)
        return StormFinding(
            "firing", at, key, storm.level, template, score, now, before, level_now, level_before, at, 1, msg
        )

    def _grown(self, storm: _Storm) -> Template:
        """The template that a storm names, with the hash by which the archive's rows of it are found."""
        template = self._template_of(storm.template)
        return template._replace(hash=storm.form_hash or template.hash)

    def rewind(self, at: datetime) -> None:
        """The clock was set back to `at`: windows that were counted ahead of it lie before it from now on."""
        now = self.rule.window(at.timestamp())
        for origin in self._origins.values():
            ahead = origin.last - now
            if ahead > 0:
                origin.shift(-ahead)
            if origin.storm is not None:
                origin.storm.since = min(origin.storm.since, at)
        self._set_deadline()

    @property
    def deadline(self) -> datetime | None:
        """When due() has something to do."""
        return self._deadline

    def _set_deadline(self) -> None:
        windows = [self._next(origin) for origin in self._storms.values()]
        self._deadline = self.rule.closes(min(windows)) if windows else None

    def _next(self, origin: _Origin) -> int:
        """The next window to close of those series that fire; the last one learnt when none does any more."""
        firing = [series.learnt + 1 for series in origin.series() if series.firing]
        return min(firing) if firing else max(series.learnt for series in origin.series())

    def due(self, at: datetime) -> list[StormFinding]:
        """Close the windows of storms that end by `at`; gives what cleared, in the order of device and service."""
        closed = self.rule.closed(at.timestamp())
        cleared = []
        for key, origin in sorted(self._storms.items()):
            for series in origin.series():
                if series.firing:
                    series.close(self.rule, closed)
            if origin.storm is not None and not any(series.firing for series in origin.series()):
                cleared.append(self._clears(key, origin, origin.storm, at))
                origin.storm = None
                del self._storms[key]
        self._set_deadline()
        return cleared

    def _clears(self, key: Origin, origin: _Origin, storm: _Storm, at: datetime) -> StormFinding:
        now, before = _counts(origin.templates.get(storm.template))
        level_now, level_before = _counts(origin.levels.get(storm.level))
        template = self._grown(storm)
        msg = (
            f"the storm is over: {storm.lines} lines since {clock_time(storm.since.timestamp())}, "
            f"most grown was: {template.text[:MAX_TEXT]}"
        )
        since, lines = storm.since, storm.lines
        return StormFinding(
            "cleared", at, key, storm.level, template, 0.0, now, before, level_now, level_before, since, lines, msg
        )

    def teach(self, origin_of: Origin, series: str | int, first: datetime, counts: Sequence[int]) -> None:
        """Take what history tells of one series: its counts in consecutive windows from the time `first`.

        series is a level, or the id of a template. Only before the first live line of that device's
        service, which becomes as old as the first window taught.

        Raises:
            ValueError: when the service has been seen live.
        """
        window = self.rule.window(first.timestamp())
        origin = self._origins.get(origin_of)
        if origin is None:
            origin = self._origins[origin_of] = _Origin(window)
        elif not origin.taught:
            raise ValueError(
                f"rates of {'/'.join(origin_of)}: it has been seen live, teach history before its first line"
            )
        origin.taught = True
        origin.born = min(origin.born, window)
        among: dict[Any, RateSeries] = origin.levels if isinstance(series, str) else origin.templates
        if series not in among and self._new(origin, among, series) is None:
            return
        learner = among[series] = RateSeries(origin.born)
        for counted, count in enumerate(counts, window):
            if count:
                learner.close(self.rule, counted - 1)
                learner.current, learner.count = counted, count
                origin.last = max(origin.last, counted)
        learner.close(self.rule, window + len(counts) - 1)

    def expire(self, before: datetime) -> None:
        """Forget what has written nothing since `before`; what storms stays."""
        limit = self.rule.window(before.timestamp())
        for key, origin in list(self._origins.items()):
            if origin.storm is not None:
                continue
            both: tuple[dict[Any, RateSeries], ...] = (origin.levels, origin.templates)
            for among in both:
                for name in [name for name, series in among.items() if series.current < limit]:
                    del among[name]
                    self._size -= 1
            if origin.last < limit:
                del self._origins[key]

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return {
            "v": SNAPSHOT_VERSION,
            "origins": [
                (
                    key,
                    origin.born,
                    origin.last,
                    {str(level): series.packed() for level, series in origin.levels.items()},
                    {template: series.packed() for template, series in origin.templates.items()},
                    (storm.template, storm.level, storm.since, storm.lines, storm.form_hash)
                    if (storm := origin.storm)
                    else None,
                )
                for key, origin in self._origins.items()
            ],
        }

    @classmethod
    def restored(
        cls, rule: RateRule, template_of: Callable[[int], Template], state: dict[str, Any], *, max_series: int
    ) -> Self:
        """The storms of a snapshot; they then behave as if they had never stopped.

        Raises:
            ValueError: for a snapshot of another version.
        """
        if state["v"] != SNAPSHOT_VERSION:
            raise ValueError(f"log rates: snapshot version {state['v']}, expected {SNAPSHOT_VERSION}; start afresh")
        self = cls(rule, template_of, max_series=max_series)
        for key, born, last, levels, templates, storm in state["origins"]:
            origin = self._origins[key] = _Origin(born)
            origin.last = last
            origin.levels = {level: RateSeries.unpacked(packed) for level, packed in levels.items()}
            origin.templates = {template: RateSeries.unpacked(packed) for template, packed in templates.items()}
            self._size += len(levels) + len(templates)
            if storm is not None:
                origin.storm = _Storm(*storm)
                self._storms[key] = origin
        self._set_deadline()
        return self


def _counts(series: RateSeries | None) -> tuple[int, float]:
    """Lines in the open window, and what is usual."""
    return (series.count, series.usual) if series is not None else (0, 0.0)


def _usual(count: float) -> str:
    return number(count) if count >= 0.05 else "none"
