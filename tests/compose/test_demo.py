from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from compose.demo.faults import CYCLE, Fault, faults
from compose.demo.live import CATCH_UP, LiveShip
from compose.demo.ship import DemoShip, Telemetry
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
    lines = (e for _, e in entries([s for s in sent if when[0] <= s[0] < when[1]]))
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
    assert max(quiet) > timedelta(minutes=3), "no quiet between two cycles"


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
    assert min(values(SENT, "vsat-1", "rf_snr_db", (fault.end, START + CYCLE))) > 10
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


def test_well_ship_logs_nothing_above_info() -> None:
    quiet = max(fault.end for fault in TRUTH.values())
    levels = {p["level"] for t, (s, p) in SENT if t >= quiet and s.startswith("logs.") and isinstance(p, dict)}
    assert levels == {"info"}


def test_live_ship_steps_each_second_once_and_catches_up() -> None:
    live = LiveShip(DemoShip(7))
    first = list(live.produce(START + timedelta(milliseconds=400)))
    assert [subject for subject, _ in first[:8]] == ["ops.device"] * 8
    assert live.produce(START + timedelta(milliseconds=900)) == []
    late = list(live.produce(START + timedelta(seconds=20)))
    assert first[8:] + late == [item for _, item in run(7, 21)]


def test_live_ship_does_not_replay_a_long_sleep() -> None:
    live = LiveShip(DemoShip(7))
    live.produce(START)
    later = START + CATCH_UP + timedelta(seconds=90)
    sent = [p for _, p in live.produce(later) if isinstance(p, dict)]
    assert {p["ts"] for p in sent} <= {later.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
