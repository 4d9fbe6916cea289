"""The server's own pages in a browser, and what uploaded files may not do there."""

import asyncio
import json
import time

import pytest

from tests.browser.chromium import PATIENCE, Browser
from tests.browser.people import Person
from tests.support.cluster import Cluster
from tests.support.server import ServerProcess

SCRIPT = "localStorage.setItem('owned', document.location.href)"
UPLOADS = {
    "picture.svg": f'<svg xmlns="http://www.w3.org/2000/svg" onload="{SCRIPT}"><script>{SCRIPT}</script></svg>',
    "page.html": f'<!doctype html><title>x</title><script>{SCRIPT}</script><img src=x onerror="{SCRIPT}">',
    "page.xhtml": f'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><script>{SCRIPT}</script></html>',
    "style.xml": f'<?xml version="1.0"?><x:script xmlns:x="http://www.w3.org/1999/xhtml">{SCRIPT}</x:script>',
    "script.js": SCRIPT,
    "script.json": f"/**/{SCRIPT}",
    "a.pdf": "%PDF-1.4\n" + SCRIPT,
}


@pytest.mark.parametrize("cluster", ["embedded"], indirect=True)
@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/", "document.querySelectorAll('a').length >= 4"),
        ("/api/docs", "document.querySelectorAll('.opblock').length > 30"),
        ("/api/docs/sockets", "document.querySelectorAll('table').length >= 6"),
    ],
)
async def test_a_page_of_the_server(cluster: Cluster, browser: Browser, path: str, shown: str) -> None:
    tab = await browser.open(cluster.bases[0] + path)
    await tab.wait_for(shown)
    assert tab.problems == []
    width = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await tab.evaluate(width) == 0, "it needs no scrolling sideways"
    for link in await tab.evaluate("[...document.links].map((link) => link.href)"):
        if link.startswith(cluster.bases[0]):
            assert await tab.evaluate(f"fetch({json.dumps(link)}).then((answer) => answer.status)") == 200
    await tab.evaluate(
        "{ const script = document.createElement('script'); script.textContent = 'window.injected = 1';"
        " document.body.append(script); }"
    )
    assert await tab.evaluate("window.injected ?? 0") == 0
    assert any("Content Security Policy" in problem for problem in tab.problems)


EMBED = """for (const [kind, attribute] of
    [["iframe", "src"], ["object", "data"], ["embed", "src"], ["img", "src"], ["script", "src"]]) {
    const element = document.createElement(kind);
    element[attribute] = %s;
    document.body.append(element);
}"""
CONTROL = """{
    const frame = document.createElement("iframe");
    frame.srcdoc = "<script>localStorage.setItem('control', 1)</script>";
    document.body.append(frame);
}"""


async def test_what_was_uploaded_runs_no_script(site: ServerProcess, browser: Browser) -> None:
    """Not as a page, in no frame, not as a script, whatever it calls itself."""
    tab = (await Person.register(browser, site.base)).tab
    kinds = {"svg": "image/svg+xml", "html": "text/html", "js": "text/javascript"}
    urls = []
    for name, content in UPLOADS.items():
        kind = kinds.get(name.rpartition(".")[2], "text/xml")
        upload = f"api.upload({json.dumps(content)}, {json.dumps(name)}, {json.dumps(kind)})"
        urls.append(f"{site.base}/api/{await tab.evaluate(upload)}")
    for url in urls:
        await tab.evaluate(EMBED % json.dumps(url))
    deadline = time.monotonic() + PATIENCE
    while not tab.responses >= {(url, kind) for url in urls for kind in ("Document", "Image", "Script")}:
        assert time.monotonic() < deadline, tab.responses
        await asyncio.sleep(0.05)
    for url in urls:  # a download, so the tab stays where it is
        assert (await tab.ask("Page.navigate", url=url)).get("errorText") == "net::ERR_ABORTED", url
    await tab.evaluate(CONTROL)  # what was embedded before it had its turn
    await tab.wait_for("localStorage.getItem('control')")
    assert await tab.evaluate("localStorage.getItem('owned')") is None
