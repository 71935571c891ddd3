"""chDB as an engine for requests of ClickHouse's HTTP interface: one statement, one answer."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final

import chdb

from compose.locks import ComposeError

_INSERT_DATA = re.compile(
    rb"\s*(INSERT\s+INTO\s.*?)\s+FORMAT\s+(\w+)[ \t]*;?[ \t]*(?:\r?\n|$)", re.IGNORECASE | re.DOTALL
)
_SETTINGS_CLAUSE = re.compile(rb"\sSETTINGS\s+(.+)$", re.IGNORECASE | re.DOTALL)
_INSERT_ELSE = re.compile(rb"\b(SELECT|WITH|VALUES|INFILE)\b", re.IGNORECASE)
_ANSWERS = re.compile(
    rb"(?:\s|--[^\n]*\n|/\*.*?\*/|\()*(SELECT|WITH|SHOW|DESCRIBE|DESC|EXISTS|EXPLAIN|CHECK)\b", re.I | re.S
)
_FORMAT = re.compile(rb"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
_CODE = re.compile(r"Code: (\d+)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

STATEMENT_BYTES: Final = 256 * 1024
"""The statement of an insert is looked for in so many bytes from the beginning."""

_TRANSPORT: Final = frozenset(
    {
        "query",
        "database",
        "default_format",
        "user",
        "password",
        "session_id",
        "session_timeout",
        "session_check",
        "query_id",
        "quota_key",
        "compress",
        "decompress",
        "wait_end_of_query",
        "client_protocol_version",
        "role",
        "send_progress_in_http_headers",
        "buffer_size",
        "http_headers_progress_interval_ms",
        "enable_http_compression",
        "http_zlib_compression_level",
    }
)
"""Parameters of the HTTP interface itself, which are no settings of the engine."""

_BAD_REQUEST: Final = frozenset({6, 26, 27, 36, 38, 41, 42, 43, 46, 47, 53, 62, 70, 72, 115, 117, 386, 456, 457, 469})
_NOT_FOUND: Final = frozenset({60, 81})


class EngineError(Exception):
    """What chDB answered instead of a result; code is ClickHouse's own number."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code

    @property
    def status(self) -> int:
        """The HTTP status that ClickHouse gives for this code."""
        return 404 if self.code in _NOT_FOUND else 400 if self.code in _BAD_REQUEST else 500


@dataclass(frozen=True)
class Statement:
    """One statement; data are the rows of an insert, encoded in data_format."""

    sql: bytes
    data: bytes | None = None
    data_format: str = ""
    result_format: str = "TabSeparated"
    database: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    readonly: bool = False

    @classmethod
    def of(cls, query: Mapping[str, str], body: bytes, *, readonly: bool, default_format: str = "") -> "Statement":
        """Read a request: its statement is the parameter query, the body, or the first followed by the second.

        Raises:
            EngineError: when there is no statement, or a name that cannot be one.
        """
        head = query.get("query", "").encode()
        found = _INSERT_DATA.match((head or body)[:STATEMENT_BYTES])
        known: dict[str, Any] = {
            "database": query.get("database", ""),
            "settings": {key: value for key, value in query.items() if _is_setting(key)},
            "parameters": {key[6:]: value for key, value in query.items() if key.startswith("param_")},
            "readonly": readonly,
        }
        if found is not None and _INSERT_ELSE.search(found[1]) is None:
            sql, inline = _without_settings(found[1])
            data = (head[found.end() :] + body) if head else body[found.end() :]
            known["settings"] = inline | known["settings"]
            return cls(sql, data, found[2].decode(), **known)
        sql = b"\n".join(part for part in (head, body) if part)
        if not sql.strip():
            raise EngineError("Code: 62. DB::Exception: Empty query: send it as parameter query or as the body", 62)
        embedded = _FORMAT.search(sql)
        chosen = embedded[1].decode() if embedded else query.get("default_format") or default_format or "TabSeparated"
        return cls(sql, result_format=chosen, **known)

    @property
    def answers(self) -> bool:
        """Whether this kind of statement gives a result, be it empty."""
        return self.data is None and (_ANSWERS.match(self.sql) is not None or _FORMAT.search(self.sql) is not None)


def _is_setting(key: str) -> bool:
    if key in _TRANSPORT or key.startswith("param_"):
        return False
    if _NAME.fullmatch(key) is None:
        raise EngineError(f"Code: 115. DB::Exception: Unknown setting {key!r}", 115)
    return True


def _without_settings(insert: bytes) -> tuple[bytes, dict[str, str]]:
    """The insert without its SETTINGS clause, and what that says."""
    clause = _SETTINGS_CLAUSE.search(insert)
    if clause is None:
        return insert, {}
    pairs = (part.partition("=") for part in clause[1].decode().split(","))
    return insert[: clause.start()], {key.strip(): value.strip().strip("'") for key, _, value in pairs}


@dataclass(frozen=True)
class Answer:
    """A result as bytes in its format; format is None for a statement that gives none."""

    data: bytes
    format: str | None
    summary: dict[str, str]


class Engine:
    """One chDB folder. Every statement runs on a connection of its own (0.1 ms), so nothing leaks between them.

    Thread-safe. A folder belongs to one process, and a process has one folder.

    Raises:
        ComposeError: when the folder cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = str(path.resolve())
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._anchor = chdb.connect(self._path)
        except (OSError, RuntimeError, chdb.ChdbError) as error:
            raise ComposeError(
                f"chDB cannot open {self._path}: {error}. One process may have it open at a time."
            ) from error
        self.timezone = str(self._anchor.query("SELECT timezone()", "TSVRaw")).strip()

    def close(self) -> None:
        """Close the folder."""
        self._anchor.close()

    def run(self, statement: Statement) -> Answer:
        """Run one statement to its end.

        Raises:
            EngineError: when chDB refuses it.
        """
        connection = chdb.connect(self._path)
        try:
            if statement.database:
                connection.query(f"USE {_identifier(statement.database)}", "Null")
            for key, value in statement.settings.items():
                connection.query(f"SET {key} = {_literal(value)}", "Null")
            if statement.readonly:
                connection.query("SET readonly = 2", "Null")
            return _insert(connection, statement) if statement.data is not None else _query(connection, statement)
        except (RuntimeError, chdb.ChdbError) as error:
            text = str(error)
            code = _CODE.search(text)
            raise EngineError(text[text.find("Code: ") :] if code else text, int(code[1]) if code else 1002) from error
        finally:
            connection.close()


def _insert(connection: Any, statement: Statement) -> Answer:
    """Insert through a file: chDB's own streaming insert does not report a constraint that is violated."""
    with NamedTemporaryFile(prefix="watchkeeper-", suffix=".insert") as file:
        file.write(statement.data or b"")
        file.flush()
        sql = f"{statement.sql.decode()} FROM INFILE {_literal(file.name)} FORMAT {statement.data_format}"
        result = connection.query(sql, "Null")
    summary = {"written_rows": str(result.rows_read()), "written_bytes": str(result.bytes_read())}
    return Answer(b"", None, summary)


def _query(connection: Any, statement: Statement) -> Answer:
    result = connection.query(statement.sql.decode(), statement.result_format, params=statement.parameters)
    summary = {"read_rows": str(result.rows_read()), "read_bytes": str(result.bytes_read())}
    return Answer(result.bytes() or b"", statement.result_format if statement.answers else None, summary)


def _identifier(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _literal(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
