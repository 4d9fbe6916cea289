"""What people see of the configuration."""

from pathlib import Path

import pytest

from server.config.keys import all_keys
from server.config.shown import MASK, Shown, effective
from server.config.sources import load

SECRET = "a-secret-that-nobody-may-read-here"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _effective(**environment: str) -> dict[str, Shown]:
    return {shown.name: shown for shown in effective(load(environment=environment))}


def test_every_key_of_what_is_used_is_shown_with_its_source() -> None:
    shown = _effective(ICHAT_HTTP_PORT="9000", ICHAT_LIMITS_ENABLED="FALSE", ICHAT_HTTP_TRUSTED_PROXIES="::1,10.0.0.1")
    assert shown["http.port"] == ("http.port", "9000", "ICHAT_HTTP_PORT")
    assert shown["limits.enabled"] == ("limits.enabled", "false", "ICHAT_LIMITS_ENABLED")
    assert shown["http.trusted-proxies"].value == "::1,10.0.0.1"
    assert shown["http.drain"] == ("http.drain", "10", "default")
    assert shown["web-root"] == ("web-root", "", "default")
    used = [key.name for key in all_keys().values() if key.path[0] not in {"mysql", "redis"}]
    assert list(shown) == used


def test_secrets_are_masked() -> None:
    shown = _effective(
        ICHAT_JWT_SECRET=SECRET,
        ICHAT_MYSQL_HOST="db",
        ICHAT_MYSQL_PASSWORD=SECRET,
        ICHAT_REDIS_PASSWORD=SECRET,
        ICHAT_REDIS_URL=f"rediss://me:{SECRET}@cache:6380/2?password={SECRET}",
        ICHAT_MONITORING_TOKEN=SECRET,
    )
    assert SECRET not in str(shown)
    assert shown["jwt.secret"].value == MASK
    assert shown["redis.url"].value == f"rediss://me:{MASK}@cache:6380/2"
    assert shown["redis.username"].value == ""


@pytest.mark.parametrize(
    ("url", "value"),
    [
        ("redis://cache", "redis://cache"),
        (f"redis://:{SECRET}@cache:1/0", f"redis://:{MASK}@cache:1/0"),
        (f"redis://:{SECRET}/odd@cache", f"redis://:{MASK}@cache"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock"),
    ],
)
def test_of_a_url_all_is_shown_but_its_password(url: str, value: str) -> None:
    assert _effective(ICHAT_REDIS_URL=url, ICHAT_JWT_SECRET=SECRET)["redis.url"].value == value


def test_no_key_is_without_a_variable_of_its_own() -> None:
    variables = [key.variable for key in all_keys().values()]
    assert len(set(variables)) == len(variables)
    assert "ICHAT_CONFIG" not in variables
