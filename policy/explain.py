"""From what pydantic says to what a person needs: file, line, key and what was expected."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from policy.errors import PolicyError
from policy.lines import Key, Place

SHIPPED = Path(__file__).parent
MASTER = "policy.yaml"


def explain(error: ValidationError, places: Mapping[Key, Place], model: type[BaseModel]) -> PolicyError:
    """The first problem as a PolicyError; an unknown key names the nearest known one."""
    first = error.errors(include_url=False)[0]
    key = tuple(str(part) for part in first["loc"] if part != "[key]")
    place = _place(key, places)
    if first["type"] == "extra_forbidden":
        expected = _unknown(key, model)
    else:
        message = first["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
        given = repr(first["input"])
        expected = message if len(given) > 80 or first["type"] == "missing" else f"{message}, got {given}"
    return PolicyError(place.file, place.line, ".".join(key), expected)


def _place(key: Key, places: Mapping[Key, Place]) -> Place:
    """Where a key stands; for a part of the policy as a whole, where the user's own file says something of it."""
    for length in range(len(key), 0, -1):
        if key[:length] in places:
            return places[key[:length]]
    within = [place for at, place in places.items() if at[: len(key)] == key]
    own = [place for place in within if place.file.parent != SHIPPED]
    return min(own or within, key=lambda place: place.line, default=Place(Path(MASTER), 0))


def _unknown(key: Key, model: type[BaseModel]) -> str:
    known = _known_keys(key[:-1], model)
    near = get_close_matches(key[-1], known, 1)
    return f"unknown key, did you mean {near[0]}?" if near else f"unknown key, expected one of {', '.join(known)}"


def _known_keys(path: Key, model: type[BaseModel]) -> list[str]:
    """The fields of the model at a path; a name of a mapping's entry leads to the entry's model."""
    current: Any = model
    for part in path:
        fields = getattr(current, "model_fields", {})
        current = _model_in(fields[part].annotation) if part in fields else current
    return list(getattr(current, "model_fields", {}))


def _model_in(annotation: Any) -> Any:
    """The model that an annotation holds (in a mapping, tuple or union), or the annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if isinstance(found, type) and issubclass(found, BaseModel):
            return found
    return annotation
