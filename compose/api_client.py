"""Asks the API, for commands of the command line; every failure says what to do."""

import json
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from compose.locks import ComposeError
from schemas.settings import Settings, SettingsError

TIMEOUT_S: Final = 15.0
REMEDY: Final = "or name it with --api"
MAX_ANSWER: Final = 64 * 1024 * 1024
EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}

Json = dict[str, Any]


class ApiAddressError(SettingsError):
    """The address is none, or what was asked for cannot be."""


class ApiAwayError(ComposeError):
    """The API does not answer, or is something else."""


class NotKnownError(ComposeError):
    """The API does not know it, or cannot tell which is meant; the message is what it said."""


class ApiClient:
    """Asks one API. Proxies of the environment are not used: the API is on board.

    remedy: what a person can do beside starting it, when it does not answer.

    Raises:
        ApiAddressError: for an address that cannot be right.
    """

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S, remedy: str = REMEDY) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ApiAddressError(f"--api is {url!r}: expected an address such as http://127.0.0.1:8080")
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._remedy = remedy
        self._open = build_opener(ProxyHandler({})).open

    def get(self, *path: str, **parameters: object) -> Json:
        """The answer to GET /api/v3/<path>; each part of the path is one name, escaped here.

        Raises:
            ApiAwayError: when the API is away, fails, or is something else.
            NotKnownError: when it does not know what was asked for, or several are meant.
            ApiAddressError: when it refuses a parameter.
        """
        query = urlencode({key: value for key, value in parameters.items() if value is not None}, doseq=True)
        names = "/".join(quote(part, safe="") for part in path)
        request = Request(f"{self.url}/api/v3/{names}?{query}", headers={"Accept": "application/json"})
        try:
            with self._open(request, timeout=self._timeout_s) as response:
                answer = _read(response.read(MAX_ANSWER + 1))
        except HTTPError as error:
            with error:
                raise self._refusal(error.code, error.read(65_536)) from error
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise ApiAwayError(
                f"the API at {self.url} does not answer ({reason}): start it with `watchkeeper up`, {self._remedy}"
            ) from error
        if answer is None:
            raise self._stranger()
        return answer

    def _stranger(self) -> ApiAwayError:
        return ApiAwayError(f"{self.url} answers, but not as Watchkeeper's API of this version: correct --api")

    def _refusal(self, status: int, data: bytes) -> Exception:
        answer = _read(data) or {}
        detail = str(answer.get("detail", "")) if "request_id" in answer else ""
        if not detail or (status == 404 and detail.startswith("there is nothing")):
            return self._stranger()
        if status in (404, 409):
            return NotKnownError(detail)
        return ApiAddressError(detail) if status == 422 else ApiAwayError(f"the API at {self.url}: {detail}")


def _read(data: bytes) -> Json | None:
    """A JSON object; None for anything else."""
    try:
        answer = json.loads(data)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def api_client(
    settings: Settings, url: str | None = None, timeout_s: float = TIMEOUT_S, remedy: str = REMEDY
) -> ApiClient:
    """The API at this address, else where the settings say.

    >>> api_client(Settings(api_host="::", api_port=8080)).url
    'http://[::1]:8080'
    """
    return ApiClient(url or api_address(settings.api_host, settings.api_port), timeout_s, remedy)


def api_address(host: str, port: int, *, shown: bool = False) -> str:
    """Where to ask an API that listens on this host; shown: the host as it is, for people.

    >>> api_address("0.0.0.0", 80), api_address("0.0.0.0", 80, shown=True)
    ('http://127.0.0.1:80', 'http://0.0.0.0:80')
    """
    host = host if shown else EVERYWHERE.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
