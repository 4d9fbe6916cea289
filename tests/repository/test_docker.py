"""The Dockerfile and the compose files: linted, and agreeing with the configuration and with each other."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from server.config.given import FILE_VARIABLE
from server.config.keys import PREFIX, all_keys
from server.config.sources import load
from tests.repository import compose
from tests.repository.dockerfile import kept_out, stages
from tests.repository.tree import ROOT, files, text

SITES = ("http", "https")
_BIN = Path(sys.executable).parent


def _services() -> list[tuple[str, str, dict[str, Any]]]:
    """(file, name, the service), of every file."""
    return [(file, name, service) for file in compose.FILES for name, service in compose.read(file)["services"].items()]


def _lint(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_dockerfile_has_nothing_to_complain_about() -> None:
    _lint(str(_BIN / "hadolint"), "--no-color", "docker/Dockerfile")


def test_the_compose_files_have_nothing_to_complain_about() -> None:
    _lint(sys.executable, "-m", "yamllint", "--strict", *compose.FILES, ".yamllint.yml")


def test_every_variable_of_the_server_is_a_key_of_its_configuration() -> None:
    known = {key.variable for key in all_keys().values()} | {FILE_VARIABLE}
    used = {
        (name, variable)
        for file in files()
        if file.parts[0] == "docker"
        for name in [str(file)]
        for variable in re.findall(rf"{PREFIX}\w+", text(file))
    }
    assert len(used) > 10
    assert {(name, variable) for name, variable in used if variable not in known} == set()


def test_the_deployed_server_gets_a_configuration_that_it_takes(tmp_path: Path) -> None:
    environment = compose.read("docker/compose.yml")["services"]["server"]["environment"]
    given = {
        "JWT_SECRET": "s" * 32,
        "TURN_URLS": "turn:a.b:3478?transport=udp",
        "TURN_SECRET": "t",
        "LOG_LEVEL": "warn",
    }

    loaded = load(None, {name: compose.filled(value, given) for name, value in environment.items()})
    assert loaded.warnings == []
    settings = loaded.settings
    assert (settings.mysql and settings.mysql.host, settings.redis and settings.redis.host) == ("mysql", "redis")
    assert settings.ice.turn == ("turn:a.b:3478?transport=udp",)
    assert settings.ice.stun == ()


def test_every_variable_of_the_compose_file_is_described_and_the_other_way_round() -> None:
    used = {match[1] for match in compose.INTERPOLATED.finditer(text("docker/compose.yml"))} - {"SERVER_IMAGE"}
    described = set(re.findall(r"^(?:# )?([A-Z_]+)=", text("docker/.env.example"), re.M))
    assert described == used


def test_what_must_be_filled_in_stands_empty_in_the_example() -> None:
    needed = set(re.findall(r"(?<!\$)\$\{(\w+):\?", text("docker/compose.yml")))
    assert needed == set(re.findall(r"^([A-Z_]+)=$", text("docker/.env.example"), re.M))


@pytest.mark.parametrize(("file", "name", "service"), _services())
def test_services_refer_to_what_there_is(file: str, name: str, service: dict[str, Any]) -> None:
    whole = compose.read(file)
    assert "image" in service, name
    for other, condition in service.get("depends_on", {}).items():
        wanted = whole["services"][other]
        match condition["condition"]:
            case "service_healthy":
                assert "healthcheck" in wanted or "build" in wanted, f"{other} can't be healthy"
            case "service_completed_successfully":
                assert wanted["restart"] == "no", f"{other} never ends"
            case other_condition:
                assert other_condition == "service_started"
    for mount in (compose.filled(mount, {"SITE": site}) for mount in service.get("volumes", ()) for site in SITES):
        source = mount.split(":")[0]
        if source.startswith("./"):
            assert (ROOT / "docker" / source).is_file() or source == "./tls", f"there is no {source}"
        else:
            assert source in whole["volumes"], f"{source} is no volume"
    for network in service.get("networks", ()):
        assert network in whole["networks"], f"{network} is no network"


def test_only_the_web_server_is_reached_from_outside() -> None:
    services = compose.read("docker/compose.yml")["services"]
    assert [name for name, service in services.items() if "ports" in service] == ["web"]
    assert [name for name, service in services.items() if service.get("network_mode") == "host"] == ["turn"]
    assert services["turn"]["profiles"] == ["turn"]
    published = [
        port for service in compose.read("docker/compose.dev.yml")["services"].values() for port in service["ports"]
    ]
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_images_are_of_a_version_that_is_named() -> None:
    bases = [rest.split()[0] for stage in stages() for rest in stage.all("FROM")]
    images = [service["image"] for _, _, service in _services()]
    named = [image for image in bases + images if not image.startswith("${")]
    assert all(re.search(r":\d+\.\d+", image) for image in named), named


def test_a_stopping_server_has_the_time_that_it_takes() -> None:
    server = compose.read("docker/compose.yml")["services"]["server"]
    assert int(server["stop_grace_period"].removesuffix("s")) > load(None, {}).settings.http.drain + 15


def test_the_image_is_built_of_what_reaches_the_build() -> None:
    build, final = stages()
    assert build.copied
    assert [source for source, _ in build.copied if kept_out(source)] == []
    assert [source for source, _ in build.copied if not (ROOT / source).exists()] == []
    assert final.copied == []
    assert kept_out("tests")
    assert kept_out("config.yml")


def test_the_image_runs_as_a_user_by_number_who_owns_the_data() -> None:
    final = stages()[-1]
    (user,) = final.all("USER")
    uid, _, gid = user.partition(":")
    assert int(uid) >= 1000
    assert uid == gid
    (making,) = final.all("RUN")
    assert f"--uid {uid}" in making
    assert final.all("VOLUME") == [final.environment["ICHAT_DATA_DIR"]] == ["/data"]
    order = [name for name, _ in final.instructions]
    assert order.index("USER") < order.index("ENTRYPOINT")
