"""What can go wrong with ClickHouse, in words that say what to do."""

from typing import Final

from clickhouse_connect.driver.exceptions import DatabaseError, DataError, OperationalError, ProgrammingError

AUTH_CODES: Final = frozenset({192, 193, 194, 497, 516})
UNKNOWN_DATABASE: Final = 81
UNKNOWN_TABLE: Final = 60
TOO_LONG_CODES: Final = frozenset({159, 160, 241, 307, 396})
OVERLOAD_CODES: Final = frozenset({202, 203, 241, 252, 439})
DISK_CODES: Final = frozenset({76, 243})

VALUE_CODES: Final = frozenset({6, 26, 27, 38, 41, 69, 70, 72, 117, 128, 131, 321, 349, 376, 407, 469, 691})
"""Codes with which ClickHouse refuses a value (parse, range, constraint), never the connection or the table."""


class ClickHouseError(RuntimeError):
    """ClickHouse is broken, away or misconfigured; the message says what, where and what to do."""


class ClickHouseAwayError(ClickHouseError):
    """ClickHouse cannot be reached or cannot take this now; trying again may help."""


class ClickHouseQueryError(ClickHouseError):
    """ClickHouse refused a query; code is its own number, None when it gave none."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class QueryTooBigError(ClickHouseQueryError):
    """A query took longer, or gave more, than a reader may ask for."""


class SchemaError(ClickHouseError):
    """The database's schema and this code do not fit."""


def brief(error: BaseException) -> str:
    """The first line of what an exception says, at most 300 characters."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]


def _root(error: BaseException) -> str:
    """What the operating system said, deep inside what libraries made of it; else what the error says."""
    inner: BaseException | None = error
    while inner is not None:
        if type(inner).__module__ == "builtins" and isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
        inner = inner.__cause__ or inner.__context__
    return brief(error)


def refused_value(error: Exception) -> bool:
    """Whether a row's value is at fault: the client could not encode it, or the server refused it."""
    if isinstance(error, DataError):
        return True
    if isinstance(error, DatabaseError):
        return getattr(error, "code", None) in VALUE_CODES
    return isinstance(error, TypeError | ValueError | OverflowError | AttributeError)


def explain(error: Exception, shown: str, database: str | None) -> ClickHouseError:
    """The error in our words: what, where, what to do; one that trying again may cure is a ClickHouseAwayError."""
    code = getattr(error, "code", None)
    cause = brief(error)
    if code in AUTH_CODES:
        return ClickHouseAwayError(
            f"ClickHouse at {shown} refused us ({cause}): correct user and password in CLICKHOUSE_DSN"
        )
    if code in (UNKNOWN_DATABASE, UNKNOWN_TABLE):
        return ClickHouseAwayError(
            f"ClickHouse at {shown} has no database {database or ''} or table yet ({cause}): "
            "start the archive flow, which creates them"
        )
    if code in DISK_CODES:
        return ClickHouseAwayError(
            f"ClickHouse at {shown} cannot write ({cause}): free disk space, "
            "check that no other process has this folder open"
        )
    if code in OVERLOAD_CODES:
        return ClickHouseAwayError(
            f"ClickHouse at {shown} is overloaded ({cause}): give it more memory or disk, or wait"
        )
    if isinstance(error, ProgrammingError) and "chdb" in cause.lower():
        return ClickHouseAwayError(
            f"{cause}: chDB opens one folder a process and one process a folder; correct CLICKHOUSE_DSN"
        )
    if isinstance(error, OperationalError | OSError):
        return ClickHouseAwayError(
            f"ClickHouse at {shown} cannot be reached ({_root(error)}): start it, or correct CLICKHOUSE_DSN"
        )
    return ClickHouseQueryError(f"ClickHouse at {shown} refused a statement ({cause})", code)
