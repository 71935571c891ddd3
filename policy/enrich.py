"""enrich: what an anomaly's context may cost, how long it is remembered, and what it does to severity."""

from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, model_validator

from policy.base import Segment, Word
from schemas.base import Severity

Steps = Annotated[int, Field(ge=-3, le=3)]
Ttl = Annotated[float, Field(ge=0, le=3600)]


class CachePolicy(Segment):
    """Seconds that an answer of ClickHouse is used again, by kind, also for anomalies that far apart in event time."""

    similar_s: Ttl = Field(30, description="how many similar anomalies there were")
    quantiles_s: Ttl = Field(300, description="a metric's p50 and p95")
    errors_s: Ttl = Field(60, description="who logs the most errors today")
    incident_s: Ttl = Field(60, description="the last incident of the kind")
    device_s: Ttl = Field(300, description="what the device is")
    size: int = Field(10_000, ge=1, le=1_000_000, description="answers kept, of each kind")


class BreakerPolicy(Segment):
    """When ClickHouse is not asked any more."""

    failures: int = Field(3, ge=1, le=1000, description="failed calls in a row that open the breaker")
    open_s: float = Field(10, gt=0, le=3600, description="pause before ClickHouse is tried again, in the background")


class OftenPolicy(Segment):
    """What fires often is ordinary; it counts where the score alone says how bad it is."""

    similar_7d: int = Field(100, ge=1, le=10_000_000, description="so many similar anomalies in 7 days are often")
    steps: int = Field(0, ge=0, le=3, description="severity is lowered by so many steps then")


class EnrichSeverityPolicy(Segment):
    """What context does to severity; 1 step is from low to medium, and so on."""

    by_criticality: dict[Severity, Steps] = Field(
        default_factory=dict, max_length=4, description="steps up or down by the device's criticality"
    )
    often: OftenPolicy = Field(OftenPolicy(), description="what fires often")
    at_least: dict[Word, Severity] = Field(
        default_factory=dict, max_length=200, description="the least severity, by incident type"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = sorted(self.by_criticality.items(), key=lambda item: item[0].rank)
        for (lower, less), (higher, more) in pairwise(given):
            if more < less:
                raise ValueError(
                    f"by_criticality: {higher.value} is {more} but {lower.value} is {less}; "
                    "a more critical device must not make an anomaly less severe"
                )
        return self


class EnrichPolicy(Segment):
    """Context from ClickHouse for each anomaly; without an answer in time the anomaly goes on without."""

    timeout_ms: float = Field(500, ge=10, le=500, description="the longest that an anomaly waits for its context")
    capacity: int = Field(1000, ge=1, le=100_000, description="anomalies that wait at once; more wait in JetStream")
    workers: int = Field(2, ge=1, le=16, description="batches of queries at once")
    max_batch: int = Field(200, ge=1, le=1000, description="anomalies that are asked about together")
    linger_ms: float = Field(
        10, ge=0, le=100, description="an anomaly waits so long for others to be asked about with it"
    )
    retries: int = Field(1, ge=0, le=5, description="tries after a failed one, within the timeout")
    backoff_ms: float = Field(50, ge=0, le=500, description="pause before the first of them, doubled each time")
    cache: CachePolicy = Field(CachePolicy(), description="answers that are used again")
    breaker: BreakerPolicy = Field(BreakerPolicy(), description="when ClickHouse is not asked any more")
    severity: EnrichSeverityPolicy = Field(EnrichSeverityPolicy(), description="what context does to severity")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.linger_ms > self.timeout_ms / 2:
            raise ValueError(
                f"linger_ms is {self.linger_ms:g}, expected at most half of timeout_ms ({self.timeout_ms:g}), "
                "or there is no time left to ask"
            )
        return self
