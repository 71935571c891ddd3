"""What was found in the captures as Markdown tables, for docs/detection.md."""

from collections import Counter
from collections.abc import Iterator

from tests.bench.capture_labels import METRIC_CAPTURES, Hit, Judged, false_incidents
from tests.bench.flow_run import Found

Runs = dict[tuple[str, str], tuple[Found, list[Judged]]]
"""By capture and profile: what the flow found, and each labelled series of it judged."""


def table(runs: Runs) -> str:
    """Both tables: labelled series, then log captures."""
    return "\n".join([*_labelled(runs), "", *_logs(runs), ""])


def _labelled(runs: Runs) -> Iterator[str]:
    yield "| capture, series | profile | labels found | first finding after the window's start (to the label) | missed | outside windows |"  # noqa: E501
    yield "| --- | --- | --- | --- | --- | --- |"
    for (capture, profile), (found, judged) in runs.items():
        for each in judged:
            hits = each.hits
            seen = [f"{n}: {timing(hit)}" for n, hit in enumerate(hits, 1) if hit.finding is not None]
            missed = [f"{n}{' (already firing)' if hit.ongoing else ''}" for n, hit in enumerate(hits, 1) if hit.finding is None]  # fmt: skip # noqa: E501
            yield (
                f"| {capture}, {each.series.source.name} | {profile} | {len(seen)} of {len(hits)} "
                f"| {'; '.join(seen) or '–'} | {', '.join(missed) or '–'} | {_findings(each)} |"
            )
        if capture in METRIC_CAPTURES:
            false = len(false_incidents(found, judged))
            yield f"| {capture}, incidents | {profile} | {len(found.openings) - false} true | | | {false} false |"


def timing(hit: Hit) -> str:
    """When a window was found: after its start, and against the label; and what the incident did.

    >>> from tests.bench.capture_labels import Window
    >>> timing(Hit(Window(0.0, 72000.0), 7200.0, 7200.0, True, False))
    '2.0 h (8.0 h before), incident at once'
    """
    if hit.finding is None:
        return "missed"
    after, label = (hit.finding - hit.window.begin) / 3600, (hit.finding - hit.window.label) / 3600
    text = f"{after:.1f} h ({abs(label):.1f} h {'before' if label < 0 else 'after'})"
    if hit.incident is None:
        return f"{text}, no incident"
    delay = hit.incident - hit.finding
    when = "at once" if delay < 1 else f"{delay / 60:.0f} min later"
    return f"{text}, incident {when}" if hit.opened else f"{text}, in an incident open before"


def _findings(each: Judged) -> str:
    detectors = Counter(firing.anomaly.detector for firing in each.outside)
    parts = ", ".join(f"{count} {name}" for name, count in detectors.most_common())
    return f"{len(each.outside)}" + (f" ({parts})" if parts else "")


def _logs(runs: Runs) -> Iterator[str]:
    yield "| capture | profile | incidents | of which type | findings | by detector |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for (capture, profile), (found, _) in runs.items():
        if capture in METRIC_CAPTURES:
            continue
        types = Counter(each.incident_type for each in found.openings)
        detectors = Counter(f"{each.anomaly.detector} {each.anomaly.rule or ''}".strip() for each in found.firings)
        yield (
            f"| {capture} | {profile} | {len(found.openings)} | {_counted(types)} "
            f"| {len(found.firings)} | {_counted(detectors)} |"
        )


def _counted(what: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in what.most_common()) or "–"
