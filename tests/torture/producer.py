"""A producer with a ledger: publishes each message until it is acknowledged, whatever dies meanwhile."""

import asyncio
import json
import threading
from collections.abc import Callable

import nats
from nats.aio.client import Client
from nats.errors import Error as ClientError

from tests.support.nats import until
from tests.torture.load import Sent

IN_FLIGHT = 256
ACK_S = 2.0


class Producer(threading.Thread):
    """Sends message(0), message(1), … at a rate; ledger holds the ids acknowledged, problems what nats-py met."""

    def __init__(self, url: str, message: Callable[[int], Sent], rate: float) -> None:
        super().__init__(name="producer", daemon=True)
        self.ledger: list[str] = []
        self.error: Exception | None = None
        self.problems: list[str] = []
        self._url = url
        self._message = message
        self._rate = rate
        self._ended = threading.Event()

    def end(self) -> None:
        """Send no more, and wait until everything sent is acknowledged."""
        self._ended.set()
        self.join(120)
        if self.error is not None:
            raise self.error
        if self.is_alive():
            raise AssertionError(f"the producer waits for an acknowledgement; {len(self.ledger)} came")

    def wait_for(self, more: int) -> None:
        """Return when so many more are acknowledged."""
        count = len(self.ledger) + more
        until(lambda: len(self.ledger) >= count, seconds=90, what=f"{more} more messages; last: {self.problems[-1:]}")

    def run(self) -> None:
        try:
            asyncio.run(self._publish())
        except Exception as error:  # noqa: BLE001 - raised by end()
            self.error = error

    async def _publish(self) -> None:
        client = await nats.connect(
            self._url, max_reconnect_attempts=-1, reconnect_time_wait=0.1, error_cb=self._note_problem
        )
        room = asyncio.Semaphore(IN_FLIGHT)
        tasks: set[asyncio.Task[None]] = set()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        number = 0
        while not self._ended.is_set():
            await room.acquire()
            task = loop.create_task(self._until_acknowledged(client, self._message(number), room))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            number += 1
            ahead = number / self._rate - (loop.time() - begun)
            if ahead > 0.005:
                await asyncio.sleep(ahead)
        await asyncio.gather(*tasks)
        await client.close()

    async def _note_problem(self, error: Exception) -> None:
        self.problems.append(str(error))

    async def _until_acknowledged(self, client: Client, sent: Sent, room: asyncio.Semaphore) -> None:
        data, headers = json.dumps(sent.body).encode(), {"Nats-Msg-Id": sent.tracking_id}
        while True:
            try:
                await client.jetstream().publish(sent.subject, data, timeout=ACK_S, headers=headers)
                break
            except (ClientError, OSError):
                await asyncio.sleep(0.05)
        self.ledger.append(sent.tracking_id)
        room.release()
