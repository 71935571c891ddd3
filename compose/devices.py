"""The ship's device inventory: read from YAML, compared with what is known, told to the vessel flow."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from compose.acknowledged import publish_acknowledged
from compose.api_client import ApiClient
from operators.correlate.topology import MAX_DEPENDS_ON, MAX_DEVICES, MAX_TYPE
from operators.jetstream import NatsConfig, open_link
from policy.errors import PolicyError
from policy.explain import explain
from policy.lines import Document, Key, Place, read_yaml
from schemas.base import Name
from schemas.ops import Device

DEVICE_SUBJECT: Final = "ops.device"
AT_ONCE: Final = 100
MAX_WARNINGS: Final = 10

Ask = Callable[[str], Collection[str] | None]
"""The names of the devices that are known of a ship already; None when nobody can be asked."""

Text = Annotated[str, Field(max_length=MAX_TYPE)]


class InventoryEntry(BaseModel):
    """What the file says of one device."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    device_type: Text = ""
    vendor: Text = ""
    model: Text = ""
    location: Text = ""
    criticality: Literal["low", "medium", "high", "critical"] = "medium"
    depends_on: Annotated[list[Name], Field(max_length=MAX_DEPENDS_ON)] = Field(default_factory=list)


class InventoryFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ship: Name | None = None
    devices: dict[Name, InventoryEntry]


class Inventory(NamedTuple):
    """The devices of one ship by name, and what is odd but allowed."""

    ship_id: str
    devices: tuple[Device, ...]
    warnings: tuple[str, ...]


class Changes(NamedTuple):
    """How an inventory differs from what is known: device ids; removed is the last word on those that vanished."""

    new: tuple[str, ...]
    changed: tuple[str, ...]
    vanished: tuple[str, ...]
    removed: tuple[Device, ...]


def read_inventory(file: Path, ship_id: str, ask: Ask | None = None) -> Inventory:
    """Read and check a file of devices; ship_id is used where the file names no ship.

        ship: aurora                     # may be left out
        devices:
          vsat-1: {device_type: modem, vendor: Example Satcom, location: radar mast, criticality: high}
          rtr-1:
            device_type: router
            depends_on: [vsat-1]

    Raises:
        PolicyError: with file, line and key, for a file that cannot be read, a key or value that cannot
            be, a dependency on itself, on something given twice or on a device that neither the file has
            nor, by ask (only then asked), the inventory so far; without ask it must be in the file.
    """
    document = read_yaml(file)
    _check_shape(file, document)
    try:
        content = InventoryFile.model_validate(document.data)
    except ValidationError as error:
        raise _explained(error, document.places) from error
    ship = content.ship or ship_id
    mine = content.devices.keys()
    lacking = any(other not in mine for entry in content.devices.values() for other in entry.depends_on)
    known = ask(ship) if ask is not None and lacking else ()
    for name, entry in content.devices.items():
        _check_dependencies(name, entry, mine, known, document.places)
    devices = tuple(
        Device(ship_id=ship, device_id=name, **entry.model_dump()) for name, entry in sorted(content.devices.items())
    )
    return Inventory(ship, devices, _cycles(devices))


def _check_shape(file: Path, document: Document) -> None:
    devices = document.data.get("devices")
    place = document.places.get(("devices",), Place(file, 0))
    if not isinstance(devices, dict) or not devices:
        raise PolicyError(place.file, place.line, "devices", "a mapping of device names to what is known of them")
    if len(devices) > MAX_DEVICES:
        raise PolicyError(place.file, place.line, "devices", f"at most {MAX_DEVICES} devices, got {len(devices)}")
    for name, entry in devices.items():
        if entry is None:
            devices[name] = {}
        elif not isinstance(entry, dict):
            at = document.places[("devices", name)]
            expected = f"a mapping such as {{device_type: router, depends_on: [vsat-1]}}, got {entry!r:.60}"
            raise PolicyError(at.file, at.line, f"devices.{name}", expected)


def _explained(error: ValidationError, places: Mapping[Key, Place]) -> PolicyError:
    """The first problem; text that YAML takes for something else is to be quoted."""
    found = explain(error, places, InventoryFile)
    first = error.errors(include_url=False)[0]
    given = first["input"]
    if first["type"] == "string_type" and not isinstance(given, (list, dict)):
        expected = f'text, got {given!r}; put it in quotes, "{given}"'
        return PolicyError(found.file, found.line, found.key, f"expected {expected}")
    if first["type"] == "list_type":
        return PolicyError(found.file, found.line, found.key, f"a list, for example [vsat-1], got {given!r:.60}")
    return found


def _check_dependencies(
    name: str,
    entry: InventoryEntry,
    mine: Collection[str],
    known: Collection[str] | None,
    places: Mapping[Key, Place],
) -> None:
    for index, other in enumerate(entry.depends_on):
        key = ("devices", name, "depends_on", str(index))
        at, shown = places[key], f"devices.{name}.depends_on"
        if other == name:
            raise PolicyError(at.file, at.line, shown, "names the device itself, take it out")
        if other in entry.depends_on[:index]:
            raise PolicyError(at.file, at.line, shown, f"names {other} twice, keep one")
        if other not in mine and other not in (known or ()):
            near = get_close_matches(other, [*mine, *(known or ())], 1)
            hint = f"did you mean {near[0]}?" if near else "add it under devices, or take it out"
            if known is None:
                hint = f"and the API cannot be asked whether it is known: start it, name it with --api, or {hint}"
            raise PolicyError(at.file, at.line, shown, f"no device {other} in this file, {hint}")


def _cycles(devices: Sequence[Device]) -> tuple[str, ...]:
    """One sentence for each ring of devices that depend on each other, 10 at most."""
    graph = {device.device_id: list(device.depends_on) for device in devices}
    told: list[str] = []
    while len(told) < MAX_WARNINGS:
        try:
            TopologicalSorter(graph).prepare()
            break
        except CycleError as error:
            ring: list[str] = error.args[1][::-1]
            graph[ring[0]].remove(ring[1])
            told.append(f"{' → '.join(ring)}: they depend on each other, so each counts as the other's cause")
    return tuple(told)


def known_devices(api: ApiClient, ship_id: str) -> dict[str, Device]:
    """What the API knows of the ship's inventory, by device id.

    Raises:
        ApiAwayError: when the API does not answer.
    """
    items: list[dict[str, Any]] = api.get("devices", ship=ship_id)["items"]
    return {item["device_id"]: Device.model_validate(item) for item in items}


def compare(inventory: Inventory, known: Mapping[str, Device]) -> Changes:
    """How the inventory differs from what is known of the ship."""
    mine = {device.device_id: device for device in inventory.devices}
    vanished = tuple(sorted(known.keys() - mine.keys()))
    return Changes(
        new=tuple(sorted(mine.keys() - known.keys())),
        changed=tuple(name for name, device in mine.items() if name in known and device != known[name]),
        vanished=vanished,
        removed=tuple(Device(ship_id=inventory.ship_id, device_id=name, removed=True) for name in vanished),
    )


def send_devices(config: NatsConfig, devices: Sequence[Device]) -> int:
    """Publish entries of the inventory, each acknowledged by JetStream; return how many.

    All entries are sent each time, known or not: the last word on a device wins, so that repeating
    it, also after a failure halfway, does no harm.

    Raises:
        NatsError, NatsAwayError: when NATS cannot be reached or did not store one.
    """
    return asyncio.run(_send(config, devices))


async def _send(config: NatsConfig, devices: Sequence[Device]) -> int:
    link = await open_link(config, "watchkeeper-devices")
    try:
        for begin in range(0, len(devices), AT_ONCE):
            part = devices[begin : begin + AT_ONCE]
            await asyncio.gather(*(publish_acknowledged(link, DEVICE_SUBJECT, device) for device in part))
    finally:
        await link.close()
    return len(devices)
