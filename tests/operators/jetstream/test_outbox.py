import random

from operators.jetstream.outbox import Item, Outbox
from schemas.event import Outgoing


def out(number: int) -> Outgoing:
    return Outgoing("S", "s.a", f"id-{number}", str(number).encode())


def ids(items: list[Item]) -> list[str]:
    return [item.outgoing.msg_id for item in items]


def test_nothing_is_sent_before_the_stream_was_read_back() -> None:
    box = Outbox(0)
    box.add(out(1))
    assert box.take(10) == []
    box.synced([], 7)
    [item] = box.take(10)
    assert item.expect == 7


def test_each_names_the_sequence_before_it() -> None:
    box = Outbox(5)
    box.synced([], 5)
    for number in range(4):
        box.add(out(number))
    assert [item.expect for item in box.take(3)] == [5, 6, 7]
    assert box.take(3) == []
    box.acked(1, 6)
    assert [item.expect for item in box.take(3)] == [8]
    assert (box.sequence, box.safe_sequence, len(box), box.flying) == (6, 6, 3, 3)


def test_after_a_failure_everything_from_it_on_is_sent_again_in_order() -> None:
    box = Outbox(0)
    box.synced([], 0)
    for number in range(5):
        box.add(out(number))
    box.take(10)
    box.acked(1, 1)
    box.failed()
    assert box.take(10) == []
    # the second had landed although its acknowledgement was lost
    assert ids(box.synced([("id-1", 2), ("else", 3)], 3)) == ["id-1"]
    again = box.take(10)
    assert ids(again) == ["id-2", "id-3", "id-4"]
    assert [(item.expect, item.tries) for item in again] == [(3, 2), (4, 2), (5, 2)]
    assert box.sequence == 2


def test_a_late_acknowledgement_counts_once() -> None:
    box = Outbox(0)
    box.synced([], 0)
    box.add(out(1))
    box.take(1)
    box.failed()
    assert box.acked(1, 1) is not None
    assert box.acked(1, 1) is None
    assert len(box) == 0


def test_what_an_earlier_run_published_is_skipped_whatever_the_order() -> None:
    box = Outbox(10)
    box.synced([("id-1", 11), ("id-2", 12), ("id-3", 13)], 14)
    assert box.safe_sequence == 10
    assert not box.add(out(2))
    # number 1 may still come again: a resume must see it
    assert box.safe_sequence == 10
    assert not box.add(out(1))
    assert box.safe_sequence == 12
    assert not box.add(out(3))
    assert box.safe_sequence == 13
    assert box.add(out(4))


def test_leftovers_can_be_given_up() -> None:
    box = Outbox(10)
    box.synced([("theirs", 11)], 11)
    box.add(out(1))
    box.take(1)
    box.acked(1, 12)
    assert (box.safe_sequence, box.leftovers) == (10, 1)
    box.forget_leftovers()
    assert (box.safe_sequence, box.leftovers) == (12, 0)


def test_only_the_first_reading_remembers() -> None:
    box = Outbox(0)
    box.synced([], 0)
    box.failed()
    box.synced([("theirs", 1)], 1)
    assert box.leftovers == 0


def test_a_duplicate_breaks_the_chain_and_is_done() -> None:
    box = Outbox(0)
    box.synced([], 8)
    box.add(out(1))
    box.add(out(2))
    box.take(2)
    assert box.acked(1, 3, duplicate=True) is not None
    assert not box.in_sync
    assert len(box) == 1


def test_under_contention_it_sends_one_at_a_time_until_one_gets_through() -> None:
    box = Outbox(0)
    for number in range(3):
        box.add(out(number))
    for last in (10, 20, 30):
        box.synced([], last)
        box.take(3)
        box.failed(conflict=True)
    box.synced([], 40)
    [item] = box.take(3)
    assert (item.expect, box.contended) == (None, True)
    box.acked(1, 47)
    assert [item.expect for item in box.take(3)] == [47, 48]


def test_a_stream_that_starts_again_is_read_from_its_start() -> None:
    box = Outbox(50)
    box.lost()
    assert (box.sequence, box.scanned) == (0, 0)


class World:
    """A stream, a wire to it, replies from it, and another writer; anything may get lost or late."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.box = Outbox(0)
        self.stream: list[str] = []
        self.wire: list[tuple[int, int, str, int | None, str | None]] = []
        self.replies: list[tuple[int, int, int | None]] = []
        self.added = 0

    def add(self) -> None:
        if self.added < 30:
            self.added += 1
            self.box.add(out(self.added))

    def send(self) -> None:
        if not self.box.in_sync:
            found = [(msg_id, place) for place, msg_id in enumerate(self.stream, 1) if place > self.box.scanned]
            self.box.synced(found, len(self.stream))
        for item in self.box.take(5):
            self.wire.append((self.box.round, item.number, item.outgoing.msg_id, item.expect, item.follows))

    def serve(self) -> None:
        if self.wire:
            round_, number, msg_id, expect, follows = self.wire.pop(0)
            last = self.stream[-1] if self.stream else None
            broken = (expect is not None and expect != len(self.stream)) or (follows is not None and follows != last)
            if broken or self.dice.random() < 0.05:
                self.replies.append((round_, number, None))
            else:
                self.stream.append(msg_id)
                self.replies.append((round_, number, len(self.stream)))

    def answer(self) -> None:
        if self.replies:
            round_, number, sequence = self.replies.pop(0)
            if sequence is not None:
                self.box.acked(number, sequence)
            elif round_ == self.box.round:
                self.box.failed(conflict=self.dice.random() < 0.5)

    def lose_reply(self) -> None:
        del self.replies[:1]

    def disconnect(self) -> None:
        keep = self.dice.randrange(len(self.wire) + 1)
        self.wire = self.wire[:keep]
        for _ in range(keep):
            self.serve()
        self.replies.clear()
        self.box.failed()

    def write_other(self) -> None:
        self.stream.append("theirs")

    def play(self) -> list[str]:
        steps = [self.add, self.send, self.serve, self.answer, self.lose_reply, self.disconnect, self.write_other]
        for _ in range(20_000):
            self.dice.choices(steps, (3, 5, 10, 10, 0.3, 0.3, 3))[0]()
            if self.added == 30 and not len(self.box):
                return [msg_id for msg_id in self.stream if msg_id != "theirs"]
            if not self.wire and not self.replies and self.box.flying:
                self.box.failed()
        raise AssertionError(f"no end: {len(self.box)} left")


def test_a_stream_under_random_failures_holds_each_once_and_in_order() -> None:
    wanted = [f"id-{number}" for number in range(1, 31)]
    for seed in range(300):
        assert World(random.Random(seed)).play() == wanted, seed
