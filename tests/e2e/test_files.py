"""Uploads and what is served of them."""

from collections.abc import AsyncIterator
from io import BytesIO

import aiohttp
import pytest

from tests.e2e.shapes import refused
from tests.support.api import Api, png
from tests.support.cluster import Cluster
from tests.support.register import Register


async def test_a_picture_uploaded_before_there_is_an_account(cluster: Cluster, http: aiohttp.ClientSession) -> None:
    picture = png(size=(300, 200))
    url = await Api(http, cluster.bases[0]).upload(picture, "我.png")
    assert url.startswith("file/")
    status, headers, body = await Api(http, cluster.bases[-1]).download(url)
    assert (status, headers["Content-Type"], body) == (200, "image/png", picture)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"]
    assert "max-age" in headers["Cache-Control"]


@pytest.mark.parametrize("token", ["rubbish", "null", "Bearer undefined"])
async def test_an_upload_with_what_never_was_a_login_is_one_without(
    cluster: Cluster, http: aiohttp.ClientSession, token: str
) -> None:
    visitor = Api(http, cluster.bases[0], token)
    assert (await visitor.upload(png())).startswith("file/")
    with refused(1003):
        await visitor.upload(b"no picture", "a.txt", "text/plain")


async def test_an_upload_with_a_login_that_has_ended_is_told(register: Register) -> None:
    ann = await register()
    await ann.api.call("POST", "/logout")
    with refused(1005):
        await ann.api.upload(png())


async def test_names_are_not_guessable_and_keep_nothing_of_the_original(register: Register) -> None:
    ann = await register()
    urls = {await ann.api.upload(png(), "../../etc/passwd.png") for _ in range(20)}
    assert len(urls) == 20
    for url in urls:
        name = url.removeprefix("file/")
        assert len(name.split(".")[0]) >= 20
        assert "passwd" not in name
        assert "/" not in name


async def test_without_a_login_only_small_pictures(cluster: Cluster, http: aiohttp.ClientSession) -> None:
    nobody = Api(http, cluster.bases[0])
    for content in (b"just text", b"<html><script>alert(1)</script></html>", b"MZ\x90\x00", b""):
        with refused(1003):
            await nobody.upload(content, "picture.png")
    with refused(413):
        await nobody.upload(png() + b"\0" * (2 * 1024 * 1024), "picture.png")


async def test_a_file_over_the_limit(register: Register) -> None:
    ann = await register()
    with refused(413):
        await ann.api.upload(b"x" * (10 * 1024 * 1024 + 1), "big.txt", "text/plain")
    assert await ann.api.upload(b"x" * (10 * 1024 * 1024), "fits.txt", "text/plain")


def _form(*parts: tuple[str, bytes], end: bytes = b"--b--\r\n") -> tuple[bytes, dict[str, str]]:
    """A form of parts with these names, and its headers."""
    body = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="%s"; filename="x"\r\n\r\n%s\r\n' % (name.encode(), content)
        for name, content in parts
    )
    return body + end, {"Content-Type": "multipart/form-data; boundary=b"}


@pytest.mark.parametrize("chunked", [False, True])
async def test_what_stands_beside_the_file_counts(
    cluster: Cluster, http: aiohttp.ClientSession, *, chunked: bool
) -> None:
    nobody = Api(http, cluster.bases[0])

    async def upload(beside: int) -> str:
        body, headers = _form(("before", b"x" * beside), ("file", png()), ("after", b"x" * beside))

        async def chunks() -> AsyncIterator[bytes]:
            for start in range(0, len(body), 50_000):
                yield body[start : start + 50_000]

        url: str = await nobody.call(
            "POST", "/file/upload", data=chunks() if chunked else BytesIO(body), headers=headers
        )
        return url

    assert (await upload(30_000)).startswith("file/")
    with refused(413):
        await upload(2 * 1024 * 1024)


@pytest.mark.parametrize("end", [b"", b"--b", b"--c--\r\n", b"--b\r\n"])
async def test_a_form_that_breaks_off_holds_no_file(register: Register, end: bytes) -> None:
    ann = await register()
    body, headers = _form(("file", b"the first half"), end=end)
    with refused(300):
        await ann.api.call("POST", "/file/upload", data=body, headers=headers)


async def test_a_form_with_a_bad_charset_is_none(register: Register) -> None:
    ann = await register()
    body, headers = _form(("_charset_", b"x" * 40), ("file", png()))
    with refused(300):
        await ann.api.call("POST", "/file/upload", data=body, headers=headers)


@pytest.mark.parametrize(
    "content",
    [
        b"<html><script>alert(1)</script></html>",
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        b"%PDF-1.4",
    ],
)
async def test_what_is_no_picture_is_offered_for_download(register: Register, content: bytes) -> None:
    ann = await register()
    url = await ann.api.upload(content, "picture.png")
    status, headers, body = await ann.api.download(url)
    assert (status, body) == (200, content)
    assert headers["Content-Disposition"].startswith("attachment")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert not headers["Content-Type"].startswith(("text/html", "image/svg"))


async def test_a_part_of_a_file(register: Register) -> None:
    ann = await register()
    picture = png(size=(64, 64))
    url = await ann.api.upload(picture)
    status, headers, body = await ann.api.download(url, {"Range": "bytes=10-19"})
    assert (status, body) == (206, picture[10:20])
    assert headers["Content-Range"] == f"bytes 10-19/{len(picture)}"


@pytest.mark.parametrize(
    "url", ["file/nothing", "file/..%2f..%2fetc%2fpasswd", "file/%00", "file/.", "file/" + "x" * 300]
)
async def test_what_is_not_there(cluster: Cluster, http: aiohttp.ClientSession, url: str) -> None:
    api = Api(http, cluster.bases[0])
    async with http.get(f"{api.base}{api.prefix}/{url}") as got:
        assert got.status == 404
        assert (await got.json())["code"] == 404
