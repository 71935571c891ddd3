"""The device inventory: the last word on each device."""

from typing import Final

from api.context import Reader, Row

# The last word first, then whether it is "removed": a device that is gone must not come back by an older row.
DEVICES: Final = """
SELECT ship_id, device_id, device_type, vendor, model, location, criticality, depends_on, published_at
FROM (
    SELECT ship_id, device_id, device_type, vendor, model, location, criticality, depends_on, removed, published_at
    FROM devices
    WHERE {ship:String} = '' OR ship_id = {ship:String}
    ORDER BY ship_id, device_id, published_at DESC, stream_seq DESC
    LIMIT 1 BY ship_id, device_id
)
WHERE NOT removed
ORDER BY ship_id, device_id
LIMIT {limit:UInt32}
"""


def devices(reader: Reader, *, ship: str, limit: int) -> list[Row]:
    """The devices on board, by ship and device_id."""
    return reader.query(DEVICES, {"ship": ship, "limit": limit})
