"""The page on a server that asks for a key, what every page allows a browser to do, and the API's pages."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from convnet_kafka.apikeys import Key, KeyFile, new_secret, now, write
from convnet_kafka.local.broker import LocalBroker
from convnet_kafka.server.problem_types import SLUGS
from support.running_server import config
from support.scenes import SceneClassifier, folder_of
from support.server_process import ServerProcess
from support.waiting import until_ready

Visit = Callable[..., Page]
KEY, SECRET = new_secret()


@pytest.fixture(scope="module")
def prefix() -> str:
    return f"keys-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def server(broker: LocalBroker, prefix: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("keys")
    write(folder / "keys.json", KeyFile(keys={"page": Key(secrets=(SECRET,), created=now())}))
    with ServerProcess(config(folder, broker.bootstrap_servers, prefix, keys_file=folder / "keys.json")) as running:
        running.wait()
        until_ready(running.url)
        yield running


def test_the_key_is_asked_for_when_it_is_needed_and_entered_once(
    visit: Visit, classifier: SceneClassifier, tmp_path: Path, screenshots: Path
) -> None:
    page = visit(quiet=("the server responded with a status of 401",))
    expect(page.get_by_role("heading", name="Drop pictures or a folder here")).to_be_visible()
    expect(page.get_by_role("dialog")).to_be_hidden()
    files = folder_of(tmp_path, 5)
    page.set_input_files("#pictures", files)
    dialog = page.get_by_role("dialog", name="This server asks for a key")
    expect(dialog.get_by_label("API key")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#notice")).to_contain_text("This server asks for a key")
    expect(page.locator(".card[data-state=failed]")).to_have_count(5)
    page.set_input_files("#pictures", files)
    dialog.get_by_label("API key").fill("ck_" + "a" * 32)
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("the key gives no access")
    page.screenshot(path=screenshots / "light-key.png")
    dialog.get_by_label("API key").fill(KEY)
    dialog.get_by_role("button", name="Go on").click()
    expect(page.locator("#labelled")).to_have_text("5")
    expect(page.locator("#notice")).to_be_hidden()
    page.reload()
    expect(page.locator("#labelled")).to_have_text("5")
    expect(dialog).to_be_hidden()
    assert KEY not in page.content()
    assert KEY not in page.url


def test_every_call_is_shown_and_nothing_is_loaded_from_elsewhere(visit: Visit, server: ServerProcess, screenshots: Path) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = visit("/docs", bypass_csp=True)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    expect(page.locator("#calls")).to_have_attribute("aria-busy", "false")
    document = json.loads(fetch(server.url + "/openapi.json")[1])
    assert page.locator(".call").count() == sum(len(methods) for methods in document["paths"].values())
    expect(page.locator("#post-jobs-job-images .where")).to_have_text("POST/v1/jobs/{job}/images")
    page.screenshot(path=screenshots / "light-docs.png")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    page.get_by_role("link", name="too-large").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(SLUGS["too-large"].title)
    page.screenshot(path=screenshots / "light-problem.png")
    assert {url.partition("://")[2].partition("/")[0] for url in asked} == {server.url.removeprefix("http://")}


@pytest.mark.parametrize("path", ["/", "/docs", "/web/page.js", "/web/page.css", "/web/icon.svg", "/problems/bad-request", "/openapi.json"])
def test_a_browser_may_do_nothing_but_what_the_page_needs(server: ServerProcess, path: str) -> None:
    headers, body = fetch(server.url + path, Accept="text/html")
    policy = dict(part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert b"style=" not in body
    assert b"://" not in body.replace(b"http://www.w3.org/2000/svg", b"") or path == "/openapi.json"
    if "ETag" in headers:
        with pytest.raises(urllib.error.HTTPError, match="304"):
            fetch(server.url + path, Accept="text/html", If_None_Match=headers["ETag"])


@pytest.mark.parametrize("path", ["/web/../pages.py", "/web/..%2Fpages.py", "/web/index.html", "/web/", "/web/nothing.js", "/problems/<b>"])
def test_no_other_file_is_served(server: ServerProcess, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        fetch(server.url + path.replace("<", "%3C").replace(">", "%3E"))


def test_every_kind_of_problem_has_its_page(server: ServerProcess) -> None:
    for slug, kind in SLUGS.items():
        assert json.loads(fetch(f"{server.url}/problems/{slug}")[1]) == {"type": f"/problems/{slug}", **kind._asdict()}


def fetch(url: str, **headers: str) -> tuple[Message, bytes]:
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.headers, answer.read()
