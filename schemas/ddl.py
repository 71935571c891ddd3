"""The ClickHouse schema: numbered SQL files, their placeholders, and what they say about retention."""

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

FOLDER: Final = Path(__file__).parent / "clickhouse"
MAX_DAYS: Final = 10_000
"""TTLs count in DateTime, which ends in 2106: a row that would outlive it would expire at once."""

DATABASE_PATTERN: Final = r"[a-zA-Z_][a-zA-Z0-9_]*"

_FILE = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_TABLE = re.compile(r"CREATE TABLE IF NOT EXISTS \{database\}\.([a-z_]+)")
_TTL = re.compile(r"^TTL (.+)$", re.MULTILINE)


class Migration(NamedTuple):
    """One numbered file: its statements in order, placeholders still in them."""

    version: int
    name: str
    statements: tuple[str, ...]


@lru_cache(maxsize=4)
def migrations(folder: Path = FOLDER) -> tuple[Migration, ...]:
    """The files in the order of their numbers.

    >>> [migration.version for migration in migrations()][:2]
    [1, 2]

    Raises:
        ValueError: for a file of another name, or a number that is missing or there twice.
    """
    found = []
    for path in sorted(folder.glob("*.sql")):
        match = _FILE.fullmatch(path.name)
        if match is None:
            raise ValueError(f"{path}: expected a name such as 0005_what_it_does.sql")
        found.append(Migration(int(match[1]), match[2], _statements(path.read_text(encoding="utf-8"))))
    versions = [migration.version for migration in found]
    if not found or versions != list(range(1, len(found) + 1)):
        raise ValueError(f"{folder}: found versions {versions}, expected 1, 2, 3 … without a gap")
    return tuple(found)


def _statements(text: str) -> tuple[str, ...]:
    """Statements end with a semicolon at the end of a line; lines of comment are left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    parts = re.split(r";[ \t]*(?:\n|$)", "\n".join(lines))
    return tuple(part.strip() for part in parts if part.strip())


def latest_version() -> int:
    """The schema version of this code."""
    return migrations()[-1].version


def retention_names() -> frozenset[str]:
    """The placeholders that retention must fill.

    >>> "logs_days" in retention_names()
    True
    """
    texts = (statement for migration in migrations() for statement in migration.statements)
    return frozenset(name for text in texts for name in _PLACEHOLDER.findall(text)) - {"database"}


def values_of(database: str, retention: Mapping[str, int]) -> dict[str, str]:
    """The placeholders' values, checked: a plain identifier, and whole days from 1 to 10000.

    Raises:
        ValueError: naming what is wrong or missing.
    """
    if re.fullmatch(DATABASE_PATTERN, database) is None:
        raise ValueError(f"database is {database!r}, expected letters, digits and _, for example watchkeeper")
    values = {"database": database}
    for name in sorted(retention_names()):
        days = retention.get(name)
        if not isinstance(days, int) or isinstance(days, bool) or not 1 <= days <= MAX_DAYS:
            raise ValueError(f"retention.{name} is {days!r}, expected whole days from 1 to {MAX_DAYS}")
        values[name] = str(days)
    return values


def render(statement: str, values: Mapping[str, str]) -> str:
    """The statement with its placeholders filled."""
    return _PLACEHOLDER.sub(lambda match: values[match[1]], statement)


def table_ttls(values: Mapping[str, str]) -> dict[str, str]:
    """The TTL expression that each table should have; tables that keep everything are not in it."""
    ttls = {}
    for migration in migrations():
        for statement in migration.statements:
            table, ttl = _TABLE.match(statement), _TTL.search(statement)
            if table is not None and ttl is not None:
                ttls[table[1]] = render(ttl[1].strip(), values)
    return ttls
