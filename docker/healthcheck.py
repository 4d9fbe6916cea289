"""Ends with 0 where the server of this container answers `/healthz`: on the address and port, and with or without
TLS, as its configuration says."""

import ssl
import sys
from http.client import HTTPConnection, HTTPException, HTTPSConnection

from server.config.settings import Http
from server.config.sources import load

TIMEOUT = 4.0
"""Seconds: less than the image's health check gives."""
_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  it is compared with


def main() -> int:
    connection = _connection(load().settings.http)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        sys.stderr.write(f"{error!r}\n")
        return 1
    finally:
        connection.close()
    return 0 if status == 200 else 1


def _connection(http: Http) -> HTTPConnection:
    host = _EVERY_ADDRESS.get(http.host, http.host)
    if http.tls_cert is None:
        return HTTPConnection(host, http.port, timeout=TIMEOUT)
    context = ssl.create_default_context()
    context.check_hostname = False  # the certificate is for the name that clients use, not for this address
    context.verify_mode = ssl.CERT_NONE
    return HTTPSConnection(host, http.port, timeout=TIMEOUT, context=context)


if __name__ == "__main__":
    sys.exit(main())
