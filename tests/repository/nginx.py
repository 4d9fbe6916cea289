"""Debian's nginx with the configuration of `docker/nginx`, on loopback ports, in front of a server under test."""

import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.repository.tree import text
from tests.support.certificate import Certificate
from tests.support.server import START_TIMEOUT, free_port

_MAIN = """
daemon off;
master_process off;
pid {etc}/nginx.pid;
error_log {etc}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {etc}/body;
    proxy_temp_path {etc}/proxy;
    fastcgi_temp_path {etc}/fastcgi;
    uwsgi_temp_path {etc}/uwsgi;
    scgi_temp_path {etc}/scgi;
    include {etc}/conf.d/*.conf;
}}
"""


class Nginx:
    """One web server, as compose.yml mounts its files for `site`: http or https."""

    def __init__(self, etc: Path, site: str, server: str, frontend: str) -> None:
        """`server` and `frontend` are host:port; `etc` is an empty directory."""
        self.etc = etc
        self.ports = {"80": free_port(), "443": free_port()}
        upstreams = text("docker/nginx/upstreams.conf")
        for inside, outside in (("server:8080", server), ("frontend:80", frontend)):
            assert upstreams.count(f"server {inside};") == 1
            upstreams = upstreams.replace(f"server {inside};", f"server {outside};")
        default = text(f"docker/nginx/{site}.conf").replace("/etc/nginx/", f"{etc}/")
        for port, free in self.ports.items():
            default = default.replace(f"listen {port}", f"listen 127.0.0.1:{free}")
        files = {"nginx.conf": _MAIN.format(etc=etc), "ichat.conf": text("docker/nginx/ichat.conf")}
        files |= {"conf.d/default.conf": default, "conf.d/upstreams.conf": upstreams}
        (etc / "conf.d").mkdir()
        (etc / "tls").mkdir()
        for name, content in files.items():
            (etc / name).write_text(content)
        self.certificate = Certificate(etc / "tls")
        self._site = site

    @property
    def base(self) -> str:
        port = self.ports["443" if self._site == "https" else "80"]
        return f"{self._site}://localhost:{port}"

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.certificate.cert)

    def check(self) -> tuple[int, str]:
        """What `nginx -t` says of it."""
        done = subprocess.run([*self._command(), "-t"], capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stderr

    @contextmanager
    def running(self) -> Iterator[None]:
        with subprocess.Popen(self._command(), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            try:
                deadline = time.monotonic() + START_TIMEOUT
                while not self._listens():
                    assert process.poll() is None, process.communicate()[1]
                    assert time.monotonic() < deadline, "nginx doesn't listen"
                    time.sleep(0.02)
                yield
            finally:
                process.kill()

    def _command(self) -> list[str]:
        return ["nginx", "-e", str(self.etc / "error.log"), "-p", str(self.etc), "-c", str(self.etc / "nginx.conf")]

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", urlsplit(self.base).port or 0)) == 0
