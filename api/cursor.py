"""Cursors: where the next page of incidents begins, opaque to the caller."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b

from api.problems import ApiProblem
from api.queries.incidents import BEFORE_ALL, IncidentFilter, PageKey

_WRONG = "query.cursor: expected next_cursor of the page before, with the same filters; leave it out for the first page"


def encode(key: PageKey, which: IncidentFilter) -> str:
    """The key as text, tied to its filter.

    >>> which = IncidentFilter(ship="aurora")
    >>> decode(encode(PageKey(7, 5, "a"), which), which)
    PageKey(as_of=7, updated=5, incident_id='a')
    """
    text = json.dumps([key.as_of, key.updated, key.incident_id, _digest(which)], separators=(",", ":"))
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str, which: IncidentFilter) -> PageKey:
    """The key that a cursor stands for.

    Raises:
        ApiProblem: 422 for a cursor that was not made here, or for another filter.
    """
    try:
        parts = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError) as error:
        raise ApiProblem(422, _WRONG) from error
    match parts:
        case [int(as_of), int(updated), str(incident_id), str(digest)] if digest == _digest(which):
            if 0 <= as_of < BEFORE_ALL and 0 <= updated <= BEFORE_ALL:
                return PageKey(as_of, updated, incident_id)
    raise ApiProblem(422, _WRONG)


def _digest(which: IncidentFilter) -> str:
    return blake2b(repr(which).encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
