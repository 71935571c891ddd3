"""What waits to be published to one stream, in order: pure bookkeeping, no clock and no I/O."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from operators.jetstream.ledger import Ledger
from schemas.event import Outgoing


@dataclass(slots=True)
class Item:
    """One message on its way.

    expect: the sequence that the stream must end with when it lands, and follows: the Nats-Msg-Id that
    must be there; None: any. sequence: where it landed.
    """

    number: int
    outgoing: Outgoing
    expect: int | None = None
    follows: str | None = None
    tries: int = 0
    sequence: int = 0
    done: bool = False


class Outbox:
    """Keeps messages in order until the stream has them, each once.

    Many are in flight, chained: each names the last sequence and the last id that must precede it, so
    that when one fails all later ones are refused by the server too, and none overtakes it. (The
    sequence alone does not do: another writer's messages may bring the stream to it.) After any doubt
    (failed) the stream is read back (synced) before anything is sent again, so a message whose
    acknowledgement was lost is found rather than repeated, however long ago it was stored.

    sequence: the highest sequence known to hold one of our messages. scanned: everything up to here
    has been looked at. State: the unfinished messages, and the ids read back on resume until they
    are claimed.
    """

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence
        self.scanned = sequence
        self.round = 0
        self.in_sync = False
        self._ever_synced = False
        self._conflicts = 0
        self._items: deque[Item] = deque()
        self._flying: dict[int, Item] = {}
        self._sent = 0
        self._numbers = 0
        self._next_expected = 0
        self._previous_id: str | None = None
        self._resumed = Ledger()
        self._tried: dict[str, Item] | None = None
        self._landed: list[Item] = []

    def __len__(self) -> int:
        return len(self._items)

    @property
    def flying(self) -> int:
        """How many are sent and not yet answered."""
        return len(self._flying)

    @property
    def leftovers(self) -> int:
        """How many ids read back on resume nobody has claimed yet."""
        return len(self._resumed)

    @property
    def contended(self) -> bool:
        """Whether another writer keeps getting in between: then one at a time, without the chain."""
        return self._conflicts >= 3

    @property
    def safe_sequence(self) -> int:
        """Where a resume must begin to read back: before every id that may still be written again."""
        first = self._resumed.first
        return self.sequence if first is None else min(self.sequence, first - 1)

    def add(self, outgoing: Outgoing) -> bool:
        """Queue one message; False when an earlier run has published it already."""
        found = self._resumed.claim(outgoing.msg_id)
        if found is not None:
            self.sequence = max(self.sequence, found)
            return False
        self._numbers += 1
        self._items.append(Item(self._numbers, outgoing))
        return True

    def take(self, limit: int) -> list[Item]:
        """The next to send, so that at most limit are in flight; they count as sent."""
        if not self.in_sync:
            return []
        limit = 1 if self.contended else limit
        room = max(0, limit - self._sent)
        items = list(islice(self._items, self._sent, self._sent + room))
        for item in items:
            if not item.done:
                item.tries += 1
                item.expect = None if self.contended else self._next_expected
                item.follows = None if self.contended else self._previous_id
                self._next_expected += 1
                self._previous_id = item.outgoing.msg_id
                self._flying[item.number] = item
        self._sent += len(items)
        return [item for item in items if not item.done]

    def acked(self, number: int, sequence: int, *, duplicate: bool = False) -> Item | None:
        """The stream holds this one at sequence, now stored or (duplicate) before; None when that is no news."""
        item = self._flying.pop(number, None) or self._find(number)
        if item is None or item.done:
            return None
        self._land(item, sequence)
        self._conflicts = 0
        self._trim()
        if duplicate and self.in_sync:
            # it took no new place, so the chain behind it is off by one
            self.failed()
        elif self.in_sync and item.expect is None:
            self._next_expected = sequence
            self._previous_id = None
        return item

    def drop(self, number: int) -> None:
        """Leave this one out; it cannot be published."""
        item = self._flying.pop(number, None) or self._find(number)
        if item is not None:
            item.done = True
            self._trim()

    def failed(self, *, conflict: bool = False) -> None:
        """Something in flight was refused or got no answer: nothing more is sent before synced()."""
        self.round += 1
        self.in_sync = False
        self._flying.clear()
        self._sent = 0
        self._tried = None
        self._landed.clear()
        if not self._ever_synced:
            self._resumed = Ledger()
        self._conflicts = self._conflicts + 1 if conflict else self._conflicts

    def lost(self) -> None:
        """The stream ends before what we know of it (recreated or restored): read it from its start."""
        self.sequence = self.scanned = 0

    def saw(self, msg_id: str, sequence: int) -> None:
        """Reading back from scanned on, this id was found.

        What the first reading finds belongs to an earlier run and is skipped when it is added again.
        """
        if self._tried is None:
            self._tried = {item.outgoing.msg_id: item for item in self._items if item.tries and not item.done}
        item = self._tried.pop(msg_id, None)
        if item is not None:
            self._land(item, sequence)
            self._landed.append(item)
        elif not self._ever_synced:
            self._resumed.add(msg_id, sequence)

    def synced(self, found: Iterable[tuple[str, int]], last: int) -> list[Item]:
        """The stream was read from scanned up to last; return our messages that were found in it.

        found: what was not said by saw() already.
        """
        for msg_id, sequence in found:
            self.saw(msg_id, sequence)
            last = max(last, sequence)
        landed, self._landed, self._tried = self._landed, [], None
        self._ever_synced = True
        self.scanned = max(self.scanned, last)
        self._next_expected = last
        self._previous_id = None
        self.in_sync = True
        self._trim()
        return landed

    def tried(self, number: int) -> Item | None:
        """The unfinished message of that number, if it has been sent."""
        item = self._flying.get(number) or self._find(number)
        return None if item is None or item.done else item

    def forget_leftovers(self) -> None:
        """Give up waiting for ids read back on resume to be claimed."""
        self._resumed = Ledger()

    def _find(self, number: int) -> Item | None:
        """An item by number, of those tried; only after a failure is it not among the flying."""
        return next((item for item in self._items if item.number == number and item.tries), None)

    def _land(self, item: Item, sequence: int) -> None:
        item.done = True
        item.sequence = sequence
        self.sequence = max(self.sequence, sequence)

    def _trim(self) -> None:
        while self._items and self._items[0].done:
            # all before it are done, so nothing below its place is in doubt
            self.scanned = max(self.scanned, self._items.popleft().sequence)
            self._sent = max(0, self._sent - 1)
