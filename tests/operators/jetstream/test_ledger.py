import random
import tracemalloc

import pytest

from operators.jetstream.ledger import Ledger
from operators.jetstream.outbox import Outbox
from schemas.event import Outgoing


def test_it_claims_as_a_dict_does() -> None:
    dice = random.Random(7)
    ledger, known, order = Ledger(), dict[str, int](), dict[str, int]()
    for sequence in range(1, 5000):
        name = f"id-{dice.randrange(4000)}"
        ledger.add(name, sequence)
        known[name] = order[name] = sequence
        if dice.random() < 0.3:
            wanted = f"id-{dice.randrange(4000)}"
            assert ledger.claim(wanted) == known.pop(wanted, None)
        assert len(ledger) == len(known)
        assert ledger.first == min(known.values(), default=None)


@pytest.mark.slow
def test_months_of_incidents_take_little_memory() -> None:
    """As many as the stream INCIDENTS can hold: 512 MiB of messages of some 2 KB."""
    count = 260_000
    tracemalloc.start()
    box = Outbox(0)
    for sequence in range(1, count + 1):
        box.saw(f"{sequence:032x}:{sequence % 7}", sequence)
    box.synced((), count)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert box.leftovers == count
    assert held < 60 * count
    assert peak < 100 * count
    again = Outgoing("INCIDENTS", "incidents.updated", f"{77:032x}:0", b"")
    assert not box.add(again)
    assert (box.leftovers, box.safe_sequence) == (count - 1, 0)


def test_a_reading_that_breaks_off_is_begun_again() -> None:
    box = Outbox(0)
    box.saw("a", 1)
    box.failed()
    box.saw("a", 1)
    box.saw("b", 2)
    box.synced((), 2)
    assert box.leftovers == 2
