"""templates: which kinds of lines a ship writes, found by Drain; one never seen before is news."""

from collections import Counter
from datetime import datetime, timedelta
from operator import eq
from typing import Any, Literal, NamedTuple

from drain3.drain import Drain, LogCluster  # type: ignore[import-untyped]

from operators.detect.finding import clock_time
from operators.mask import hash_of
from schemas.base import Level

SNAPSHOT_VERSION = 1
OTHER = 0
"""The template id of a line that has no template, since no more are taken."""
ANY = "<*>"
"""The word of a template that stands for any word; no masked line has it."""
MAX_TOKENS = 64
CACHE_SIZE = 20_000
DEPTH = 4
MAX_CHILDREN = 1000
MAX_TEXT = 300


class TemplateRule(NamedTuple):
    """From policy.detect: how lines become templates, and when a new one is a finding.

    similarity is Drain's: the share of words that a line must have in common with a template to
    belong to it. leaf_templates bounds the templates that one line is compared with.
    """

    max_templates: int = 10_000
    leaf_templates: int = 100
    similarity: float = 0.7
    min_level: Level = Level.WARN
    warmup: timedelta = timedelta(hours=1)
    warmup_lines: int = 1000
    novelty: float = 0.01
    burst: int = 5
    period: timedelta = timedelta(hours=1)
    clear: timedelta = timedelta(minutes=5)


class Template(NamedTuple):
    """One template: <*> stands for any word; hash is that of the masked form of its first line."""

    id: int
    text: str
    hash: str
    lines: int


class TemplateFinding(NamedTuple):
    """A template not seen before fires, and clears after quiet.

    score is 0.5 where new templates are as frequent as policy allows for news, towards 1 the rarer
    they are. unreported counts new templates since the last finding that were too many to report.
    """

    state: Literal["firing", "cleared"]
    at: datetime
    template: Template
    score: float
    since: datetime
    lines: int
    unreported: int
    msg: str


class _News:
    """A finding that has not cleared yet."""

    __slots__ = ("last", "lines", "since")

    def __init__(self, since: datetime, last: datetime, lines: int) -> None:
        self.since, self.last, self.lines = since, last, lines


_Known = tuple[Any, list[int], int]
"""What is kept for a masked form: its cluster, the version of all clusters of that length, and which it was then."""


class Templates:
    """Drain over the masked lines of one ship; says when a template is new to the ship.

    Drain (He et al., ICWS 2017; drain3's tree and matching): a line goes by its number of words and
    its first word to a leaf, and there to the template that shares most words with it, at least
    `similarity` of them; else it becomes a template. New is a finding when the line is `min_level`
    or worse, the ship was watched for `warmup` and `warmup_lines`, and new templates are rare: the
    chance that a line is new, by Good and Turing's estimate (templates seen once / lines), is at most
    `novelty`. At most `burst` findings a `period`. It clears when `clear` has passed without it.
    Time is log time; deadlines up to a line's arrival must be served before observe() of it.

    Bounded: at most max_templates in all and leaf_templates in a leaf; a line beyond that is OTHER,
    counted in counts as template_cap or template_leaf, and capped_at says since when. A masked form
    seen before is found by one dictionary look-up as long as no template of its length has changed, so
    cost does not grow with the templates, and what is remembered changes nothing (it is not in the
    snapshot). Memory: about 1.2 KB a template (95 bytes in a snapshot), and the 20,000 forms remembered.
    """

    def __init__(self, rule: TemplateRule) -> None:
        self.rule = rule
        self.counts: Counter[str] = Counter()
        self.capped_at: datetime | None = None
        self._drain: Any = Drain(
            depth=DEPTH, sim_th=rule.similarity, max_children=MAX_CHILDREN, parametrize_numeric_tokens=False
        )
        self._first_hash: dict[int, str] = {}
        self._known: dict[str, _Known] = {}
        self._versions: dict[int, list[int]] = {}
        self._news: dict[int, _News] = {}
        self._began: datetime | None = None
        self._lines = 0
        self._singles = 0
        self._period_start: datetime | None = None
        self._reported = 0
        self._unreported = 0

    def __len__(self) -> int:
        """How many templates are known."""
        return len(self._drain.id_to_cluster)

    def observe(self, form: str, level: Level, at: datetime) -> tuple[int, TemplateFinding | None]:
        """Take one masked line that arrived at `at`; gives its template's id, and a finding if that is news."""
        if self._began is None:
            self._began = at
        cluster, is_new = self._take(form, 1, at)
        if cluster is None:
            return OTHER, None
        number: int = cluster.cluster_id
        if is_new:
            return number, self._judge(number, level, at)
        if self._news and (news := self._news.get(number)) is not None:
            news.last, news.lines = at, news.lines + 1
        return number, None

    def teach(self, form: str, lines: int, at: datetime) -> int:
        """Take what history tells: so many lines of one masked form, the first at `at`; gives the template's id."""
        if self._began is None or at < self._began:
            self._began = at
        cluster, _ = self._take(form, lines, at)
        return OTHER if cluster is None else int(cluster.cluster_id)

    def template(self, number: int) -> Template:
        """The template of an id that observe() gave."""
        if number == OTHER:
            return Template(OTHER, "(lines beyond the cap on templates)", "", 0)
        cluster = self._drain.id_to_cluster[number]
        return Template(number, cluster.get_template(), self._first_hash[number], cluster.size)

    def _take(self, form: str, lines: int, at: datetime) -> tuple[Any, bool]:
        """The cluster of a masked form, and whether it was made for it; None when no more are taken."""
        self._lines += lines
        known = self._known.get(form)
        if known is not None and known[1][0] == known[2]:
            cluster = known[0]
        else:
            tokens = form.split(maxsplit=MAX_TOKENS)[:MAX_TOKENS]
            version = self._versions.setdefault(len(tokens), [0])
            leaf = self._leaf(tokens)
            cluster = self._find(leaf, tokens, version) if leaf is not None else None
            if cluster is None and self._has_room(leaf):
                return self._create(form, tokens, version, lines, at), True
            if len(self._known) >= CACHE_SIZE:
                self._known.clear()
            self._known[form] = (cluster, version, version[0])
        if cluster is None:
            self._count_refused(at)
            return None, False
        if cluster.size == 1:
            self._singles -= 1
        cluster.size += lines
        return cluster, False

    def _find(self, leaf: Any, tokens: list[str], version: list[int]) -> Any:
        """The cluster of a leaf that matches, made to cover the line too."""
        cluster = self._match(leaf, tokens)
        if cluster is not None:
            covering = tuple(self._drain.create_template(tokens, cluster.log_template_tokens))
            if covering != cluster.log_template_tokens:
                cluster.log_template_tokens = covering
                version[0] += 1
        return cluster

    def _leaf(self, tokens: list[str]) -> Any:
        """Drain's leaf for a line, or None."""
        node = self._drain.root_node.key_to_child_node.get(str(len(tokens)))
        if node is None or len(tokens) < 2:
            return node
        return node.key_to_child_node.get(tokens[0]) or node.key_to_child_node.get(ANY)

    def _match(self, leaf: Any, tokens: list[str]) -> Any:
        """The cluster that shares most words with the line, if enough, as Drain.fast_match finds it."""
        best, most, most_any = None, -1, -1
        for number in leaf.cluster_ids:
            cluster = self._drain.id_to_cluster[number]
            shared = sum(map(eq, cluster.log_template_tokens, tokens))
            if shared < most:
                continue
            any_words = cluster.log_template_tokens.count(ANY)
            if shared > most or any_words > most_any:
                best, most, most_any = cluster, shared, any_words
        return best if best is not None and most >= self.rule.similarity * len(tokens) else None

    def _create(self, form: str, tokens: list[str], version: list[int], lines: int, at: datetime) -> Any:
        cluster = self._add(tokens, self._drain.clusters_counter + 1, lines)
        self._first_hash[cluster.cluster_id] = hash_of(form)
        self._singles += lines == 1
        version[0] += 1
        if len(self) >= self.rule.max_templates:
            self.capped_at = at
        return cluster

    def _add(self, tokens: list[str], number: int, size: int) -> Any:
        drain = self._drain
        cluster = LogCluster(tokens, number)
        cluster.size = size
        drain.clusters_counter = number
        drain.id_to_cluster[number] = cluster
        drain.add_seq_to_prefix_tree(drain.root_node, cluster)
        return cluster

    def _has_room(self, leaf: Any) -> bool:
        return len(self) < self.rule.max_templates and (
            leaf is None or len(leaf.cluster_ids) < self.rule.leaf_templates
        )

    def _count_refused(self, at: datetime) -> None:
        self.counts["template_cap" if len(self) >= self.rule.max_templates else "template_leaf"] += 1
        if self.capped_at is None:
            self.capped_at = at

    def _judge(self, number: int, level: Level, at: datetime) -> TemplateFinding | None:
        rule = self.rule
        began = self._began or at
        if level.rank < rule.min_level.rank:
            return None
        if at - began < rule.warmup or self._lines <= rule.warmup_lines:
            self.counts["template_warmup"] += 1
            return None
        chance = (self._singles - 1) / self._lines
        if chance > rule.novelty:
            self.counts["template_common"] += 1
            return None
        if self._period_start is None or at - self._period_start >= rule.period:
            self._period_start, self._reported = at, 0
        if self._reported >= rule.burst:
            self._unreported += 1
            self.counts["template_burst"] += 1
            return None
        self._reported += 1
        self._news[number] = _News(at, at, 1)
        return self._fires(number, at, began, max(chance, 0.0))

    def _fires(self, number: int, at: datetime, began: datetime, chance: float) -> TemplateFinding:
        template = self.template(number)
        unreported, self._unreported = self._unreported, 0
        more = f"; {unreported} more new ones since the last finding were not reported" if unreported else ""
        msg = (
            f"a line of a kind never seen before on this ship, in {self._lines} lines of {len(self)} kinds"
            f" since {clock_time(began.timestamp())}: {template.text[:MAX_TEXT]}{more}"
        )
        score = self.rule.novelty / (self.rule.novelty + chance)
        return TemplateFinding("firing", at, template, score, at, 1, unreported, msg)

    def rewind(self, at: datetime) -> None:
        """The clock was set back to `at`: quiet and the period count from there."""
        for news in self._news.values():
            news.last = min(news.last, at)
        if self._period_start is not None:
            self._period_start = min(self._period_start, at)

    @property
    def deadline(self) -> datetime | None:
        """When due() has something to say."""
        return min(news.last for news in self._news.values()) + self.rule.clear if self._news else None

    def due(self, at: datetime) -> list[TemplateFinding]:
        """What clears at the deadline `at`, in the order of the ids."""
        cleared = []
        for number, news in sorted(self._news.items()):
            if news.last + self.rule.clear > at:
                continue
            del self._news[number]
            template = self.template(number)
            msg = (
                f"no more lines since {clock_time(news.last.timestamp())}, {news.lines} in all: "
                f"{template.text[:MAX_TEXT]}"
            )
            cleared.append(TemplateFinding("cleared", at, template, 0.0, news.since, news.lines, 0, msg))
        return cleared

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data: each template's words, lines, id and hash, in the order they were found."""
        return {
            "v": SNAPSHOT_VERSION,
            "templates": [
                (" ".join(cluster.log_template_tokens), cluster.size, number, bytes.fromhex(self._first_hash[number]))
                for number, cluster in self._drain.id_to_cluster.items()
            ],
            "news": {number: (news.since, news.last, news.lines) for number, news in self._news.items()},
            "began": self._began,
            "lines": self._lines,
            "singles": self._singles,
            "period_start": self._period_start,
            "reported": self._reported,
            "unreported": self._unreported,
            "capped_at": self.capped_at,
        }

    @classmethod
    def restored(cls, rule: TemplateRule, state: dict[str, Any]) -> "Templates":
        """The templates of a snapshot; they then behave as if they had never stopped.

        Raises:
            ValueError: for a snapshot of another version.
        """
        if state["v"] != SNAPSHOT_VERSION:
            raise ValueError(f"templates: snapshot version {state['v']}, expected {SNAPSHOT_VERSION}; start afresh")
        self = cls(rule)
        for text, size, number, digest in state["templates"]:
            self._add(text.split(" ") if text else [], number, size)
            self._first_hash[number] = digest.hex()
        self._news = {number: _News(*news) for number, news in state["news"].items()}
        self._began = state["began"]
        self._lines = state["lines"]
        self._singles = state["singles"]
        self._period_start = state["period_start"]
        self._reported = state["reported"]
        self._unreported = state["unreported"]
        self.capped_at = state["capped_at"]
        return self
