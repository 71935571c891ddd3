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


def test_a_stream_under_random_failures_holds_each_once_and_in_order() -> None:
    for seed in range(200):
        _play(random.Random(seed))


def _play(dice: random.Random) -> None:
    """A stream that refuses a broken chain; replies and messages get lost; other writers write."""
    stream: list[str] = []
    box = Outbox(0)
    added = 0
    for _ in range(2000):
        if added < 30:
            added += 1
            box.add(out(added))
        if not box.in_sync:
            found = [(msg_id, place) for place, msg_id in enumerate(stream, 1) if place > box.scanned]
            box.synced(found, len(stream))
        if dice.random() < 0.1:
            stream.append("theirs")
        round_ = box.round
        for item in box.take(5):
            if box.round != round_:
                break
            if dice.random() < 0.05:
                box.failed()
                break
            if item.expect is not None and item.expect != len(stream):
                box.failed(conflict=True)
                break
            stream.append(item.outgoing.msg_id)
            if dice.random() < 0.9:
                box.acked(item.number, len(stream))
        if box.flying and dice.random() < 0.5:
            box.failed()
        if added == 30 and not len(box):
            break
    assert [msg_id for msg_id in stream if msg_id != "theirs"] == [f"id-{number}" for number in range(1, 31)]
