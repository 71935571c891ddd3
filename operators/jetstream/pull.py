"""Reads one stream through one connection by continuous pull, with credit, in order and without loss."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as ClientError

from operators.jetstream.ack import PREFIX, Delivery, parse_ack
from operators.jetstream.connection import JetStreamRefusedError, Link, NatsAwayError, wait_event

EXPIRES_S = 30
HEARTBEAT_S = 5
SILENCE_S = 11.0
CONSUMER_IDLE_S = 60
BUFFER_BYTES = 32 * 1024 * 1024
REQUEST_BYTES = 16 * 1024 * 1024

_NANOSECONDS = 1_000_000_000
_FINISHED = ("Message Size Exceeds MaxBytes", "Batch Completed")


class PullBrokenError(NatsAwayError):
    """The consumer is gone or a message was lost on the way; a new one from the last received goes on."""


class Taker(Protocol):
    """Who takes the messages."""

    def take(self, delivery: Delivery, msg: Msg) -> None:
        """Take one message; sequences rise."""

    def held(self) -> tuple[int, int]:
        """How many messages, and how many of their bytes, wait to be used."""


class Pull:
    """A continuous pull of everything after one sequence.

    Of some subjects only, if subjects names any. At most window messages are asked for or held at a time;
    bytes are bounded too (96 MiB). The consumer lives in the server's memory, acknowledges nothing, and
    ends by itself after a minute.
    """

    def __init__(
        self,
        link: Link,
        stream: str,
        after: int,
        taker: Taker,
        *,
        window: int,
        headers_only: bool = False,
        subjects: Sequence[str] = (),
    ) -> None:
        self.received = after
        self.starved = False
        self.at_end = False
        self._link = link
        self._stream = stream
        self._taker = taker
        self._window = window
        self._low = window // 2
        self._headers_only = headers_only
        self._subjects = list(subjects)
        self._outstanding = 0
        self._delivered = 0
        self._broken: str | None = None
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self._max_bytes = max(REQUEST_BYTES, link.client.max_payload + 65_536)
        self._inbox = link.client.new_inbox()
        self._next = ""
        self._consumer = ""
        self._sub: Subscription | None = None

    async def run(self, done: Callable[[], bool]) -> None:
        """Read until done() says so; wake() makes it ask again.

        Raises:
            PullBrokenError: when a new Pull must take over, from received on.
            NatsAwayError: when the connection is gone.
        """
        try:
            await self._start()
            while not done():
                self._check()
                if self._outstanding <= self._low:
                    await self._ask()
                self._changed.clear()
                await wait_event(self._changed, 0.5)
        finally:
            await self._end()

    def wake(self) -> None:
        """Look again at once: something was used, or reading should end. Only on the loop."""
        self._changed.set()

    async def _start(self) -> None:
        config: dict[str, Any] = {
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self.received + 1,
            "ack_policy": "none",
            "replay_policy": "instant",
            "inactive_threshold": CONSUMER_IDLE_S * _NANOSECONDS,
            "max_waiting": 64,
            "mem_storage": True,
            "num_replicas": 1,
            "headers_only": self._headers_only,
        }
        if self._subjects:
            config["filter_subjects"] = self._subjects
        try:
            answer = await self._link.api(
                f"CONSUMER.CREATE.{self._stream}", {"stream_name": self._stream, "config": config}
            )
        except JetStreamRefusedError as error:
            raise PullBrokenError(f"stream {self._stream}: no consumer ({error})") from error
        self._consumer = answer["name"]
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}"
        self.at_end = int(answer["num_pending"]) == 0
        # no limit here: nats-py would drop messages silently, and the credit bounds them already
        self._sub = await self._link.client.subscribe(
            self._inbox, cb=self._on_message, pending_msgs_limit=0, pending_bytes_limit=0
        )

    async def _end(self) -> None:
        if not self._link.is_open:
            return
        try:
            if self._sub is not None:
                await self._sub.unsubscribe()
            if self._consumer and self._broken is None:
                await self._link.client.publish(f"$JS.API.CONSUMER.DELETE.{self._stream}.{self._consumer}")
        except ClientError as error:
            self._link.last_problem = str(error)

    def _check(self) -> None:
        if self._link.closed.is_set():
            raise NatsAwayError(f"NATS at {self._link.config.shown} closed the connection")
        silent_s = self._loop.time() - self._heard
        if self._broken is None and self._outstanding > 0 and silent_s > SILENCE_S:
            self._broken = f"no heartbeat for {silent_s:.0f} s"
        if self._broken is not None:
            raise PullBrokenError(f"stream {self._stream}: {self._broken}")

    async def _ask(self) -> None:
        """Ask for as many as there is room for; without room, say so (starved) and wait to be woken."""
        held, held_bytes = self._taker.held()
        want = self._window - self._outstanding - held
        if want < self._window // 4 or held_bytes >= BUFFER_BYTES:
            self.starved = True
            return
        self.starved = False
        if self._outstanding <= 0:
            self._heard = self._loop.time()
        self._outstanding += want
        request = {
            "batch": want,
            "expires": EXPIRES_S * _NANOSECONDS,
            "idle_heartbeat": HEARTBEAT_S * _NANOSECONDS,
            "max_bytes": self._max_bytes,
        }
        try:
            await self._link.client.publish(self._next, json.dumps(request).encode(), reply=self._inbox)
        except ClientError as error:
            self._break(str(error))

    async def _on_message(self, msg: Msg) -> None:
        if self._broken is not None:
            return
        self._heard = self._loop.time()
        reply = msg.reply
        if not reply.startswith(PREFIX):
            await self._on_status(msg)
            return
        delivery = parse_ack(reply)
        self._outstanding -= 1
        self._delivered += 1
        if delivery.delivered != self._delivered:
            self._break(f"message {self._delivered} of the consumer did not arrive")
            return
        if delivery.sequence > self.received:
            self._taker.take(delivery, msg)
            self.received = delivery.sequence
        if delivery.pending == 0:
            self.at_end = True
            self._changed.set()
        if self._outstanding <= self._low:
            await self._ask()

    async def _on_status(self, msg: Msg) -> None:
        headers = msg.headers or {}
        status, text = headers.get("Status", ""), headers.get("Description", "")
        if status == "100":
            return
        unfilled = headers.get("Nats-Pending-Messages")
        ended = status in ("404", "408") or (status == "409" and text in _FINISHED)
        if not ended or unfilled is None:
            self._break(f"pull ended with {status} {text}".rstrip())
            return
        self._outstanding = max(0, self._outstanding - int(unfilled))
        await self._ask()

    def _break(self, why: str) -> None:
        self._broken = why
        self._changed.set()
