"""The half of the sink that lives on the background loop: connects, reads back, publishes, resends."""

import asyncio
import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog
from nats.aio.msg import Msg
from nats.errors import Error as ClientError

from operators.jetstream.connection import (
    Backoff,
    Link,
    NatsAwayError,
    NatsConfig,
    NatsError,
    open_link,
    wait_event,
)
from operators.jetstream.outbox import Item, Outbox
from operators.jetstream.readback import read_ids
from operators.jetstream.streams import stream_state
from operators.observability import FlowMetrics
from schemas.event import Outgoing

IN_FLIGHT = 512
ACK_TIMEOUT_S = 5.0
LEFTOVERS_S = 86_400.0

_CHAIN_BROKEN = (10070, 10071, 10164)
_TOO_LARGE = 10054
_LARGEST = 2**63
_SUBJECT = re.compile(r"[^\s.*>]+(\.[^\s.*>]+)*")

log = structlog.get_logger()


class Publisher:
    """Publishes one stream's messages in order, each once, whatever happens to the connection.

    The worker's thread appends to incoming and calls wake on the loop; it reads finished, progress_at,
    sequence and problem, and waits on changed. Everything else belongs to the loop's thread.
    """

    def __init__(
        self,
        config: NatsConfig,
        stream: str,
        sequence: int,
        *,
        metrics: FlowMetrics,
        clock: Callable[[], datetime],
    ) -> None:
        self.incoming: deque[Outgoing] = deque()
        self.changed = threading.Condition()
        self.finished = 0
        self.progress_at = time.monotonic()
        self.sequence = sequence
        self.problem: str | None = None
        self._config = config
        self._stream = stream
        self._clock = clock
        self._box = Outbox(sequence)
        self._end = asyncio.Event()
        self._work = asyncio.Event()
        self._heard_at = time.monotonic()
        self._backoff = Backoff(first_s=0.1)
        self._failed = False
        self._longest_id = ""
        self._link: Link | None = None
        self._inbox = ""
        self._claimed_at = time.monotonic()
        self._fast_path = metrics.fast_path
        self._published = metrics.published.labels(stream=stream)
        self._skipped = metrics.publish_skipped.labels(stream=stream)
        self._unclaimed = metrics.publish_unclaimed.labels(stream=stream)
        self._retries = metrics.publish_retries.labels(stream=stream)
        self._refused = metrics.publish_refused.labels(stream=stream)

    def wake(self) -> None:
        """Look for work. Only on the loop."""
        self._work.set()

    def finish(self) -> None:
        """End run() soon, whether or not everything is published. Only on the loop."""
        self._end.set()
        self._work.set()

    async def run(self) -> None:
        """Publish until finish().

        Raises:
            NatsError: when NATS refuses us.
        """
        try:
            while not self._end.is_set():
                try:
                    await self._connect_and_serve()
                except NatsAwayError as error:
                    await self._pause(str(error))
        finally:
            with self.changed:
                self.changed.notify_all()

    async def _connect_and_serve(self) -> None:
        link = await open_link(self._config, f"watchkeeper-publish-{self._stream}")
        self._link = link
        try:
            self._inbox = link.client.new_inbox()
            await link.client.subscribe(
                f"{self._inbox}.*", cb=self._on_reply, pending_msgs_limit=0, pending_bytes_limit=0
            )
            self._box.failed()
            while not self._end.is_set():
                await self._serve(link)
        except ClientError as error:
            raise NatsAwayError(f"NATS at {self._config.shown}: {error}") from error
        finally:
            self._link = None
            await link.close()

    async def _serve(self, link: Link) -> None:
        """One turn: be in sync, send what there is room for, wait for something to happen."""
        if not self._box.in_sync:
            await self._sync(link)
        self._accept(link.client.max_payload)
        await self._send(link)
        self._work.clear()
        if not self._end.is_set() and not self.incoming:
            await self._wait()
        if link.closed.is_set():
            raise NatsAwayError(f"NATS at {self._config.shown} closed the connection ({link.last_problem})")
        if self._box.flying and time.monotonic() - self._heard_at > ACK_TIMEOUT_S:
            raise NatsAwayError(f"no acknowledgement for {ACK_TIMEOUT_S:g} s ({link.last_problem or 'no error'})")
        if self._failed:
            self._failed = False
            await self._pause(self.problem or "refused")

    async def _wait(self) -> None:
        await wait_event(self._work, 0.5)
        if self._box.leftovers and time.monotonic() - self._claimed_at > LEFTOVERS_S:
            self._box.forget_leftovers()
            self._unclaimed.set(0)
            self.sequence = self._box.safe_sequence

    async def _pause(self, problem: str) -> None:
        """Say what is wrong, and wait a little before the next try."""
        self.problem = problem
        pause_s = self._backoff.next_s()
        log.warning(f"{problem}; trying again in {pause_s:.1f} s", stream=self._stream, waiting=len(self._box))
        await wait_event(self._end, pause_s)

    async def _sync(self, link: Link) -> None:
        """Read back what the stream holds after what we know of it (by itself that is no progress)."""
        box = self._box
        try:
            state = await stream_state(link, self._stream)
        except NatsError as error:
            raise NatsAwayError(str(error)) from error
        if box.scanned > state.last:
            log.error(
                "stream ends before what was published to it: it was recreated or restored from an older copy",
                stream=self._stream,
                last=state.last,
                published=box.scanned,
            )
            box.lost()
        last = await read_ids(link, self._stream, box.scanned, state.last, box.saw, self._progress)
        for item in box.synced((), last):
            self._finished(item)
        self._unclaimed.set(box.leftovers)
        self._claimed_at = time.monotonic()
        self.sequence = box.safe_sequence

    def _accept(self, max_payload: int) -> None:
        """Queue what the worker has handed over; skip what an earlier run has published."""
        skipped = refused = 0
        while self.incoming:
            outgoing = self.incoming.popleft()
            if len(outgoing.msg_id) > len(self._longest_id):
                self._longest_id = outgoing.msg_id
            # whatever the chain will have it name
            size = len(outgoing.data) + _header_size(_headers(outgoing, _LARGEST, self._longest_id))
            if _SUBJECT.fullmatch(outgoing.subject) is None:
                self._refuse(outgoing, f"subject {outgoing.subject!r} is no NATS subject")
                refused += 1
            elif size > max_payload:
                self._refuse(outgoing, f"{size} bytes with headers, the server takes {max_payload} (max_payload)")
                refused += 1
            elif not self._box.add(outgoing):
                skipped += 1
        if skipped:
            self._unclaimed.set(self._box.leftovers)
            self._skipped.inc(skipped)
            self._claimed_at = time.monotonic()
        if skipped or refused:
            self._progress(skipped + refused)

    async def _send(self, link: Link) -> None:
        round_ = self._box.round
        items = self._box.take(IN_FLIGHT)
        if items and self._box.flying == len(items):
            self._heard_at = time.monotonic()
        for item in items:
            if self._box.round != round_:
                return
            if item.tries > 1:
                self._retries.inc()
            reply = f"{self._inbox}.{round_}-{item.number}"
            outgoing = item.outgoing
            headers = _headers(outgoing, item.expect, item.follows)
            await link.client.publish(outgoing.subject, outgoing.data, reply=reply, headers=headers)

    async def _on_reply(self, msg: Msg) -> None:
        round_, number = (int(part) for part in msg.subject.rpartition(".")[2].split("-"))
        answer: dict[str, Any] = {}
        self._heard_at = time.monotonic()
        if (msg.headers or {}).get("Status") == "503":
            answer["error"] = {"code": 503, "description": "no stream takes this subject, or JetStream is away"}
        else:
            answer = json.loads(msg.data)
        if "error" not in answer:
            item = self._box.acked(number, int(answer["seq"]), duplicate=bool(answer.get("duplicate")))
            if item is not None:
                self._finished(item)
                self._backoff.reset()
            self._work.set()
        elif round_ == self._box.round:
            self._on_refusal(number, answer["error"])

    def _on_refusal(self, number: int, error: dict[str, Any]) -> None:
        item = self._box.tried(number)
        code = int(error.get("err_code", 0))
        if item is None:
            return
        if code == _TOO_LARGE:
            self._leave_out(item, f"{len(item.outgoing.data)} bytes, the stream takes less (max_msg_size)")
            self._box.failed()
        elif code in _CHAIN_BROKEN:
            self._box.failed(conflict=True)
        else:
            self.problem = (
                f"stream {self._stream} at {self._config.shown} did not take {item.outgoing.subject}: "
                f"{error.get('description')} (code {error.get('code')}, err_code {code})"
            )
            self._failed = True
            self._box.failed()
        self._work.set()

    def _finished(self, item: Item) -> None:
        self._published.inc()
        observed_at = item.outgoing.observed_at
        if observed_at is not None:
            event = item.outgoing.subject.rpartition(".")[2]
            self._fast_path.labels(event=event).observe((self._clock() - observed_at).total_seconds())
        self._progress(1)

    def _leave_out(self, item: Item, reason: str) -> None:
        self._box.drop(item.number)
        self._refuse(item.outgoing, reason)
        self._progress(1)

    def _refuse(self, outgoing: Outgoing, reason: str) -> None:
        self._refused.inc()
        log.error(
            "message left out, it cannot be published",
            stream=self._stream,
            subject=outgoing.subject,
            msg_id=outgoing.msg_id,
            tracking_id=outgoing.tracking_id,
            reason=reason,
        )

    def _progress(self, count: int = 0) -> None:
        """Tell the worker's thread that count more are done with."""
        with self.changed:
            self.finished += count
            self.sequence = self._box.safe_sequence
            self.progress_at = time.monotonic()
            self.changed.notify_all()


def _headers(outgoing: Outgoing, expect: int | None, follows: str | None) -> dict[str, str]:
    headers = {"Nats-Msg-Id": outgoing.msg_id, "Nats-Expected-Stream": outgoing.stream}
    if outgoing.tracking_id is not None:
        headers["Watchkeeper-Tracking-Id"] = outgoing.tracking_id
    if expect is not None:
        headers["Nats-Expected-Last-Sequence"] = str(expect)
    if follows is not None:
        headers["Nats-Expected-Last-Msg-Id"] = follows
    return headers


def _header_size(headers: dict[str, str]) -> int:
    """Bytes of the header block: NATS/1.0, one line a header, an empty line."""
    return 12 + sum(len(key) + len(value.encode()) + 4 for key, value in headers.items())
