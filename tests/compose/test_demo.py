from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from compose.demo.faults import CYCLE, Fault, faults
from compose.demo.live import CATCH_UP, LiveShip
from compose.demo.ship import DEVICES, DemoShip, Telemetry
from schemas.base import DOMAINS
from schemas.ops import Device
from schemas.telemetry import LogMessage, MetricSample

START = datetime(2026, 3, 1, 8, tzinfo=UTC)


def run(seed: int, seconds: int, start: datetime = START) -> list[tuple[datetime, Telemetry]]:
    ship = DemoShip(seed)
    times = [start + timedelta(seconds=n) for n in range(seconds)]
    return [(t, item) for t in times for item in ship.step(t)]


def entries(sent: list[tuple[datetime, Telemetry]]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (subject, entry)
        for _, (subject, payload) in sent
        for entry in (payload if isinstance(payload, list) else [payload])
    ]


def values(
    sent: list[tuple[datetime, Telemetry]], device: str, metric: str, when: tuple[datetime, datetime]
) -> list[float]:
    lines = (e for _, e in entries([each for each in sent if when[0] <= each[0] < when[1]]))
    return [e["metric_value"] for e in lines if e["device_id"] == device and e.get("metric_name") == metric]


CYCLE_SECONDS = int(CYCLE.total_seconds())
SENT = run(7, CYCLE_SECONDS)
TRUTH = {fault.kind: fault for fault in DemoShip(7).faults(START)}


def span(fault: Fault, first: float, last: float) -> tuple[datetime, datetime]:
    return fault.start + fault.duration * first, fault.start + fault.duration * last


def lines_of(device: str, text: str) -> list[datetime]:
    return [
        t
        for t, (subject, p) in SENT
        if subject.startswith("logs.") and isinstance(p, dict) and p["device_id"] == device and text in p["msg"]
    ]


def test_same_seed_and_start_give_the_same_telemetry() -> None:
    assert run(7, 120) == SENT[: len(run(7, 120))]


def test_other_seed_gives_other_telemetry() -> None:
    assert run(8, 60) != run(7, 60)


def test_tracking_ids_are_unique() -> None:
    ids = [entry["tracking_id"] for _, entry in entries(SENT)]
    assert len(ids) == len(set(ids))


def test_everything_fits_the_schemas_and_its_subject() -> None:
    seen = set()
    for subject, entry in entries(SENT):
        kind, _, domain, name = subject.split(".")
        model = LogMessage if kind == "logs" else MetricSample
        message = model.model_validate({**entry, "observed_at": entry["ts"]})
        assert message.domain == domain
        assert name == (message.service if kind == "logs" else message.device_id)
        seen.add(domain)
    assert seen == set(DOMAINS)


def test_inventory_names_every_device_and_only_known_dependencies() -> None:
    devices = [Device.model_validate(payload) for _, payload in DemoShip(7).inventory()]
    names = {device.device_id for device in devices}
    assert names == {entry["device_id"] for _, entry in entries(SENT)}
    assert {other for device in devices for other in device.depends_on} <= names


def test_truth_covers_every_kind_and_repeats_with_variation() -> None:
    truth = faults(START, 7, cycles=8)
    assert {fault.kind for fault in truth} == set(TRUTH)
    assert len({fault.device_id for fault in truth if fault.kind == "link_down"}) == 2
    assert len({(fault.start - START) % CYCLE for fault in truth if fault.kind == "disk_full"}) > 3
    quiet = [later.start - earlier.end for earlier, later in pairwise(sorted(truth, key=lambda f: f.end))]
    assert max(quiet) > timedelta(minutes=30), "no quiet between two cycles"


def test_first_faults_open_at_once() -> None:
    early = [fault for fault in TRUTH.values() if fault.start - START <= timedelta(seconds=15)]
    assert {fault.kind for fault in early} == {"ssh_brute_force", "link_down"}
    assert all(fault.start + fault.opens_within - START <= timedelta(seconds=40) for fault in early)


def test_brute_force_shows_only_while_it_is_on() -> None:
    fault = TRUTH["ssh_brute_force"]
    times = lines_of(fault.device_id, f"from {fault.detail} port")
    assert len(times) >= 2 * fault.duration.total_seconds()
    assert (min(times), max(times)) == (fault.start, fault.end - timedelta(seconds=1))
    assert not [t for t in lines_of(fault.device_id, "Failed password") if not fault.start <= t < fault.end]


def test_link_goes_down_and_comes_back() -> None:
    fault = TRUTH["link_down"]
    down = lines_of(fault.device_id, f"Interface {fault.detail}, changed state to down")
    up = lines_of(fault.device_id, f"Interface {fault.detail}, changed state to up")
    assert down[0] == fault.start
    assert max(up) == fault.end - timedelta(seconds=1)
    assert values(SENT, fault.device_id, "rx_bytes_s", span(fault, 0, 1)).count(0.0) >= 15


def test_fade_takes_the_signal_and_gives_it_back() -> None:
    fault = TRUTH["snr_fade"]
    assert min(values(SENT, "vsat-1", "rf_snr_db", (START, fault.start))) > 10
    assert max(values(SENT, "vsat-1", "rf_snr_db", span(fault, 0.2, 1))) < 6
    assert min(values(SENT, "vsat-1", "rf_snr_db", (fault.end, TRUTH["satcom_outage"].start))) > 10
    assert min(values(SENT, "vsat-1", "packet_loss_pct", span(fault, 0.2, 1))) > 8


def test_engine_disk_and_memory_reach_their_limits() -> None:
    hot, full, leak = TRUTH["engine_overheat"], TRUTH["disk_full"], TRUTH["memory_leak"]
    assert min(values(SENT, hot.device_id, "bearing_temp_c", span(hot, 0.3, 1))) > 100
    assert max(values(SENT, hot.device_id, "bearing_temp_c", (START, hot.start))) < 80
    assert min(values(SENT, full.device_id, "disk_pct", span(full, 0.45, 1))) > 95
    assert min(values(SENT, leak.device_id, "mem_pct", span(leak, 0.65, 1))) > 93
    assert len(lines_of(leak.device_id, "Out of memory: Killed process")) == 1


def test_app_times_out_while_the_fault_is_on() -> None:
    fault = TRUTH["app_timeouts"]
    times = lines_of(fault.device_id, "timed out after 5000 ms")
    assert len(times) >= 100
    assert all(fault.start <= t < fault.end for t in times)


def test_without_carrier_nothing_gets_ashore_and_the_queues_drain_after() -> None:
    fault = TRUTH["satcom_outage"]
    assert fault.affects == ("rtr-2", "srv-shore-1", "gw-crew-1")
    lost = lines_of("vsat-1", "Carrier lock lost")
    assert lost[0] == fault.start + timedelta(seconds=2)
    assert all(later - earlier <= timedelta(seconds=20) for earlier, later in pairwise(lost))
    assert [t - fault.end for t in lines_of("vsat-1", "Carrier lock acquired")] == [timedelta(seconds=1)]
    assert max(values(SENT, "vsat-1", "rf_snr_db", span(fault, 0.05, 1))) < 2
    assert min(values(SENT, "vsat-1", "rf_snr_db", (fault.end, START + CYCLE))) > 10
    timed_out = [t for t in lines_of("srv-shore-1", "timed out") if t < fault.end + fault.lingers]
    assert timedelta(seconds=9) <= timed_out[0] - fault.start < timedelta(seconds=40)
    assert timedelta(0) < timed_out[-1] - fault.end <= timedelta(seconds=22)
    queue = values(SENT, "srv-shore-1", "queue_messages", (fault.start, fault.end + fault.lingers))
    assert max(queue) > 200
    assert queue[0] < 40 > queue[-1]
    assert values(SENT, "gw-crew-1", "packet_loss_pct", span(fault, 0.05, 1)).count(100.0) > 40
    assert max(values(SENT, "rtr-2", "rx_bytes_s", (START, fault.start))) > 1e6


def test_what_does_not_hang_on_the_link_does_not_suffer_from_the_outage() -> None:
    """With the outage and without it, every other device sends the same."""
    fault = TRUTH["satcom_outage"]
    spared = {made.device_id for made in DEVICES} - {fault.device_id, *fault.affects}

    class Spared(DemoShip):
        def _active(self, t: datetime) -> list[tuple[Fault, float]]:
            return [each for each in super()._active(t) if each[0].kind != "satcom_outage"]

    with_it, without = DemoShip(7, start=START), Spared(7, start=START)
    differs: set[str] = set()
    for second in range(int((fault.end + fault.lingers - START).total_seconds())):
        t = START + timedelta(seconds=second)
        for own, other in zip(*(_by_device(ship.step(t)) for ship in (with_it, without)), strict=True):
            differs |= {own[0]} if own != other else set()
    assert not differs & spared
    assert differs == {fault.device_id, *fault.affects}


def _by_device(sent: list[Telemetry]) -> list[tuple[str, list[Telemetry]]]:
    found: dict[str, list[Telemetry]] = {made.device_id: [] for made in DEVICES}
    for subject, payload in sent:
        found[(payload[0] if isinstance(payload, list) else payload)["device_id"]].append((subject, payload))
    return sorted(found.items())


def test_a_log_storm_is_a_storm() -> None:
    fault = TRUTH["log_storm"]
    assert len(lines_of(fault.device_id, fault.detail)) >= 20 * fault.duration.total_seconds()


def test_a_link_flaps() -> None:
    fault = TRUTH["link_flap"]
    changes = {way: lines_of("rtr-2", f"Interface {fault.detail}, changed state to {way}") for way in ("down", "up")}
    down, up = ([t for t in times if fault.start <= t < fault.end] for times in changes.values())
    assert len(down) >= 15
    assert abs(len(up) - len(down)) <= 1
    assert up[-1] > down[-1]
    assert not [t for t in down if t >= fault.end]


def test_a_sensor_sticks_at_the_end_of_its_scale_and_one_device_falls_silent() -> None:
    stuck, silent = TRUTH["sensor_stuck"], TRUTH["device_silent"]
    assert set(values(SENT, "gen-1", stuck.detail, span(stuck, 0.25, 1))) == {150.0}
    assert max(values(SENT, "gen-1", stuck.detail, (START, stuck.start))) < 90
    during = [
        entry["device_id"] for _, entry in entries([each for each in SENT if silent.progress(each[0]) is not None])
    ]
    assert silent.device_id not in during
    assert len(set(during)) == len(DEVICES) - 1


def test_well_ship_logs_nothing_above_info() -> None:
    quiet = max(fault.end + fault.lingers for fault in TRUTH.values())
    levels = {p["level"] for t, (s, p) in SENT if t >= quiet and s.startswith("logs.") and isinstance(p, dict)}
    assert levels == {"info"}


def test_live_ship_steps_each_second_once_and_catches_up() -> None:
    live = LiveShip(DemoShip(7))
    first = list(live.produce(START + timedelta(milliseconds=400)))
    assert [subject for subject, _ in first[: len(DEVICES)]] == ["ops.device"] * len(DEVICES)
    assert live.produce(START + timedelta(milliseconds=900)) == []
    late = list(live.produce(START + timedelta(seconds=20)))
    assert first[len(DEVICES) :] + late == [item for _, item in run(7, 21)]


def test_live_ship_does_not_replay_a_long_sleep() -> None:
    live = LiveShip(DemoShip(7))
    live.produce(START)
    later = START + CATCH_UP + timedelta(seconds=90)
    sent = [p for _, p in live.produce(later) if isinstance(p, dict)]
    assert {p["ts"] for p in sent} <= {later.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
