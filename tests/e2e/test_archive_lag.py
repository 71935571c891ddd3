"""ClickHouse away under load: how far the archive is behind can be seen, and it drains after."""

import json
import os
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.e2e.test_outages import ids_of
from tests.support.nats import until
from tests.support.parts import parts_in
from tests.support.system import WATCHKEEPER

pytestmark = pytest.mark.e2e

COUNT = 3000


def test_the_lag_of_the_archive_is_visible_while_clickhouse_is_away(tmp_path: Path) -> None:
    with parts_in(tmp_path) as vessel:
        vessel.start_flow("vessel")
        vessel.start_flow("archive")
        until(lambda: len(vessel.nats.api("STREAM.NAMES")["streams"] or ()) == 6, seconds=20, what="streams")
        line = json.dumps({"device_id": "srv-1", "level": "info", "msg": "all is well"}).encode()
        vessel.nats.publish([("logs.ingested.app.x", line)])
        until(lambda: "clickhouse_away" in vessel.log("archive"), seconds=20, what="the first row that waits")
        vessel.nats.publish([("logs.ingested.app.x", line)] * COUNT)

        def metric(name: str) -> float:
            text = httpx.get(f"http://127.0.0.1:{vessel.ports['archive']}/metrics", timeout=5).text
            [value] = [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(f"watchkeeper_{name} ")]
            return float(value)

        def lag() -> int:
            said = httpx.get(f"http://127.0.0.1:{vessel.ports['archive']}/health/ready", timeout=5).json()
            return int(said["lag"].get("TELEMETRY", 0))

        until(lambda: lag() + metric("rows_waiting") >= COUNT, seconds=20, what="a lag of all of it")
        until(lambda: lag() > 1000, seconds=20, what="a flow that is held back")
        environment = {
            **os.environ,
            "NATS_URL": vessel.nats.url,
            "CLICKHOUSE_DSN": f"http://127.0.0.1:{vessel.clickhouse_port}/watchkeeper",
            **{f"WATCHKEEPER_{flow.upper()}_PORT": str(port) for flow, port in vessel.ports.items()},
        }
        done = subprocess.run([str(WATCHKEEPER), "doctor", "--json"], env=environment, capture_output=True, text=True)
        checks = {check["part"]: check for check in json.loads(done.stdout)}
        assert checks["archive"]["status"] == "warning"
        assert "messages of TELEMETRY behind" in checks["archive"]["found"]
        assert checks["vessel"]["status"] == "ok", checks["vessel"]
        assert checks["clickhouse"]["status"] == "failed"

        vessel.start_clickhouse()
        until(lambda: lag() < 10 and metric("rows_waiting") == 0, seconds=60, what="the archive to catch up")
        until(lambda: len(ids_of(vessel, "srv-1")) == COUNT + 1, seconds=20, what="every line, once")
