"""Errors as problem details (RFC 9457): what, where, what was expected, what to do; never a stack trace."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 5
MAX_ERRORS: Final = 20
MAX_TEXT: Final = 200


class FieldError(BaseModel):
    """One value that was refused."""

    where: str = Field(examples=["query.window"])
    expected: str = Field(examples=["Input should be '1h', '24h' or '7d'"])
    got: str = Field(examples=["2h"])


class Problem(BaseModel):
    """Problem details of RFC 9457, with the request's id to look it up in the log."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "about:blank",
                "title": "Not Found",
                "status": 404,
                "detail": "no incident has this id; list them with GET /api/v3/incidents",
                "instance": "/api/v3/incidents/none",
                "request_id": "5f3c1d1e0a5d4a7e8a54c37c1c1f0e11",
            }
        }
    )

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: list[FieldError] | None = None


class ApiProblem(Exception):
    """A request that cannot be answered: HTTP status, and what to say."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class Unavailable(ApiProblem):
    """Something behind the API is away; the caller may try again."""

    def __init__(self, detail: str) -> None:
        super().__init__(503, detail)


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entries of these error statuses."""
    return {status: {"model": Problem, "description": HTTPStatus(status).phrase} for status in statuses}


def problem(
    request_id: str,
    path: str,
    status: int,
    detail: str,
    *,
    errors: list[FieldError] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """One problem as a response."""
    body = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=path,
        request_id=request_id,
        errors=errors,
    )
    extra = dict(headers or {})
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        extra["Retry-After"] = str(RETRY_AFTER_S)
    return JSONResponse(body.model_dump(exclude_none=True), status, extra, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every error that a route raises with problem details."""
    app.add_exception_handler(ApiProblem, on_problem)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_validation)


def _request_id(request: Request) -> str:
    return str(getattr(request.state, "request_id", ""))


async def on_problem(request: Request, error: Exception) -> Response:
    """Answer an ApiProblem."""
    assert isinstance(error, ApiProblem)
    return problem(_request_id(request), request.url.path, error.status, error.detail)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = str(error.detail)
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = "there is nothing at this path; the routes are listed at /"
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"{request.method} is not possible here; the API only reads (GET)"
    return problem(_request_id(request), request.url.path, error.status_code, detail, headers=error.headers)


async def _on_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [_field_error(each) for each in error.errors()[:MAX_ERRORS]]
    first = errors[0]
    detail = f"{first.where}: {first.expected} (got {first.got})"
    return problem(_request_id(request), request.url.path, 422, detail, errors=errors)


def _field_error(error: Mapping[str, Any]) -> FieldError:
    loc: Sequence[Any] = error.get("loc", ())
    return FieldError(
        where=".".join(str(part) for part in loc),
        expected=str(error.get("msg", "a valid value")),
        got=_printable(error.get("input")),
    )


def _printable(value: object) -> str:
    """What was sent, short and without lone surrogates (they cannot be written as UTF-8)."""
    return str(value)[:MAX_TEXT].encode("utf-8", "replace").decode()
