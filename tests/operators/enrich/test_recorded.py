from pathlib import Path
from typing import Any, cast

from operators.clickhouse import Reader
from operators.enrich import ContextSource, RecordedContexts, record_contexts
from operators.enrich.asks import Asker
from operators.enrich.operator import Enricher
from policy.enrich import EnrichPolicy
from schemas.anomaly import AnomalyDetected, ContextData
from tests.support.make import anomaly


class NoReader:
    """A reader that must not be asked."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"asked for {name}")


def test_an_anomaly_gets_the_context_it_was_published_with(tmp_path: Path) -> None:
    plain = anomaly(1)
    detected = AnomalyDetected(**{name: getattr(plain, name) for name in AnomalyDetected.model_fields})
    known = ContextData(similar_7d=7, device_type="modem")
    then = Enricher({}).enrich(detected, known, "context without last incident: away")
    later = Enricher({}).enrich(detected, ContextData())
    path = tmp_path / "contexts.sqlite3"
    assert record_contexts(path, [then]) == 1
    assert record_contexts(path, [later]) == 1  # the first publication counts

    source = ContextSource(cast(Reader, NoReader()), EnrichPolicy(), recorded=RecordedContexts(path))
    found = source.at_once(Asker(detected, lambda anomaly, device_type: None))
    assert found is not None
    assert (found.context, found.missing) == (known, "context without last incident: away")
    assert Enricher({}).enrich(detected, *found) == then
