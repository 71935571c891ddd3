"""record surprise: a sample that breaks records in many views of the series at once, and rarely."""

from typing import Any

from operators.detect.excursion import Direction
from operators.detect.finding import Finding, clock_time, number
from operators.detect.records import Broken, Records
from operators.detect.score_tail import MONTH_S, ScoreTail
from operators.detect.views import VIEWS, WEEK_S, Views

FILTER_SAMPLES = 110
HALF_RANK = 0.08  # the raw score that ranks halfway below the bound


class RecordSurprise:
    """Fires when a sample breaks records by more than chance alone would, as often as policy allows.

    Each sample is seen in eleven views (views.py). A record q ranges beyond all before, of rarity s, is
    worth q / (q + h) s^2; the raw score S is the weighted mean over views (records.py), and counts only
    when it tops every one of the last 110 samples. The size Z is the weighted mean of ln(1 + q / h).
    It fires when Z passes the bound B that the series' own records have earned (score_tail.py): at most
    about `risk` false firings a month in this series; a restless series earns a higher one. A series of
    fewer than min_month samples a month is judged as if it had so many. score = 1 - B / 2Z when Z >= B
    (0.5 at the bound), else S / (S + 0.08) / 2, which ranks what does not fire. It is silent for
    min_samples and min_history_s seconds, and clears after clear_samples without another such sample;
    what lies the other way than direction, or within min_deviation of the slow mean, does not fire. Views
    of the week count in Z after two weeks, else whatever only grows would fire when it is a week old. It
    goes on learning, so a new level becomes normal.

    State: about 8 KB in a snapshot, 12 KB in memory; cost: about 4 µs a sample. Source: record theory
    (Chandler 1952); SPOT, Siffer et al., KDD 2017, for the bound.
    """

    __slots__ = (
        "_first_at",
        "_last_high",
        "_records",
        "_score",
        "_since",
        "_tail",
        "_tops",
        "_views",
        "bound",
        "clear_samples",
        "direction",
        "firing",
        "min_deviation",
        "min_history_s",
        "min_month",
        "min_samples",
        "min_size",
        "risk",
        "surprise",
    )

    def __init__(
        self,
        *,
        risk: float = 0.01,
        min_size: float = 0.2,
        min_samples: int = 1500,
        min_history_s: float = 172_800.0,
        clear_samples: int = 110,
        min_month: float = 43_200.0,
        direction: Direction = "both",
        min_deviation: float = 0.0,
    ) -> None:
        self.direction = direction
        self.min_deviation = min_deviation
        self.min_size = min_size
        self.min_samples = min_samples
        self.min_history_s = min_history_s
        self.clear_samples = clear_samples
        self.risk = risk
        self.min_month = min_month
        self.firing = False
        self.surprise = 0.0  # of the latest sample's records
        self.bound = float("inf")  # the size that fires, as it was at the latest record
        self._score = 0.0
        self._views = Views()
        self._records = Records(VIEWS)
        self._tail = ScoreTail(risk=risk, min_size=min_size, min_month=min_month)
        self._tops: list[tuple[int, float]] = []  # falling scores of the last FILTER_SAMPLES samples
        self._first_at = 0.0
        self._since = 0.0
        self._last_high = 0

    @property
    def score(self) -> float:
        """Of the latest sample, in [0, 1]: 0.5 where firing begins."""
        return self._score

    def raw_score(self, at: float, value: float) -> float:
        """Take one sample, give its raw score (0 to 1.78); it neither fires nor clears."""
        values = self._views.update(at, value, self._records.limits)
        self.surprise = 0.0
        return self._rank(at, values) if values is not None else 0.0

    def _rank(self, at: float, values: tuple[float, ...]) -> float:
        """The raw score of the views of a sample that may hold a record."""
        seen = self._views.seen - 1
        if seen == 0:
            self._first_at = at
        self._records.pass_to(seen)
        self._records.slow_known = at - self._first_at >= 2 * WEEK_S
        self.surprise = surprise = self._records.update(values)
        if surprise <= 0.0:
            return 0.0
        self.bound = self._bound(at)
        self._tail.update(seen, self._records.size, self.bound)
        return self._top(seen, surprise)

    def update(self, at: float, value: float) -> Finding | None:
        """Take one sample (seconds since 1970, value); NaN and infinities are passed over."""
        if value - value != 0.0:
            return None
        values = self._views.update(at, value, self._records.limits)
        self.surprise = self._score = 0.0
        if values is not None and (raw := self._rank(at, values)) > 0.0:
            size, bound = self._records.size, self.bound
            is_high = size >= bound and self._is_watched(value)
            self._score = 1.0 - 0.5 * bound / size if is_high else 0.5 * raw / (raw + HALF_RANK)
            if is_high:
                self._last_high = self._views.seen - 1
                if not self.firing:
                    return self._fire(at, value, size, bound)
        if self.firing and self._views.seen - 1 - self._last_high >= self.clear_samples:
            return self._clear(at, value)
        return None

    def _is_watched(self, value: float) -> bool:
        off = value - self._views.mean
        if abs(off) < self.min_deviation:
            return False
        return self.direction == "both" or (off > 0.0) == (self.direction == "up")

    def _top(self, seen: int, surprise: float) -> float:
        """The surprise, if it tops all of the last samples, else 0."""
        tops = self._tops
        while tops and tops[0][0] < seen - FILTER_SAMPLES:
            tops.pop(0)
        if not tops or surprise > tops[0][1]:
            tops[:] = [(seen, surprise)]
            return surprise
        while len(tops) > 1 and tops[-1][1] <= surprise:
            tops.pop()
        tops.append((seen, surprise))
        return 0.0

    def _bound(self, at: float) -> float:
        """The size that fires now."""
        seen, elapsed = self._records.seen - 1, at - self._first_at
        if seen < self.min_samples or elapsed < self.min_history_s:
            return float("inf")
        return self._tail.bound(seen, MONTH_S * seen / elapsed if elapsed > 1e-3 else MONTH_S)

    def _fire(self, at: float, value: float, size: float, bound: float) -> Finding:
        broken = self._records.broken
        assert broken is not None  # a score is above 0 only where a record fell
        self.firing = True
        self._since = at
        low, high = self._records.before
        why = self._why(at, value, broken, size, bound)
        return Finding("firing", self._score, self._views.mean, low, high, at, why, size, bound)

    def _why(self, at: float, value: float, broken: Broken, size: float, bound: float) -> str:
        return (
            f"{number(value)} is new: {VIEWS[broken.view].name} is {number(broken.value)}, beyond the range "
            f"{number(broken.low)} to {number(broken.high)} of the last {self._records.history - 1} samples; "
            f"record size {number(size)}, bound {number(bound)}, since {clock_time(at)}"
        )

    def _clear(self, at: float, value: float) -> Finding:
        self.firing = False
        low, high = self._records.span(0)
        msg = f"{number(value)}: nothing new for {self.clear_samples} samples, since {clock_time(self._since)} it was"
        return Finding("cleared", 0.0, self._views.mean, low, high, self._since, msg)

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data, to the last bit."""
        self._records.pass_to(self._views.seen)
        return {
            "views": self._views.snapshot(),
            "records": self._records.snapshot(),
            "tail": self._tail.snapshot(),
            "tops": tuple(self._tops),
            "at": (self._first_at, self._since, self._last_high),
            "firing": self.firing,
            "score": self._score,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        self._views.restore(state["views"])
        self._records.restore(state["records"])
        self._tail.restore(state["tail"])
        self._tops = list(state["tops"])
        self._first_at, self._since, self._last_high = state["at"]
        self.firing = state["firing"]
        self._score = state["score"]
