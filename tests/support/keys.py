"""A keys file with a key of each kind, and requests by hand."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp

from convnet_kafka import apikeys
from convnet_kafka.apikeys import Key, KeyFile, Permission, Rates

NOBODYS = "ck_" + "a" * 32
HOUR = timedelta(hours=1)

KEYS: dict[str, dict[str, Any]] = {
    "acme": {"tenant": "acme"},
    "other": {"tenant": "other"},
    "reader": {"tenant": "acme", "allow": [Permission.READ]},
    "sender": {"tenant": "acme", "allow": [Permission.UPLOAD]},
    "revoked": {"tenant": "acme", "revoked": apikeys.now() - HOUR},
    "expired": {"tenant": "acme", "expires": apikeys.now() - HOUR},
    "few-requests": {"rates": Rates(requests_per_s=0.5, burst_s=1)},
    "two-requests": {"rates": Rates(requests_per_s=0.001, burst_s=2000)},
    "few-images": {"rates": Rates(images_per_s=10, burst_s=1)},
    "debtor": {"rates": Rates(images_per_s=1, burst_s=1)},
    "slow": {"rates": Rates(images_per_s=40, burst_s=1)},
    "no-fast": {"rates": Rates(fast_images_per_s=0)},
    "few-fast": {"rates": Rates(fast_images_per_s=10, burst_s=1)},
}


class Keys:
    """A keys file, and the texts of its keys."""

    def __init__(self, path: Path) -> None:
        self.path = path
        made = {name: apikeys.new_secret() for name in KEYS}
        self.texts = {name: text for name, (text, _) in made.items()}
        self.file = KeyFile(
            keys={
                name: Key.model_validate({"secrets": [made[name][1]], "created": apikeys.now() - 2 * HOUR, **more})
                for name, more in KEYS.items()
            }
        )
        apikeys.write(path, self.file)

    def bearer(self, name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.texts[name]}"}


async def ask(web: aiohttp.ClientSession, method: str, path: str, who: dict[str, str], **options: Any) -> tuple[int, Any]:
    """Status, and the JSON of the answer if there is any."""
    options["headers"] = {**options.get("headers", {}), **who}
    async with web.request(method, path, **options) as answer:
        raw = await answer.read()
        return answer.status, json.loads(raw) if raw and method != "HEAD" and "json" in answer.content_type else None


async def head(url: str, request: str) -> bytes:
    """Send a request's head alone, and read the first answer's."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request.encode())
        async with asyncio.timeout(20):
            return await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()
