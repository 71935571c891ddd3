"""Policies from files: read, merge, check; every value knows where it comes from."""

import json
from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from policy.errors import PolicyError
from policy.explain import MASTER, SHIPPED, explain
from policy.lines import Document, Key, Place, read_yaml
from policy.model import SEGMENTS, Master, Policy

_RULES = (
    ("detect", "thresholds"),
    ("detect", "metrics"),
    ("detect", "patterns"),
    ("detect", "custom"),
    ("correlate", "incident_types"),
    ("maintenance", "windows"),
)
_KNOWN_FILES = {MASTER, *(f"{segment}.yaml" for segment in SEGMENTS)}


class PolicySet:
    """The policies of all ships: one for each that overrides something, the default for all others.

    hash: 12 hex digits of everything in force; equal where every ship's policy is equal.
    """

    def __init__(self, master: Master, base: dict[str, Any], origins: dict[Key, str], places: dict[Key, Place]) -> None:
        self._master = master
        self._base = base
        self._origins = origins
        self._places = places
        self.default = self._build(None)[0]
        self._ships = {ship: self._build(ship) for ship in master.ships}
        policies = {"": self.default, **{ship: policy for ship, (policy, _) in sorted(self._ships.items())}}
        text = json.dumps({ship: policy.model_dump(mode="json") for ship, policy in policies.items()}, sort_keys=True)
        self.hash = sha256(text.encode()).hexdigest()[:12]

    @property
    def ships(self) -> tuple[str, ...]:
        """The ships that override something."""
        return tuple(self._ships)

    def for_ship(self, ship_id: str) -> Policy:
        """The policy of a ship."""
        found = self._ships.get(ship_id)
        return found[0] if found is not None else self.default

    def origin(self, ship_id: str | None, dotted: str) -> str:
        """Where a value comes from: default, a file and line, a profile or a ship."""
        found = self._ships.get(ship_id) if ship_id is not None else None
        origins = found[1] if found is not None else self._build(None)[1]
        key = tuple(dotted.split("."))
        while key:
            if key in origins:
                return origins[key]
            key = key[:-1]
        return "default"

    def _build(self, ship: str | None) -> tuple[Policy, dict[Key, str]]:
        data, origins = self._base, dict(self._origins)
        profile = self._master.profile
        layers: list[tuple[Key, dict[str, Any], str]] = [
            (("profiles", profile), self._master.profiles.get(profile, {}), f"profile {profile}")
        ]
        if ship is not None:
            layers.append((("ships", ship), self._master.ships[ship], f"ship {ship}"))
        places = dict(self._places)
        for prefix, changes, origin in layers:
            _check_removals(data, changes, places, prefix)
            data = merge(data, changes)
            for key in _leaves(changes):
                origins[key] = origin
                places[key] = places.get((*prefix, *key), places.get(prefix, Place(Path(MASTER), 0)))
            for key, place in self._places.items():
                if key[: len(prefix)] == prefix and len(key) > len(prefix):
                    places[key[len(prefix) :]] = place
        try:
            return Policy.model_validate({"profile": profile, **data}), origins
        except ValidationError as error:
            raise explain(error, places, Policy) from error


def load_policy(directory: Path | None = None) -> PolicySet:
    """Load the shipped policy, with what the files of a directory change in it.

    Raises:
        PolicyError: naming file, line, key and what was expected.
    """
    return _load(directory) if directory is not None else _shipped()


@lru_cache(maxsize=1)
def _shipped() -> PolicySet:
    return _load(SHIPPED)


def _load(directory: Path) -> PolicySet:
    if not directory.is_dir():
        raise PolicyError(directory, 0, "", "no such folder; give the folder that holds policy.yaml")
    folders = [SHIPPED] if directory == SHIPPED else [SHIPPED, directory]
    _no_strangers(directory)
    base: dict[str, Any] = {}
    origins: dict[Key, str] = {}
    places: dict[Key, Place] = {}
    for segment in SEGMENTS:
        for folder in folders:
            document = _read(folder, f"{segment}.yaml")
            for key, place in document.places.items():
                places[(segment, *key)] = place
            _check_removals(base, {segment: document.data}, places)
            base[segment] = merge(base.get(segment, {}), document.data)
            _note((segment,), document, origins, places)
    master_data: dict[str, Any] = {}
    for folder in folders:
        document = _read(folder, MASTER)
        master_data = merge(master_data, document.data)
        _note((), document, origins, places)
    try:
        master = Master.model_validate(master_data)
    except ValidationError as error:
        raise explain(error, places, Master) from error
    base["features"] = master.features
    _check_every_profile(master, base, origins, places)
    return PolicySet(master, base, origins, places)


def _check_every_profile(
    master: Master, base: dict[str, Any], origins: dict[Key, str], places: dict[Key, Place]
) -> None:
    """A profile that is not in force must be right as well, or switching to it would be a surprise."""
    for profile in master.profiles:
        PolicySet(master.model_copy(update={"profile": profile, "ships": {}}), base, origins, places)


def _check_removals(
    base: Mapping[str, Any], changes: Mapping[str, Any], places: Mapping[Key, Place], prefix: Key = ()
) -> None:
    """Null takes an entry out of a mapping of rules; one that is not there is a misspelling."""
    for segment, name in _RULES:
        known = base.get(segment, {}).get(name, {})
        changed = (changes.get(segment) or {}).get(name) if isinstance(changes.get(segment), Mapping) else None
        for entry, value in changed.items() if isinstance(changed, Mapping) else ():
            if value is None and entry not in known:
                key = (segment, name, entry)
                place = places.get((*prefix, *key), Place(Path(MASTER), 0))
                near = get_close_matches(entry, known, 1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known) or 'none'}"
                raise PolicyError(place.file, place.line, ".".join((*prefix, *key)), f"nothing to take out, {hint}")


def _no_strangers(directory: Path) -> None:
    for file in sorted(directory.glob("*.y*ml")):
        if file.name not in _KNOWN_FILES:
            near = get_close_matches(file.name, _KNOWN_FILES, 1)
            hint = f", did you mean {near[0]}?" if near else f"; there are {', '.join(sorted(_KNOWN_FILES))}"
            raise PolicyError(file, 0, "", f"no policy file of this name{hint}")


def _read(folder: Path, name: str) -> Document:
    file = folder / name
    if not file.exists() and folder != SHIPPED:
        return Document({}, {})
    return read_yaml(file)


def _note(prefix: Key, document: Document, origins: dict[Key, str], places: dict[Key, Place]) -> None:
    for key, place in document.places.items():
        places[(*prefix, *key)] = place
    for key in _leaves(document.data):
        if key in document.places:
            place = document.places[key]
            origins[(*prefix, *key)] = f"{place.file.parent.name}/{place.file.name}:{place.line}"


def _leaves(data: Mapping[str, Any], at: Key = ()) -> list[Key]:
    """The keys of everything that is no mapping (a removed entry is a leaf)."""
    out = []
    for name, value in data.items():
        if isinstance(value, Mapping) and value:
            out.extend(_leaves(value, (*at, name)))
        else:
            out.append((*at, name))
    return out


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The base with changes: mappings key by key, everything else replaced; null takes a key out.

    >>> merge({"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": 9, "c": None}, "d": [2]})
    {'a': {'b': 9}, 'd': [2]}
    """
    out = dict(base)
    for key, value in changes.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(out.get(key), Mapping):
            out[key] = merge(out[key], value)
        else:
            out[key] = value
    return out
