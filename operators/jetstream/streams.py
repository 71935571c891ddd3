"""The streams themselves: made when missing, compared when present, never changed behind anyone's back."""

import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import structlog

from operators.jetstream.background import background
from operators.jetstream.connection import (
    Backoff,
    JetStreamRefusedError,
    Link,
    NatsAwayError,
    NatsConfig,
    NatsError,
    open_link,
    sleep_unless,
)
from schemas.settings import StreamSettings

T = TypeVar("T")

_NANOSECONDS = 1_000_000_000
_STREAM_NOT_FOUND = 10059
_NAME_IN_USE = 10058
_NO_MESSAGE = 10037

log = structlog.get_logger()


@dataclass(frozen=True)
class StreamConflict:
    """One value of an existing stream that is not what the settings say."""

    stream: str
    setting: str
    wanted: str
    actual: str

    @property
    def remedy(self) -> str:
        """What to do about it."""
        if self.setting in ("storage", "retention"):
            return f"NATS cannot change this: back {self.stream} up, delete it and start again"
        return f"change the stream (nats stream edit {self.stream}), or the setting (WATCHKEEPER_STREAMS)"


@dataclass(frozen=True)
class StreamState:
    """What a stream holds: created as ISO UTC with microseconds; first > last means that it is empty."""

    name: str
    created: str
    first: int
    last: int


def ensure_streams(
    config: NatsConfig,
    table: Mapping[str, StreamSettings],
    *,
    wait_s: float | None = None,
    stop: threading.Event | None = None,
) -> list[StreamConflict]:
    """Create the streams that are missing and report those that differ; change none that exists.

    While NATS is away it tries again (0.2 s up to 5 s apart), with one line in the log each time,
    for at most wait_s seconds (None: for ever) or until stop is set.

    Raises:
        NatsError: when NATS refuses us or a stream, or the waiting ends without success.
    """
    return background().call(_until_there(config, partial(_ensure_once, config, table), wait_s, stop))


def stream_states(
    config: NatsConfig,
    names: Sequence[str],
    *,
    wait_s: float | None = None,
    stop: threading.Event | None = None,
) -> list[StreamState]:
    """What these streams hold now; waits for NATS, and raises, as ensure_streams does.

    Raises:
        NatsError: also when there is no such stream.
    """
    return background().call(_until_there(config, partial(_states_once, config, names), wait_s, stop))


async def _states_once(config: NatsConfig, names: Sequence[str]) -> list[StreamState]:
    link = await open_link(config, "watchkeeper-streams")
    try:
        return [await stream_state(link, name) for name in names]
    finally:
        await link.close()


async def _until_there(
    config: NatsConfig, once: Callable[[], Awaitable[T]], wait_s: float | None, stop: threading.Event | None
) -> T:
    """Do something once NATS is there."""
    backoff = Backoff()
    deadline = None if wait_s is None else time.monotonic() + wait_s
    while True:
        try:
            return await once()
        except NatsAwayError as error:
            pause_s = backoff.next_s()
            if deadline is not None and time.monotonic() + pause_s > deadline:
                raise NatsError(f"{error}; gave up after {wait_s:g} s") from error
            log.warning(f"{error}; trying again in {pause_s:.1f} s", nats_url=config.shown)
            await sleep_unless(stop, pause_s)
            if stop is not None and stop.is_set():
                raise NatsError(f"{error}; stopped while waiting for it") from error


async def _ensure_once(config: NatsConfig, table: Mapping[str, StreamSettings]) -> list[StreamConflict]:
    link = await open_link(config, "watchkeeper-streams")
    try:
        conflicts: list[StreamConflict] = []
        for name, wanted in table.items():
            conflicts += await _ensure_stream(link, name, wanted)
    finally:
        await link.close()
    for conflict in conflicts:
        log.warning(
            "stream differs from the settings",
            stream=conflict.stream,
            setting=conflict.setting,
            wanted=conflict.wanted,
            actual=conflict.actual,
            remedy=conflict.remedy,
        )
    return conflicts


async def _ensure_stream(link: Link, name: str, wanted: StreamSettings) -> list[StreamConflict]:
    info = await _info(link, name)
    if info is None:
        try:
            info = await link.api(f"STREAM.CREATE.{name}", stream_config(name, wanted))
            log.info("stream created", stream=name, subjects=list(wanted.subjects))
        except JetStreamRefusedError as error:
            # another process of ours may have made it in this very moment
            info = await _info(link, name) if error.err_code == _NAME_IN_USE else None
            if info is None:
                raise _refused(link, name, error) from error
    return compare(name, wanted, info["config"])


async def _info(link: Link, name: str) -> dict[str, Any] | None:
    """STREAM.INFO, or None when there is no such stream."""
    try:
        return await link.api(f"STREAM.INFO.{name}")
    except JetStreamRefusedError as error:
        if error.err_code == _STREAM_NOT_FOUND:
            return None
        raise _refused(link, name, error) from error


def _refused(link: Link, name: str, error: JetStreamRefusedError) -> Exception:
    where = f"stream {name} at {link.config.shown}"
    if error.code == 503 and "not enabled" not in error.description:
        return NatsAwayError(f"JetStream is not ready for {where} ({error.description})")
    remedy = {
        10065: "delete or change the other stream that takes the same subjects",
        10047: "raise max_file_store in the server's configuration, or lower max_bytes (WATCHKEEPER_STREAMS)",
        10039: "enable JetStream for this account",
        10076: "start nats-server with JetStream (-js)",
    }.get(error.err_code, "correct the server's configuration or WATCHKEEPER_STREAMS")
    return NatsError(f"{where}: {error.description} (err_code {error.err_code}); {remedy}")


def stream_config(name: str, wanted: StreamSettings) -> dict[str, Any]:
    """The JetStream configuration of one stream; times in nanoseconds, sizes in bytes."""
    return {
        "name": name,
        "subjects": list(wanted.subjects),
        "retention": "limits",
        "storage": "file",
        "max_age": wanted.max_age_s * _NANOSECONDS,
        "max_bytes": wanted.max_bytes,
        "max_msgs": -1,
        "max_consumers": -1,
        "max_msg_size": -1,
        "discard": wanted.discard,
        "duplicate_window": min(wanted.duplicate_window_s, wanted.max_age_s) * _NANOSECONDS,
        "allow_direct": True,
        "num_replicas": 1,
    }


def compare(name: str, wanted: StreamSettings, actual: Mapping[str, Any]) -> list[StreamConflict]:
    """What of an existing stream's configuration is not as wanted."""
    conflicts = []
    expected = stream_config(name, wanted)
    for setting in ("subjects", "retention", "storage", "max_age", "max_bytes", "discard", "duplicate_window"):
        want, have = expected[setting], actual.get(setting)
        if setting == "subjects":
            want, have = sorted(want), sorted(have or [])
        if want != have:
            conflicts.append(StreamConflict(name, setting, _shown(setting, want), _shown(setting, have)))
    return conflicts


def _shown(setting: str, value: Any) -> str:
    if setting in ("max_age", "duplicate_window") and isinstance(value, int):
        return f"{value / _NANOSECONDS:g} s"
    if setting == "subjects":
        return " ".join(value)
    return str(value)


async def stream_state(link: Link, name: str) -> StreamState:
    """What a stream holds now.

    Raises:
        NatsError: when there is no such stream, or JetStream refuses to say.
        NatsAwayError: when NATS does not answer.
    """
    info = await _info(link, name)
    if info is None:
        raise NatsError(
            f"stream {name} does not exist at {link.config.shown}: it was deleted, or this is another server; "
            "correct NATS_URL, or restart to have the stream created"
        )
    state = info["state"]
    return StreamState(name, iso_created(info["created"]), int(state["first_seq"]), int(state["last_seq"]))


async def first_since(link: Link, name: str, moment: datetime) -> int:
    """The sequence of the first message stored at that time or later; after the last one when there is none.

    Raises:
        NatsError, NatsAwayError: as stream_state does.
    """
    config = {
        "deliver_policy": "by_start_time",
        "opt_start_time": moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "ack_policy": "none",
        "mem_storage": True,
        "num_replicas": 1,
        "inactive_threshold": 5 * _NANOSECONDS,
    }
    try:
        answer = await link.api(f"CONSUMER.CREATE.{name}", {"stream_name": name, "config": config})
        await link.api(f"CONSUMER.DELETE.{name}.{answer['name']}")
    except JetStreamRefusedError as error:
        raise _refused(link, name, error) from error
    return int(answer["delivered"]["stream_seq"]) + 1


async def stored_at(link: Link, name: str, sequence: int) -> datetime | None:
    """When the message of that sequence was stored (cut to microseconds); None when there is none.

    Raises:
        NatsAwayError: when NATS does not answer.
    """
    try:
        answer = await link.api(f"STREAM.MSG.GET.{name}", {"seq": sequence})
    except JetStreamRefusedError as error:
        if error.err_code == _NO_MESSAGE:
            return None
        raise _refused(link, name, error) from error
    return datetime.fromisoformat(answer["message"]["time"]).astimezone(UTC)


def iso_created(created: str) -> str:
    """JetStream's creation time as ISO UTC with microseconds.

    >>> iso_created("2026-01-01T02:00:00.123456789+02:00")
    '2026-01-01T00:00:00.123456+00:00'
    >>> iso_created("2026-01-01T00:00:00Z")
    '2026-01-01T00:00:00.000000+00:00'
    """
    moment = datetime.fromisoformat(created)
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
