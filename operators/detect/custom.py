"""Detectors of one's own: policy names a class, which must keep the contract of MetricDetector."""

import pickle
from functools import lru_cache
from importlib import import_module
from inspect import signature
from math import inf, nan, sin
from pathlib import Path
from typing import Any

import structlog

from operators.detect.finding import Finding, MetricDetector
from policy import PolicyError, PolicySet
from policy.detect_parameters import CustomDetector

log = structlog.get_logger()

PROBE = 50
MAX_SNAPSHOT = 32_768
_METHODS = ("update", "snapshot", "restore")


class ContractError(ValueError):
    """A class of policy.detect.custom cannot be used: which, why, and what to do."""


def build_custom(spec: CustomDetector, risk: float) -> MetricDetector:
    """A new detector; risk (expected false firings a sample) is passed when its constructor takes it.

    Raises:
        ContractError: when there is no such class, or it cannot be built with these parameters.
    """
    kind, takes_risk = _resolve(spec.class_)
    arguments: dict[str, Any] = {"risk": risk, **spec.params} if takes_risk else dict(spec.params)
    try:
        machine: MetricDetector = kind(**arguments)
    except Exception as error:
        raise ContractError(f"{spec.class_} cannot be built with these params: {error}") from error
    return Guarded(spec.class_, machine)


class Guarded:
    """A detector of somebody else's, which must not stop the flow.

    Once it raises it is not asked again (until the next restart) and clears what it had firing; the
    log says so once, with the error. A score outside [0, 1] is cut.
    """

    __slots__ = ("_machine", "_name", "error")

    def __init__(self, name: str, machine: MetricDetector) -> None:
        self._name = name
        self._machine = machine
        self.error: str | None = None

    @property
    def machine(self) -> MetricDetector:
        """The detector itself."""
        return self._machine

    @property
    def firing(self) -> bool:
        """Whether it has fired and not yet cleared."""
        return self.error is None and self._machine.firing

    @property
    def score(self) -> float:
        """Of the latest sample, in [0, 1]: 0.5 at the bound."""
        return 0.0 if self.error is not None else max(0.0, min(1.0, self._machine.score))

    def update(self, at: float, value: float) -> Finding | None:
        """Take one sample (seconds since 1970, value)."""
        if self.error is not None:
            return None
        was_firing = self._machine.firing
        try:
            found = self._machine.update(at, value)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is not the flow's
            self.error = f"{type(error).__name__}: {error}"
            log.error("a detector failed and is not asked again", detector=self._name, error_msg=self.error)
            msg = f"{self._name} failed ({self.error}) and is not asked again"
            return Finding("cleared", 0.0, None, None, None, at, msg) if was_firing else None
        if found is None:
            return None
        return found._replace(score=max(0.0, min(1.0, found.score)))

    def snapshot(self) -> dict[str, Any]:
        """The state as plain data."""
        return self._machine.snapshot()

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        self._machine.restore(state)


def check_custom(policy: PolicySet) -> None:
    """Build every custom detector once, feed it, save it and load it.

    Raises:
        PolicyError: naming the entry and what its class lacks.
    """
    for ship in (None, *policy.ships):
        chosen = policy.default if ship is None else policy.for_ship(ship)
        risk = chosen.detect.outliers.risk_per_sample
        for name, spec in chosen.detect.custom.items():
            try:
                _check(spec, risk)
            except ContractError as error:
                where = policy.origin(ship, f"detect.custom.{name}.class")
                raise PolicyError(Path(where), 0, f"detect.custom.{name}", str(error)) from error


@lru_cache(maxsize=64)
def _resolve(path: str) -> tuple[Any, bool]:
    module_name, _, name = path.partition(":")
    try:
        kind = getattr(import_module(module_name), name, None)
    except Exception as error:
        text = f"module {module_name} cannot be imported ({error}); put its folder on PYTHONPATH"
        raise ContractError(text) from error
    if not isinstance(kind, type):
        raise ContractError(f"module {module_name} has no class {name}")
    try:
        takes_risk = "risk" in signature(kind).parameters
    except ValueError:
        takes_risk = False
    return kind, takes_risk


def _check(spec: CustomDetector, risk: float) -> None:
    """What every detector must do, tried on a short series."""
    machine = _bare(spec, risk)
    missing = [name for name in _METHODS if not callable(getattr(machine, name, None))]
    missing += [name for name in ("firing", "score") if not hasattr(machine, name)]
    if missing:
        text = f"{spec.class_} lacks {', '.join(missing)}; see MetricDetector in operators/detect/finding.py"
        raise ContractError(text)
    try:
        _try(spec, risk, machine)
    except ContractError:
        raise
    except Exception as error:
        raise ContractError(f"{spec.class_} failed on a trial series: {type(error).__name__}: {error}") from error


def _bare(spec: CustomDetector, risk: float) -> Any:
    machine = build_custom(spec, risk)
    assert isinstance(machine, Guarded)
    return machine.machine


def _try(spec: CustomDetector, risk: float, machine: MetricDetector) -> None:
    for i in range(PROBE // 2):
        _tell(spec, machine, i)
    saved = pickle.dumps(machine.snapshot(), 5)
    if len(saved) > MAX_SNAPSHOT:
        raise ContractError(f"{spec.class_}: a snapshot of {len(saved)} bytes, expected at most {MAX_SNAPSHOT}")
    again = _bare(spec, risk)
    again.restore(pickle.loads(saved))
    for i in range(PROBE // 2, PROBE):
        if _tell(spec, machine, i) != _tell(spec, again, i):
            raise ContractError(f"{spec.class_}: after restore() it goes on differently than if it had never stopped")
    before = pickle.dumps(machine.snapshot(), 5)
    for bad in (nan, inf):
        machine.update(5.0 * PROBE, bad)
    if pickle.dumps(machine.snapshot(), 5) != before:
        raise ContractError(f"{spec.class_}: NaN and infinity must not change its state; return None for them")


def _tell(spec: CustomDetector, machine: MetricDetector, i: int) -> Finding | None:
    found = machine.update(5.0 * i, 50.0 + sin(i) + (1000.0 if i % 17 > 13 else 0.0))
    if not (found is None or isinstance(found, Finding)):
        raise ContractError(f"{spec.class_}: update() gave {type(found).__name__}, expected a Finding or None")
    score = machine.score
    if not isinstance(machine.firing, bool) or not isinstance(score, int | float) or not 0.0 <= score <= 1.0:
        raise ContractError(f"{spec.class_}: firing is {machine.firing!r} and score {score!r}, expected bool, 0 to 1")
    return found
