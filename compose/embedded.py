"""The whole system in one process: `watchkeeper up`.

    nats-server (child) ─ vessel ─ archive ─ chDB ─ API        each a thread but the first
          ▲ host metrics, simulated ship

Started in this order and stopped in the reverse one, so that nothing is asked for what is gone: the
publishers first, then the vessel flow, then the archive once it has stored what was published.
"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

import structlog
import typer

from compose.demo.live import LiveShip
from compose.demo.ship import DemoShip
from compose.errors import exit_code, report
from compose.host_metrics import PERIOD_S, HostMetrics
from compose.launch import prepare_process, stop_on_signals
from compose.publisher import Produce
from compose.system import System, Wake
from operators.jetstream import NatsError
from schemas.settings import Settings

DEMO_PERIOD_S: Final = 1.0

log = structlog.get_logger()


def up(
    settings: Settings,
    *,
    demo: bool = True,
    host_metrics: bool = True,
    nats_port: int | None = None,
    say: Callable[[str], None] = typer.echo,
) -> int:
    """Run everything until SIGTERM, SIGINT or the death of a part; return the exit code.

    0 after a clean stop, 1 when a part failed, 2 when a setting or the policy is wrong; one line
    says why. NATS_URL and CLICKHOUSE_DSN, when set, are used instead of the embedded ones. Must be
    called from the main thread.
    """
    prepare_process()
    wake = Wake()
    stop_on_signals(wake.ask_to_end)
    try:
        with ExitStack() as stack:
            system = System(settings, stack, wake)
            system.start(nats_port)
            for produce, name, period_s in _publishers(settings, demo=demo, host_metrics=host_metrics):
                system.publish(name, produce, period_s)
            say(system.where_to_look())
            system.watch()
        if system.stop_errors:
            raise system.stop_errors[0]
    except Exception as error:  # noqa: BLE001 - the edge of the process: every error is reported here
        if isinstance(error, NatsError) and wake.asked:
            return 0  # asked to end while it waited for NATS
        report(error, flow="up", debug=settings.log_level == "debug")
        return exit_code(error)
    log.info("stopped", flow="up")
    return 0


def _publishers(settings: Settings, *, demo: bool, host_metrics: bool) -> list[tuple[Produce, str, float]]:
    found: list[tuple[Produce, str, float]] = []
    if host_metrics:
        found.append((HostMetrics(settings.ship_id).produce, "host-metrics", PERIOD_S))
    if demo:
        found.append((LiveShip(DemoShip(ship_id=settings.ship_id)).produce, "demo", DEMO_PERIOD_S))
    return found
