"""Real log lines for tests and benchmarks: the captures that CAPTURES_DIR names."""

import json
import os
import random
import re
from datetime import datetime, timedelta
from pathlib import Path

from operators.capture import read_capture
from schemas.identity import event_uuid
from schemas.telemetry import LogMessage

NAMES = ("linux-auth", "openstack", "thunderbird", "apache-errors", "openssh-bruteforce")
HOW_TO_GET = (
    "CAPTURES_DIR must name a folder with NATS captures of real logs (linux-auth.ndjson.gz and others, one "
    "JetStream message a line), made for example from github.com/logpai/loghub's 2k samples"
)
_DIGITS = re.compile(r"[0-9]+")


class CapturesMissing(Exception):
    """The captures are not there; the message says how to get them."""


def captures_dir() -> Path:
    """The folder that CAPTURES_DIR names; CapturesMissing when it is unset or lacks one of NAMES."""
    named = os.environ.get("CAPTURES_DIR")
    if not named:
        raise CapturesMissing(HOW_TO_GET)
    for name in NAMES:
        if not (Path(named) / f"{name}.ndjson.gz").is_file():
            raise CapturesMissing(f"{named} has no {name}.ndjson.gz. {HOW_TO_GET}")
    return Path(named)


def read_lines(folder: Path, name: str) -> list[LogMessage]:
    """The lines of one capture; an unknown level counts as critical when it says fatal, else as info."""
    out = []
    for captured in read_capture(folder / f"{name}.ndjson.gz"):
        body = json.loads(captured.data)
        if body["level"] == "fatal":
            body["level"] = "critical"
        identity = event_uuid(captured.identity, captured.sequence, 0)
        out.append(LogMessage(**{**body, "tracking_id": identity, "observed_at": captured.observed_at}))
    return out


def varied(lines: list[LogMessage], count: int, start: datetime, per_second: float, seed: int) -> list[LogMessage]:
    """So many lines at a steady rate, in order, each time round with other digits (so no line comes twice as it is)."""
    draw = random.Random(seed)
    out = []
    for i in range(count):
        line = lines[i % len(lines)]
        at = start + timedelta(seconds=i / per_second)
        msg = line.msg
        if i >= len(lines):
            msg = _DIGITS.sub(lambda found: "".join(draw.choice("123456789") for _ in found[0]), msg)
        out.append(line.model_copy(update={"msg": msg, "ts": at, "observed_at": at}))
    return out
