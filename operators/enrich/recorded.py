"""The context that anomalies had when they were first published, for a rebuild that must decide as then."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from operators.enrich.asks import Found
from schemas.anomaly import AnomalyEnriched, ContextData


def record_contexts(path: Path, anomalies: Iterable[AnomalyEnriched]) -> int:
    """Keep the context of published anomalies in a file, by anomaly; the first of each counts. Returns how many."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as store, store:
        store.execute("CREATE TABLE IF NOT EXISTS contexts (id TEXT PRIMARY KEY, context TEXT, missing TEXT)")
        rows = ((each.anomaly_id, each.context.model_dump_json(), each.error_msg) for each in anomalies)
        store.executemany("INSERT OR IGNORE INTO contexts VALUES (?, ?, ?)", rows)
        count: int = store.execute("SELECT count(*) FROM contexts").fetchone()[0]
    return count


class RecordedContexts:
    """Answers what was known about an anomaly when it was published. Reads a file; keeps nothing in memory."""

    def __init__(self, path: Path) -> None:
        self._store = sqlite3.connect(f"file:{path}?mode=ro", uri=True, check_same_thread=False)

    def found(self, anomaly_id: str) -> Found | None:
        """What it was published with; None for one that was not."""
        row = self._store.execute("SELECT context, missing FROM contexts WHERE id = ?", (anomaly_id,)).fetchone()
        return None if row is None else Found(ContextData.model_validate_json(row[0]), row[1])

    def close(self) -> None:
        """Close the file."""
        self._store.close()
