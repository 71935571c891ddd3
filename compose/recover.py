"""recover: a flow's state anew, by reading its streams again from a chosen point."""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, Literal

import structlog

from compose.flow_part import FlowPart
from compose.health import by_stream
from compose.launch import FlowName, stop_on_signals
from compose.locks import FileLock
from compose.published import Contexts, OpenIncident, OpenIncidents, look_through
from compose.recovery import make_store, recovery_lock
from compose.system import System, Wake
from operators.enrich import record_contexts
from operators.jetstream import NatsConfig, StreamState, ensure_streams, open_link, stream_state
from operators.jetstream.connection import Link
from operators.jetstream.streams import first_since, stored_at
from operators.rebuild import contexts_of, write_rebuild
from schemas.settings import Settings, SettingsError

LOG: Final = "TELEMETRY"
STILL_S: Final = 0.5
NATS_WAIT_S: Final = 30.0

Start = int | datetime | Literal["first"]

log = structlog.get_logger()


class RecoverError(SettingsError):
    """The state cannot be rebuilt as asked; the message says why."""


@dataclass(frozen=True)
class Beginning:
    """Where a stream is read from: its first message there, when that arrived, and the first one it still has."""

    sequence: int
    kept: int
    last: int
    at: datetime | None

    @property
    def is_cut(self) -> bool:
        """Whether earlier messages existed and are not read again."""
        return self.sequence > 1

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to read."""
        return self.sequence > self.last


@dataclass(frozen=True)
class Rebuilt:
    """What became of it. moved: where the old store is now. lost: open incidents that began before the start."""

    moved: Path | None
    starts: Mapping[str, Beginning]
    finished: bool
    read: int
    published: int
    skipped: int
    unclaimed: Mapping[str, int]
    lost: tuple[OpenIncident, ...]


def recover(flow: FlowName, settings: Settings, start: Start, progress: Callable[[int, int], None]) -> Rebuilt:
    """Move the flow's recovery store aside, and rebuild its state by reading its streams again up to now.

    What is published already is not published again: ids follow from the log, and the sink reads its
    streams back. Anomalies get the context that they were published with. Interrupted (a signal, a
    crash), the next start of the flow goes on with it. progress is told how many messages are read, of
    how many. Must be called from the main thread. At least once, in effect once.

    Raises:
        RecoverError: for a start that the streams do not have.
        AlreadyRunningError: while the flow runs.
        NatsError, PartEndedError: when NATS, or the flow, fails.
    """
    wake = Wake()
    stop_on_signals(wake.ask_to_end)
    with ExitStack() as stack:
        settings = _addresses(settings, stack, wake)
        ensure_streams(NatsConfig.of(settings), settings.stream_table(), wait_s=NATS_WAIT_S, stop=wake.event)
        folder = settings.recovery_dir(flow)
        with recovery_lock(folder):
            starts = asyncio.run(_beginnings(flow, settings, start))
            moved = make_store(folder, partial(_fill, flow, settings, start, starts))
        return _replay(flow, settings, moved, starts, wake, progress)


def _addresses(settings: Settings, stack: ExitStack, wake: Wake) -> Settings:
    """The settings with the embedded servers' addresses, where `watchkeeper up` has kept its streams here."""
    data = settings.data_dir.resolve()
    if "nats_url" in settings.model_fields_set or not (data / "nats" / "store").exists():
        return settings
    stack.enter_context(FileLock(data / ".lock", f"the data folder {data}"))
    return System(settings, stack, wake).embed(data, None)


def _streams_of(flow: FlowName, settings: Settings) -> list[str]:
    """The streams that a flow reads."""
    known: dict[str, list[str]] = {"vessel": [LOG], "detect": [LOG], "correlate": ["ANOMALIES"]}
    return known.get(flow) or list(settings.stream_table())


async def _beginnings(flow: FlowName, settings: Settings, start: Start) -> dict[str, Beginning]:
    names = _streams_of(flow, settings)
    if isinstance(start, int) and len(names) > 1:
        raise RecoverError(f"the {flow} flow reads {len(names)} streams: give a time or `first`, not a sequence")
    link = await open_link(NatsConfig.of(settings), "watchkeeper-recover")
    try:
        return {name: await _beginning(link, await stream_state(link, name), start) for name in names}
    finally:
        await link.close()


async def _beginning(link: Link, state: StreamState, start: Start) -> Beginning:
    sequence = state.first
    if isinstance(start, datetime):
        sequence = await first_since(link, state.name, start)
    elif isinstance(start, int):
        if not state.first <= start <= state.last:
            raise RecoverError(
                f"stream {state.name} at {link.config.shown} holds {state.first} to {state.last}, not {start}: "
                "give a sequence among them, a time, or `first`"
            )
        sequence = start
    at = await stored_at(link, state.name, sequence) if 1 <= sequence <= state.last else None
    return Beginning(max(1, sequence), state.first, state.last, at)


def _fill(flow: FlowName, settings: Settings, start: Start, starts: Mapping[str, Beginning], fresh: Path) -> None:
    """Tell the flow where to begin, and what was known then. (`first` is what is the first when it begins.)"""
    write_rebuild(fresh, {} if start == "first" else {name: each.sequence for name, each in starts.items()})
    if flow in ("vessel", "correlate"):
        asyncio.run(_record(settings, fresh))


async def _record(settings: Settings, folder: Path) -> None:
    """Keep the context that anomalies were published with: what ClickHouse says by now would decide otherwise."""
    contexts = Contexts(partial(record_contexts, contexts_of(folder)))
    link = await open_link(NatsConfig.of(settings), "watchkeeper-recover")
    try:
        await look_through(link, "ANOMALIES", contexts.look)
    finally:
        await link.close()
    contexts.flush()
    log.info("contexts_kept", anomalies=contexts.count)


def _replay(
    flow: FlowName,
    settings: Settings,
    moved: Path | None,
    starts: Mapping[str, Beginning],
    wake: Wake,
    progress: Callable[[int, int], None],
) -> Rebuilt:
    ended = threading.Event()
    part = FlowPart(flow, settings, ended.set).start()
    total = sum(max(0, each.last - each.sequence + 1) for each in starts.values())
    try:
        finished = _caught_up(part, starts, wake, lambda: progress(_count(part, "messages_in"), total))
    finally:
        error = part.stop()
    if error is not None:
        raise error
    unclaimed = {name: int(count) for name, count in by_stream(part.state.metrics.publish_unclaimed).items() if count}
    lost = _lost(flow, settings, starts)
    counts = [_count(part, name) for name in ("messages_in", "published", "publish_skipped")]
    return Rebuilt(moved, starts, finished, counts[0], counts[1], counts[2], unclaimed, lost)


def _caught_up(part: FlowPart, starts: Mapping[str, Beginning], wake: Wake, tell: Callable[[], None]) -> bool:
    """Wait until every stream that holds something is read to its end; False when somebody asked to end."""
    wanted = {name for name, each in starts.items() if each.sequence <= each.last}
    still_since: float | None = None
    while not wake.asked:
        part.check()
        tell()
        lag = part.state.lag()
        now = time.monotonic()
        if not part.state.ready()[0] or not wanted <= lag.keys() or any(lag.values()):
            still_since = None
        elif still_since is None:
            still_since = now
        elif now - still_since >= STILL_S:
            return True
        wake.event.wait(0.05)
        wake.event.clear()
    return False


def _count(part: FlowPart, name: str) -> int:
    metric = getattr(part.state.metrics, name)
    return int(sum(each.value for found in metric.collect() for each in found.samples if each.name.endswith("_total")))


def _lost(flow: FlowName, settings: Settings, starts: Mapping[str, Beginning]) -> tuple[OpenIncident, ...]:
    """Incidents that are open by what was told of them, and began before the start: the state knows nothing of them."""
    if flow not in ("vessel", "correlate"):
        return ()
    incidents = OpenIncidents()

    async def look() -> None:
        link = await open_link(NatsConfig.of(settings), "watchkeeper-recover")
        try:
            await look_through(link, "INCIDENTS", incidents.look)
        finally:
            await link.close()

    asyncio.run(look())
    [begins] = [each.at for each in starts.values()]
    return tuple(each for each in incidents.open.values() if begins is None or each.opened_at < begins)
