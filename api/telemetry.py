"""What the API says about itself in /metrics."""

from prometheus_client import CollectorRegistry, Histogram, generate_latest

LATENCY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class ApiMetrics:
    """Request times by route template (never by path), method and status, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Histogram(
            "watchkeeper_api_request_seconds",
            "Time to answer a request.",
            ("route", "method", "status"),
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )


def exposition(*registries: CollectorRegistry) -> bytes:
    """The Prometheus text of several registries; their metric names must differ."""
    return b"".join(generate_latest(registry) for registry in registries)
