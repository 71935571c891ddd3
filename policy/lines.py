"""YAML with line numbers: plain data, and for every key the file and line that set it."""

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from policy.errors import PolicyError

MAX_KEYS = 100_000
MAX_BYTES = 4 * 1024 * 1024

Key = tuple[str, ...]


class Place(NamedTuple):
    """Where a value stands."""

    file: Path
    line: int


class Document(NamedTuple):
    """The data of one file, and the place of every key in it."""

    data: dict[str, Any]
    places: dict[Key, Place]


def read_yaml(file: Path) -> Document:
    """Read one YAML file whose top is a mapping; an empty file is an empty mapping.

    Raises:
        PolicyError: for a file that cannot be read, broken YAML, a duplicate key, a top that is no mapping.
    """
    try:
        if file.stat().st_size > MAX_BYTES:
            raise PolicyError(file, 0, "", f"larger than {MAX_BYTES} bytes")
        text = file.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(file, 0, "", f"cannot be read: {error}") from error
    except RecursionError as error:
        raise PolicyError(file, 0, "", "nested too deep") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 0
        raise PolicyError(file, line, "", f"broken YAML: {getattr(error, 'problem', None) or error}") from error
    places: dict[Key, Place] = {}
    try:
        return _document(file, node, places)
    except RecursionError:
        raise PolicyError(file, 0, "", "nested too deep, or an alias that holds itself") from None


def _document(file: Path, node: yaml.Node | None, places: dict[Key, Place]) -> Document:
    if node is None:
        return Document({}, places)
    if not isinstance(node, yaml.MappingNode):
        raise PolicyError(file, node.start_mark.line + 1, "", "expected a mapping of keys to values at the top")
    data: dict[str, Any] = _mapping(file, node, (), places)
    return Document(data, places)


def _mapping(file: Path, node: yaml.MappingNode, at: Key, places: dict[Key, Place]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise PolicyError(file, line, ".".join(at), "expected a plain key")
        key = key_node.value
        if key in out:
            first = places[(*at, key)].line
            raise PolicyError(file, line, ".".join((*at, key)), f"given twice, first in line {first}; keep one")
        places[(*at, key)] = Place(file, line)
        if len(places) > MAX_KEYS:
            raise PolicyError(file, line, "", f"more than {MAX_KEYS} keys, aliases counted each time")
        out[key] = _value(file, value_node, (*at, key), places)
    return out


def _value(file: Path, node: yaml.Node, at: Key, places: dict[Key, Place]) -> Any:
    if isinstance(node, yaml.MappingNode):
        return _mapping(file, node, at, places)
    if isinstance(node, yaml.SequenceNode):
        out = []
        for index, item in enumerate(node.value):
            places[(*at, str(index))] = Place(file, item.start_mark.line + 1)
            out.append(_value(file, item, (*at, str(index)), places))
        return out
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError) as error:
        raise PolicyError(file, node.start_mark.line + 1, ".".join(at), f"cannot be read: {error}") from error
    finally:
        loader.dispose()
