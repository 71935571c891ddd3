"""What the producer sends: samples of many series and log lines, with faults that come and go. Pure."""

import random
from typing import Any, NamedTuple

from schemas.identity import content_uuid

DEVICES = 40
METRICS = ("cpu_pct", "mem_used_pct", "disk_used_pct", "load_1", "temperature_c")
EPISODE = 3000
"""Messages from one fault to the next."""

LASTS = 2000
"""Messages that a hot processor lasts."""


class Sent(NamedTuple):
    """One message: its id (tracking_id of its one entry, and Nats-Msg-Id), its subject and its body."""

    tracking_id: str
    subject: str
    body: dict[str, Any]


def message(seed: int, number: int) -> Sent:
    """Message `number` of a seed: four of five are samples, the fifth a log line; the same at each call."""
    draw = random.Random(f"{seed}:{number}")
    tracking_id = content_uuid("torture", str(seed), str(number))
    episode, within = divmod(number, EPISODE)
    device = f"srv-{draw.randrange(DEVICES)}"
    if number % 5:
        return _sample(draw, tracking_id, device, hot=f"srv-{episode % DEVICES}" if within < LASTS else None)
    if within < 60:
        return _attack(tracking_id, episode, within)
    if 300 <= within < 330:
        return _line(tracking_id, "net.ifmgr", "rt-1", f"Interface Gi0/{episode % 4}, changed state to down", "error")
    return _line(tracking_id, "app.node", device, f"request {number} served in {draw.randrange(900)} ms", "info")


def _sample(draw: random.Random, tracking_id: str, device: str, *, hot: str | None) -> Sent:
    metric = draw.choice(METRICS)
    if hot is not None and draw.random() < 0.05:
        device, metric = hot, "cpu_pct"
    value = 97.0 if (device, metric) == (hot, "cpu_pct") else 40.0 + draw.random()
    body = {"tracking_id": tracking_id, "service": "node", "metric_name": metric, "metric_value": value}
    return Sent(tracking_id, f"metrics.ingested.system.{device}", body)


def _attack(tracking_id: str, episode: int, within: int) -> Sent:
    msg = f"Failed password for root from 203.0.113.{within % 8} port {4000 + within} ssh2"
    return _line(tracking_id, "security.sshd", f"gw-{episode % 3}", msg, "error")


def _line(tracking_id: str, topic: str, device: str, msg: str, level: str) -> Sent:
    body = {"tracking_id": tracking_id, "device_id": device, "level": level, "msg": msg}
    return Sent(tracking_id, f"logs.ingested.{topic}", body)
