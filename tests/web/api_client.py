"""A client that calls the API without a network."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi import FastAPI


@dataclass
class ApiClient:
    """Calls an application as somebody at an address would.

    Parameters
    ----------
    api
        The application.
    address
        Where requests seem to come from.
    base_url
        By which name the server is called.
    """

    api: FastAPI
    address: str = "127.0.0.1"
    base_url: str = "http://localhost"
    headers: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return asyncio.run(self.call(method, path, **options))

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Make a request within a running loop."""
        transport = httpx.ASGITransport(self.api, raise_app_exceptions=False, client=(self.address, 1))
        async with httpx.AsyncClient(transport=transport, base_url=self.base_url, headers=self.headers) as client:
            return await client.request(method, path, **options)
