"""A server with its page, a classifier that reads what to say from the pictures, and a real Chromium.

Playwright's own loop lives in this thread while a browser is open, so browsers end with their module: no asyncio test meets one.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from convnet_kafka.local.broker import LocalBroker
from support.running_server import config
from support.scenes import SceneClassifier
from support.server_process import ServerProcess
from support.tools import required
from support.waiting import until_ready

# What the browser is given to do its work in: a busy machine is slow.
PATIENCE_MS = 45_000


@pytest.fixture(scope="module")
def prefix() -> str:
    return f"browser-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def server(broker: LocalBroker, prefix: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    settings = config(tmp_path_factory.mktemp("browser"), broker.bootstrap_servers, prefix, kafka={"max_image_bytes": 400_000})
    with ServerProcess(settings) as running:
        running.wait()
        until_ready(running.url)
        yield running


@pytest.fixture(scope="module")
def classifier(server: ServerProcess, broker: LocalBroker, prefix: str) -> Iterator[SceneClassifier]:
    with SceneClassifier(broker.bootstrap_servers, prefix) as running:
        running.release()
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    program = required("chromium", "apt-get install chromium")
    with sync_playwright() as playwright:
        # Containers give little shared memory, and root may not use the sandbox.
        browser = playwright.chromium.launch(executable_path=str(program), args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Browser, server: ServerProcess) -> Iterator[Callable[..., Page]]:
    """Opens the page in a browser of its own; whatever the page complains of fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_page(path: str = "/", *, url: str | None = None, quiet: tuple[str, ...] = (), **options: Any) -> Page:
        context = chromium.new_context(**({"viewport": {"width": 1280, "height": 860}, "accept_downloads": True} | options))
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()

        def complain(text: str) -> None:
            if not any(each in text for each in quiet):
                complaints.append(text)

        page.on("pageerror", lambda error: complain(str(error)))
        page.on("console", lambda message: complain(message.text) if message.type in {"error", "warning"} else None)
        page.goto((url or server.url) + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Where pictures of the page are left for people to look at."""
    folder = Path(__file__).parents[2] / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
