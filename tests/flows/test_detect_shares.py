"""A detect process that reads its share of the subjects."""

import pytest

from flows.detect import read_subjects
from schemas.settings import Settings, SettingsError


def test_all_subjects_unless_told_otherwise() -> None:
    assert read_subjects(Settings()) == ()


def test_a_share_always_has_what_moves_time_and_what_people_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHKEEPER_DETECT_SUBJECTS", '["metrics.ingested.system.>", "logs.ingested.app.*"]')
    assert read_subjects(Settings.load()) == ("metrics.ingested.system.>", "logs.ingested.app.*", "ops.>")


@pytest.mark.parametrize(
    "subject", ["ops.>", "metrics.ingested.", "metrics.ingested.a b", "metrics.>", "logs.ingested.>.a"]
)
def test_what_is_no_subject_of_telemetry_is_refused(subject: str) -> None:
    with pytest.raises(SettingsError, match="detect_subjects"):
        Settings.load(detect_subjects=(subject,))
