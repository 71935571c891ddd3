"""Settings: where things are and how they are reached (policy says when and how much)."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

GIB = 1024**3
MIB = 1024**2
DAY_S = 86_400


TelemetrySubject = Annotated[str, Field(pattern=r"^(logs|metrics)\.ingested\.[^\s>]*(>|[^\s.>])$")]
"""A subject of telemetry, with wildcards if need be."""


class SettingsError(ValueError):
    """A setting is missing or wrong; the message names it and says what was expected."""


class StreamSettings(BaseModel):
    """One JetStream stream: what it takes, and how much and how long it keeps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subjects: tuple[str, ...]
    max_age_s: int = Field(gt=0, description="messages older than this are dropped")
    max_bytes: int = Field(gt=0, description="the oldest messages are dropped beyond this size")
    discard: Literal["old", "new"] = Field(default="old", description="which message gives way when the stream is full")
    duplicate_window_s: int = Field(default=120, gt=0, description="how long a repeated Nats-Msg-Id is refused")


def default_streams() -> dict[str, StreamSettings]:
    """The table of streams; the sizes fit a ship's small disk (8.5 GiB in all)."""
    table = {
        "TELEMETRY": (
            ("logs.ingested.>", "metrics.ingested.>", "ops.command", "ops.device", "ops.tick"),
            3 * DAY_S,
            6 * GIB,
        ),
        "ANOMALIES": (("anomaly.>",), 7 * DAY_S, 1 * GIB),
        "INCIDENTS": (("incidents.>",), 90 * DAY_S, 512 * MIB),
        "INSIGHTS": (("enrichment.>",), 30 * DAY_S, 512 * MIB),
        "DEAD_LETTERS": (("dlq.>",), 14 * DAY_S, 256 * MIB),
        "OPS": (("ops.audit", "ops.suppression"), 30 * DAY_S, 256 * MIB),
    }
    return {
        name: StreamSettings(subjects=subjects, max_age_s=age, max_bytes=size)
        for name, (subjects, age, size) in table.items()
    }


class Settings(BaseSettings):
    """All settings of all parts, read once at the edge from the environment.

    The four addresses are NATS_URL, CLICKHOUSE_DSN, QDRANT_URL and OLLAMA_HOST; everything else is
    WATCHKEEPER_<NAME>. WATCHKEEPER_STREAMS takes JSON: {"TELEMETRY": {"max_bytes": 1073741824}}
    changes one value and leaves the rest of the table.
    """

    model_config = SettingsConfigDict(env_prefix="WATCHKEEPER_", frozen=True, extra="ignore", populate_by_name=True)

    ship_id: str = Field("ship-1", min_length=1, max_length=256, description="this vessel's name")
    policy_dir: Path | None = Field(None, description="folder of policy.yaml; the shipped policy when unset")
    data_dir: Path = Field(Path("data"), description="where everything that must survive is kept")
    nats_url: str = Field("nats://127.0.0.1:4222", validation_alias=AliasChoices("NATS_URL", "nats_url"))
    nats_user: str | None = None
    nats_password: SecretStr | None = None
    nats_credentials: Path | None = Field(None, description="a NATS .creds file")
    clickhouse_dsn: SecretStr = Field(
        SecretStr("http://127.0.0.1:8123/watchkeeper"),
        validation_alias=AliasChoices("CLICKHOUSE_DSN", "clickhouse_dsn"),
        description="http://user:password@host:8123/database, or chdb:///path for the embedded one",
    )
    clickhouse_database: str = Field("watchkeeper", pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")
    epoch_s: float = Field(1.0, gt=0, le=60, description="seconds between two recovery snapshots")
    source_window: int = Field(8192, ge=64, le=262_144, description="messages asked for or buffered at most")
    source_batch: int = Field(500, ge=1, le=20_000, description="messages handed to the flow at a time")
    nats_wait_s: float = Field(300.0, gt=0, description="how long a publish may wait for NATS before the flow stops")
    detect_slots: int = Field(64, ge=1, le=1024, description="state keys of detect; fixed for the life of its state")
    detect_subjects: tuple[TelemetrySubject, ...] = Field(
        (),
        description="subjects that a detect process of its own reads, as JSON; all when empty. Several such processes, "
        "each with a data folder of its own, share the telemetry; a series must keep to one of them",
    )
    correlate_slots: int = Field(
        1,
        ge=1,
        le=64,
        description="state keys of correlate; fixed likewise. With more, ships keep their order, not each other's",
    )
    health_host: str = Field("127.0.0.1", description="where a flow's /metrics and /health listen")
    vessel_port: int = Field(8081, ge=0, le=65_535)
    archive_port: int = Field(8082, ge=0, le=65_535)
    insight_port: int = Field(8083, ge=0, le=65_535)
    detect_port: int = Field(8084, ge=0, le=65_535)
    correlate_port: int = Field(8085, ge=0, le=65_535)
    api_host: str = "127.0.0.1"
    api_port: int = Field(8080, ge=0, le=65_535)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = Field("auto", description="auto: console on a terminal, else JSON")
    streams: dict[str, Any] = Field(default_factory=dict, description="changes to the table of streams")

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read the environment; overrides (from the command line) win over it.

        Raises:
            SettingsError: naming every wrong setting and what was expected.
        """
        try:
            settings = cls(**{key: value for key, value in overrides.items() if value is not None})
            settings.stream_table()
        except ValidationError as error:
            raise SettingsError(_explain(error)) from error
        return settings

    def stream_table(self) -> dict[str, StreamSettings]:
        """The streams by name, with the changes of WATCHKEEPER_STREAMS applied.

        Raises:
            SettingsError: for a stream that does not exist or a value out of bounds.
        """
        table = default_streams()
        for name, changes in self.streams.items():
            if name not in table:
                raise SettingsError(f"WATCHKEEPER_STREAMS: no stream {name!r}, expected one of {', '.join(table)}")
            try:
                table[name] = StreamSettings.model_validate(table[name].model_dump() | changes)
            except ValidationError as error:
                raise SettingsError(f"WATCHKEEPER_STREAMS, {name}: {_explain(error)}") from error
        return table

    def recovery_dir(self, flow: str) -> Path:
        """Where a flow's recovery store is kept."""
        return self.data_dir / "recovery" / flow


def _explain(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']} (got {e['input']!r})" for e in error.errors()
    )
