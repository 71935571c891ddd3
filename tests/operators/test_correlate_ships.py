"""How many ships one slot correlates, and what is said of the others and of what is held back."""

from structlog.testing import capture_logs

from operators.correlate.operator import MAX_SHIPS, CorrelateLogic, CorrelateSlot
from operators.observability import FlowMetrics
from policy import load_policy
from schemas.event import Event
from schemas.ops import AuditEvent, Device, OpsCommand
from tests.support.make import at, event, tick
from tests.support.ship import fires

POLICY = load_policy(None)


def of_ship(seconds: float, ship_id: str) -> Event:
    return event(fires(seconds, "srv-1", "resource_pressure", ship_id=ship_id, series=f"{ship_id}/srv-1/node/cpu"))


def full(own_ship: str | None = None) -> CorrelateSlot:
    slot = CorrelateSlot(POLICY, own_ship=own_ship)
    for n in range(MAX_SHIPS):
        assert list(slot.process(of_ship(n / 100, f"ghost-{n}")))
    return slot


def test_of_a_hundred_ships_and_more_a_hundred_are_correlated() -> None:
    slot = full()
    for n in range(50):
        assert not list(slot.process(of_ship(2 + n / 100, f"late-{n}")))
    assert not list(slot.process(Event((3000, 0), at(3), Device(ship_id="late-0", device_id="x"))))
    assert len(slot.ships) == MAX_SHIPS
    assert slot.take_counts()["ship_cap"] == 51
    assert list(slot.process(of_ship(900, "ghost-7")))


def test_a_command_for_a_ship_beyond_them_is_refused_aloud() -> None:
    command = OpsCommand(command_id="c", ship_id="late", action="ack", incident_id="x", by="eva")
    (decision,) = full().process(Event((2000, 0), at(2), command))
    assert isinstance(decision.message, AuditEvent)
    assert decision.message.outcome == "refused"
    assert "late is not correlated here" in decision.message.reason


def test_the_own_ship_always_has_its_place() -> None:
    assert list(full("aurora").process(of_ship(2, "aurora")))
    assert not list(full("aurora").process(of_ship(2, "late")))


def test_a_ship_that_falls_silent_makes_room() -> None:
    slot = CorrelateSlot(POLICY)
    for n in range(MAX_SHIPS):
        list(slot.process(Event((n, 0), at(0), Device(ship_id=f"ghost-{n}", device_id="x", removed=True))))
    list(slot.process(tick(1)))
    assert list(slot.process(of_ship(2, "late")))


def test_a_state_with_more_ships_than_that_is_taken_over() -> None:
    slot = full("aurora")
    list(slot.process(of_ship(2, "aurora")))
    after = CorrelateSlot(POLICY)
    after.restore(slot.snapshot())
    assert len(after.ships) == MAX_SHIPS + 1


def test_the_log_says_so_once_an_hour_with_the_remedy() -> None:
    logic = CorrelateLogic(full(), FlowMetrics("vessel"))
    with capture_logs() as logs:
        for seconds in (2, 3, 3000, 3700):
            logic.on_batch([of_ship(seconds, f"late-{seconds}")])
    warned = [each for each in logs if each["log_level"] == "warning"]
    assert [each["ship_id"] for each in warned] == ["late-2", "late-3700"]
    assert "policy.yaml" in warned[0]["remedy"]


def test_what_is_held_back_is_not_logged_as_created() -> None:
    logic = CorrelateLogic(CorrelateSlot(POLICY), FlowMetrics("vessel"))
    mail = Device(ship_id="aurora", device_id="mail", depends_on=("vsat-1",))
    with capture_logs() as logs:
        logic.on_batch([Event((0, 0), at(0), mail), event(fires(1, "vsat-1", "comms_outage"))])
        logic.on_batch([event(fires(5, "mail", "app_degradation"))])
        logic.on_batch([event(fires(30, "mail", "app_degradation", series="other"))])
    held = [each for each in logs if "mail" in each["title"]]
    told = next(each for each in logs if each not in held)
    assert (told["event"], told["log_level"]) == ("incident created", "info")
    assert {(each["event"], each["log_level"]) for each in held} == {("incident held back", "debug")}
    assert [each["change"] for each in held] == ["created", "updated"]
    assert held[0]["reason"].startswith("inhibited: explained by Communications outage on vsat-1")
    assert told["incident_id"] in held[1]["reason"]
