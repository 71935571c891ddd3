"""The captures through the whole vessel flow: what is found, when against the labels, and what is missed.

    python -m tests.bench.captures [--json] [--quick] [--table FILE] [--pictures DIR]

CAPTURES_DIR names the captures, NAB_DIR the labels. Each capture runs with the profiles `poc` and
`full` as shipped. A labelled window is found when a finding on its series begins in it; a finding
that began before and is still on does not count.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from operators.capture import CaptureSource
from operators.observability import configure_logging
from tests.bench.capture_labels import (
    CAPTURES,
    METRIC_CAPTURES,
    Judged,
    captures_dir,
    false_incidents,
    judge,
    path_of,
    read_series,
)
from tests.bench.capture_table import Runs, table
from tests.bench.flow_run import Found, profile_policy, run_flow
from tests.bench.log_lines import CapturesMissing
from tests.bench.nab_data import NabMissing, load, nab_dir
from tests.bench.report import Figure, write

PROFILES = ("poc", "full")
DRAWN = "full"
HOUR_S = 3600.0


def figures(folder: Path, nab: Path, profiles: tuple[str, ...], runs: Runs) -> Iterator[Figure]:
    """Every figure, as captures are read; runs takes what was found in each."""
    labelled = read_series(folder, load(nab))
    for capture in CAPTURES:
        for profile in profiles:
            found = run_flow(CaptureSource([path_of(folder, capture)]), profile_policy(profile))
            judged = [judge(series, found) for series in labelled if series.source.capture == capture]
            runs[capture, profile] = (found, judged)
            yield from _of_capture(f"captures.{capture}.{profile}", capture, found, judged)


def _of_capture(name: str, capture: str, found: Found, judged: list[Judged]) -> Iterator[Figure]:
    yield Figure(f"{name}.incidents", len(found.openings), "incidents")
    yield Figure(f"{name}.anomalies", len(found.firings), "anomalies")
    yield Figure(f"{name}.dead_letters", found.dead_letters, "dead letters")
    yield Figure(f"{name}.duration", found.seconds, "s")
    if capture in METRIC_CAPTURES:
        yield Figure(f"{name}.false_incidents", len(false_incidents(found, judged)), "incidents")
    for each in judged:
        yield from _of_series(f"{name}.{each.series.source.name}", each)


def _of_series(name: str, judged: Judged) -> Iterator[Figure]:
    hits = judged.hits
    yield Figure(f"{name}.found", sum(hit.finding is not None for hit in hits), "windows", len(hits))
    yield Figure(f"{name}.outside", len(judged.outside), "findings outside windows")
    for number, (window, finding, incident, *_) in enumerate(hits, 1):
        if finding is None:
            continue
        yield Figure(f"{name}.window{number}.after_start", (finding - window.begin) / HOUR_S, "h")
        yield Figure(f"{name}.window{number}.after_label", (finding - window.label) / HOUR_S, "h")
        if incident is not None:
            yield Figure(f"{name}.window{number}.incident_after_label", (incident - window.label) / HOUR_S, "h")


def _write_files(runs: Runs, table_to: Path | None, pictures_to: Path | None) -> None:
    if table_to is not None:
        table_to.parent.mkdir(parents=True, exist_ok=True)
        table_to.write_text(table(runs))
    if pictures_to is None:
        return
    from tests.bench.pictures import draw  # matplotlib is slow to load and needed only here

    pictures_to.mkdir(parents=True, exist_ok=True)
    for (_, profile), (_, judged) in runs.items():
        for each in judged if profile == DRAWN else ():
            draw(each, profile, pictures_to)


def main(arguments: list[str] | None = None) -> int:
    """Print the figures; 2 when the data is not there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="JSON lines; else two tables follow the figures")
    parser.add_argument("--quick", action="store_true", help="only the profile full")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the tables there, as Markdown")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write a picture of each metric series there")
    asked = parser.parse_args(arguments)
    runs: Runs = {}
    try:
        folder, nab = captures_dir(), nab_dir()
    except (CapturesMissing, NabMissing) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    configure_logging("warning")
    write(figures(folder, nab, (DRAWN,) if asked.quick else PROFILES, runs), as_json=asked.json)
    _write_files(runs, asked.table, asked.pictures)
    if not asked.json:
        sys.stdout.write(table(runs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
