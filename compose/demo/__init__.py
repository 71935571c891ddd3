"""A simulated ship with known faults: the same seed and start give the same telemetry."""
