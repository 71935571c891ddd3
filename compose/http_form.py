"""Fields of a multipart/form-data body (RFC 7578), as clickhouse-connect sends a query with many values."""

from email.message import Message
from typing import Final

MAX_FORM_BYTES: Final = 16 * 1024 * 1024
MAX_FIELDS: Final = 1000
MAX_FIELD_BYTES: Final = 128 * 1024 + 1
"""What a ClickHouse server takes of one field unless told otherwise (http_max_field_value_size)."""


class FormError(ValueError):
    """A form that is not read, and why; too_big where a smaller one would be."""

    def __init__(self, message: str, *, too_big: bool = False) -> None:
        super().__init__(message)
        self.too_big = too_big


def form_boundary(content_type: str) -> bytes | None:
    """The boundary of a multipart form; None where the content is something else.

    >>> form_boundary('multipart/form-data; boundary="a b"'), form_boundary("text/plain; charset=utf-8")
    (b'a b', None)

    Raises:
        FormError: for a form without one.
    """
    header = _header(content_type)
    if header.get_content_type() != "multipart/form-data":
        return None
    boundary = header.get_boundary()
    if not boundary:
        raise FormError("The form names no boundary in its Content-Type")
    return boundary.encode("latin-1", "replace")


def form_fields(body: bytes, boundary: bytes) -> dict[str, str]:
    r"""The fields by name, the last of a name; values are taken as they are, in UTF-8.

    >>> form_fields(b'--x\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT 1\r\n--x--\r\n', b"x")
    {'query': 'SELECT 1'}

    Raises:
        FormError: for a form that is cut off, has files or is too big.
    """
    if len(body) > MAX_FORM_BYTES:
        raise FormError(f"More than {MAX_FORM_BYTES} bytes in one form: ask for less at once", too_big=True)
    delimiter = b"\r\n--" + boundary
    # Parts end with the delimiter, the first line break of which belongs to it; one split more shows too many.
    _, *parts = (b"\r\n" + body).split(delimiter, MAX_FIELDS + 2)
    if len(parts) > MAX_FIELDS + 1:
        raise FormError(f"More than {MAX_FIELDS} fields in one form: ask for less at once", too_big=True)
    if not parts or not parts[-1].startswith(b"--"):
        raise FormError("The form has no end: it was cut off, or its boundary is another than its Content-Type says")
    return dict(map(_field, parts[:-1]))


def _field(part: bytes) -> tuple[str, str]:
    head, blank, value = part.partition(b"\r\n\r\n")
    lines = head.decode("utf-8", "replace").split("\r\n")
    disposition = next((line for line in lines if line.lower().startswith("content-disposition:")), "")
    header = _header(disposition.partition(":")[2].strip(), "content-disposition")
    name = header.get_param("name", header="content-disposition")
    if not blank or not isinstance(name, str) or not name:
        raise FormError("A part of the form has no name: expected Content-Disposition: form-data; name=…")
    if header.get_filename() is not None:
        raise FormError(f"Field {name} is a file: external data is not known here, put the values into the query")
    if len(value) > MAX_FIELD_BYTES:
        raise FormError(
            f"Field {name} has {len(value)} bytes, at most {MAX_FIELD_BYTES}: ask for less at once", too_big=True
        )
    try:
        return name, value.decode()
    except UnicodeDecodeError as error:
        raise FormError(f"Field {name} is not UTF-8: {error}") from error


def _header(value: str, name: str = "content-type") -> Message:
    header = Message()
    header[name] = value
    return header
