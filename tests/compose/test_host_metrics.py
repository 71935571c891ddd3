from dataclasses import replace
from datetime import UTC, datetime, timedelta

from compose.host_metrics import HostMetrics, Reading, host_name, read_host, sample
from schemas.telemetry import MetricSample

AT = datetime(2026, 3, 1, tzinfo=UTC)
FIRST = Reading(AT, 100.0, 400.0, 40.0, 70.0, 1_000, 2_000, 0.5)
SECOND = Reading(AT + timedelta(seconds=5), 102.5, 410.0, 41.0, 71.0, 6_000, 2_500, 0.7)


def as_values(samples: list[dict[str, object]]) -> dict[str, object]:
    return {str(entry["metric_name"]): entry["metric_value"] for entry in samples}


def test_rates_are_differences_over_time() -> None:
    assert as_values(sample(SECOND, FIRST, "ship-1", "box")) == {
        "cpu_pct": 25.0,
        "mem_pct": 41.0,
        "disk_pct": 71.0,
        "load1": 0.7,
        "net_rx_bytes_s": 1000.0,
        "net_tx_bytes_s": 100.0,
    }


def test_first_scrape_has_no_rates() -> None:
    assert set(as_values(sample(FIRST, None, "ship-1", "box"))) == {"mem_pct", "disk_pct", "load1"}


def test_counter_that_went_back_gives_no_rate() -> None:
    back = replace(SECOND, net_rx_bytes=10)
    assert "net_rx_bytes_s" not in as_values(sample(back, FIRST, "ship-1", "box"))


def test_samples_fit_the_schema_with_their_own_ids() -> None:
    samples = sample(SECOND, FIRST, "ship-1", "box")
    read = [MetricSample.model_validate({**entry, "observed_at": entry["ts"]}) for entry in samples]
    assert len({message.tracking_id for message in read}) == 6
    assert {(message.domain, message.device_id, message.ts) for message in read} == {("system", "box", SECOND.at)}


def test_this_machine_can_be_read() -> None:
    machine = HostMetrics("ship-1")
    ((subject, _),) = machine.produce(datetime.now(UTC))
    assert subject == f"metrics.ingested.system.{host_name()}"
    now = read_host(datetime.now(UTC))
    assert 0 < now.mem_pct <= 100
    assert 0 < now.disk_pct <= 100
    assert now.cpu_total_s > now.cpu_busy_s > 0
