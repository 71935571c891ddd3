"""One look for some anomalies: memory first, ClickHouse for the rest, one query a question."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import structlog

from operators.clickhouse import ClickHouseAwayError, ClickHouseError, Reader
from operators.enrich.asks import Ask, Asker, Found, Key, groups
from operators.enrich.cache import MISSING, TtlCache
from operators.enrich.questions import DEVICE, QUESTIONS, Answer, Question
from schemas.anomaly import ContextData

log = structlog.get_logger()


class Round:
    """What is known for some anomalies, and why the rest is not. State: the answers of this round."""

    def __init__(self, caches: Mapping[str, TtlCache]) -> None:
        self._caches = caches
        self._answers: dict[tuple[str, Ask], Answer] = {}
        self._problems: dict[str, str] = {}

    def ask(self, question: Question, reader: Reader, wanted: Mapping[Ask, Sequence[Ask]]) -> None:
        """Ask one question for all who want it; what ClickHouse refuses becomes the reason why it is missing.

        Questions may be asked in threads, each in one.

        Raises:
            ClickHouseAwayError: when it is away.
        """
        try:
            for group in groups(wanted, of_one_time=question.grain_s is not None):
                for ask, answer in zip(group, question.ask(reader, group), strict=True):
                    self._caches[question.name].put(*ask, answer)
                    for each in (ask, *wanted[ask]):
                        self._answers[question.name, each] = answer
        except ClickHouseAwayError:
            raise
        except ClickHouseError as error:
            self._problems[question.name] = str(error)
            log.warning("context_query_failed", question=question.name, error=str(error))

    def wanted(self, question: Question, askers: Sequence[Asker]) -> dict[Ask, list[Ask]]:
        """What memory does not know, with who else wants it; asks about one thing within its time share one answer."""
        cache = self._caches[question.name]
        near = timedelta(seconds=cache.ttl_s)
        wanted: dict[Ask, list[Ask]] = {}
        last: dict[Key, Ask] = {}
        for asker in map(self._typed, askers):
            ask = question.of(asker)
            if ask is None or self._recall(question, ask) is not MISSING:
                continue
            shared = last.get(ask.key)
            if shared is not None and abs(shared.at - ask.at) <= near:
                wanted[shared].append(ask)
            elif ask not in wanted:
                wanted[ask] = []
                last[ask.key] = ask
        return wanted

    def _typed(self, asker: Asker) -> Asker:
        """With the type of its device, where that is known by now."""
        ask = DEVICE.of(asker)
        if ask is None or (answer := self._recall(DEVICE, ask)) is MISSING:
            return asker
        return asker._replace(device_type=DEVICE.fields(answer, asker).get("device_type"))

    def _recall(self, question: Question, ask: Ask) -> Any:
        found = self._answers.get((question.name, ask), MISSING)
        if found is MISSING:
            found = self._caches[question.name].get(*ask)
            if found is not MISSING:
                self._answers[question.name, ask] = found
        return found

    def found(self, asker: Asker, why: str) -> Found:
        """The context of one anomaly; why: the reason for what nobody has asked or answered."""
        fields: dict[str, Any] = {}
        missing: dict[str, list[str]] = {}
        asker = self._typed(asker)
        for question in QUESTIONS:
            ask = question.of(asker)
            if ask is None:
                continue
            answer = self._recall(question, ask)
            if answer is MISSING:
                missing.setdefault(self._problems.get(question.name, why), []).append(question.says)
            else:
                fields.update(question.fields(answer, asker))
        told = "; ".join(f"context without {', '.join(names)}: {reason}" for reason, names in missing.items())
        return Found(ContextData(**fields), told or None)
