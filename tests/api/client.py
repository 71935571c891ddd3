"""Asks an app in this process, through ASGI."""

import asyncio
from typing import Any

import httpx
from fastapi import FastAPI


class ApiClient:
    def __init__(self, app: FastAPI) -> None:
        self.app = app

    def request(self, method: str, path: str, *, params: Any = None, headers: dict[str, str] | None = None) -> Any:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
                return await client.request(method, path, params=params, headers=headers)

        return asyncio.run(ask())

    def get(self, path: str, *, headers: dict[str, str] | None = None, **params: Any) -> httpx.Response:
        response: httpx.Response = self.request("GET", path, params=params or None, headers=headers)
        return response

    def json(self, path: str, **params: Any) -> Any:
        response = self.get(path, **params)
        assert response.status_code == 200, response.text
        return response.json()

    def problem(self, status: int, path: str, /, **params: Any) -> dict[str, Any]:
        """The problem details of a request that must be refused with this status."""
        response = self.get(path, **params)
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == "application/problem+json"
        body: dict[str, Any] = response.json()
        assert body["status"] == status
        assert body["request_id"] == response.headers["x-request-id"]
        assert {"type", "title", "detail", "instance"} <= body.keys()
        return body
