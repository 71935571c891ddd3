"""GET /api/v3/devices: the device inventory."""

from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

from api.context import Context
from api.params import Ship
from api.problems import error_responses
from api.queries import devices as query

router = APIRouter(prefix="/api/v3/devices", tags=["devices"], responses=error_responses(422, 500, 503))

MAX_DEVICES: Final = 10_000


class InventoryDevice(BaseModel):
    """One device of the inventory, and when it was last told."""

    ship_id: str
    device_id: str
    device_type: str
    vendor: str
    model: str
    location: str
    criticality: str
    depends_on: list[str]
    published_at: datetime


class DeviceList(BaseModel):
    """Devices by ship and device_id; more says that there are others beside these."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "items": [
                    {
                        "ship_id": "aurora",
                        "device_id": "rtr-1",
                        "device_type": "router",
                        "vendor": "Example Networks",
                        "model": "R-1100",
                        "location": "IT rack",
                        "criticality": "high",
                        "depends_on": ["vsat-1"],
                        "published_at": "2026-03-01T00:00:00Z",
                    }
                ],
                "more": False,
            }
        }
    )

    items: list[InventoryDevice]
    more: bool


@router.get("")
def devices(
    context: Context,
    ship: Ship = None,
    limit: Annotated[int, Query(ge=1, le=MAX_DEVICES)] = MAX_DEVICES,
) -> DeviceList:
    """The devices on board, what they are and what they depend on; those removed are left out."""
    rows = query.devices(context.reader, ship=ship or "", limit=limit + 1)
    return DeviceList(items=[InventoryDevice.model_validate(row) for row in rows[:limit]], more=len(rows) > limit)
