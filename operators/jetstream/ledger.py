"""Ids of very many messages, and where they lie, in little memory."""

from array import array
from hashlib import blake2b

WIDTH = 16


class Ledger:
    """Which ids a stream holds, each to be claimed once; pure bookkeeping.

    Ids are kept as 128 bits of their hash (two of a million are alike with chance 1e-27) in an open
    table. An id that is there twice is claimed as one, at its last place. State: about 45 bytes an id,
    whatever its length, as long as it is kept.

    >>> ledger = Ledger()
    >>> for sequence, name in enumerate(["a", "b", "c"], 1):
    ...     ledger.add(name, sequence)
    >>> ledger.claim("b"), ledger.claim("b"), len(ledger), ledger.first
    (2, None, 2, 1)
    """

    def __init__(self) -> None:
        self._digests = bytearray()
        self._sequences = array("Q")
        self._claimed = bytearray()
        self._table = array("q", [-1]) * 64
        self._left = 0
        self._first = 0

    def __len__(self) -> int:
        return self._left

    @property
    def first(self) -> int | None:
        """The lowest sequence that nobody has claimed."""
        while self._first < len(self._claimed) and self._claimed[self._first]:
            self._first += 1
        return self._sequences[self._first] if self._first < len(self._claimed) else None

    def add(self, msg_id: str, sequence: int) -> None:
        """Take one id; sequences rise."""
        digest = _digest(msg_id)
        slot, known = self._look(digest)
        if known >= 0 and not self._claimed[known]:
            self._claimed[known] = 1
            self._left -= 1
        self._table[slot] = len(self._sequences)
        self._digests += digest
        self._sequences.append(sequence)
        self._claimed.append(0)
        self._left += 1
        if 2 * len(self._sequences) > len(self._table):
            self._grow()

    def claim(self, msg_id: str) -> int | None:
        """Where that id lies; None when it is not there, or claimed already."""
        if not self._left:
            return None
        place = self._look(_digest(msg_id))[1]
        if place < 0 or self._claimed[place]:
            return None
        self._claimed[place] = 1
        self._left -= 1
        return self._sequences[place]

    def _look(self, digest: bytes) -> tuple[int, int]:
        """The slot of a digest, and its place (-1: none)."""
        mask = len(self._table) - 1
        slot = int.from_bytes(digest[:8], "big") & mask
        while (place := self._table[slot]) >= 0:
            if self._digests[place * WIDTH : (place + 1) * WIDTH] == digest:
                return slot, place
            slot = (slot + 1) & mask
        return slot, -1

    def _grow(self) -> None:
        old = self._table
        self._table = array("q", [-1]) * (2 * len(old))
        for place in old:
            if place < 0:
                continue
            slot, _ = self._look(bytes(self._digests[place * WIDTH : (place + 1) * WIDTH]))
            self._table[slot] = place


def _digest(msg_id: str) -> bytes:
    return blake2b(msg_id.encode(), digest_size=WIDTH).digest()
