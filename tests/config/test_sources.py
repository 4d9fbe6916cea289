"""Where values come from, which one wins, and what is said of those that can't be used."""

from pathlib import Path

import pytest

from server.config.problems import InvalidConfiguration
from server.config.sources import Loaded, load
from tests.support.certificate import Certificate

OLD_FILE = """\
dev: false

jwt:
  secret: some secret of an old deployment
  issuer: chat.example

mysql:
  host: 10.0.0.5
  port: 3306
  user: chat
  password: 0123456
  dbname: chat_db

redis:
  host: 10.0.0.6
  port: 6379
  password: ""

api-prefix: /api
upload-dir: ./upload
log-level: INFO
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _from(text: str, **environment: str) -> Loaded:
    Path("config.yml").write_text(text)
    return load(environment=environment)


def _problems(text: str = "", **environment: str) -> list[str]:
    with pytest.raises(InvalidConfiguration) as refused:
        _from(text, **environment)
    return [str(problem) for problem in refused.value.problems]


class TestPrecedence:
    def test_without_anything_there_are_the_defaults(self) -> None:
        loaded = load(environment={})
        assert (loaded.settings.http.host, loaded.settings.http.port) == ("0.0.0.0", 8080)  # noqa: S104  listening
        assert loaded.settings.mysql is None
        assert loaded.settings.redis is None
        assert loaded.sources == {}
        assert loaded.warnings == []

    def test_the_file_wins_over_defaults_and_the_environment_over_the_file(self) -> None:
        loaded = _from("http:\n  host: 127.0.0.1\n  port: 1000\n", ICHAT_HTTP_PORT="2000")
        assert (loaded.settings.http.host, loaded.settings.http.port) == ("127.0.0.1", 2000)
        assert loaded.sources == {("http", "host"): "config.yml:2", ("http", "port"): "ICHAT_HTTP_PORT"}

    def test_a_named_file_is_read_instead(self, tmp_path: Path) -> None:
        Path("config.yml").write_text("http: {port: 1}")
        other = tmp_path / "other.yml"
        other.write_text("http: {port: 2}")
        assert load(other, {}).settings.http.port == 2
        assert load(environment={"ICHAT_CONFIG": str(other)}).settings.http.port == 2

    def test_a_named_file_must_be_there(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidConfiguration, match=r"missing\.yml: there is no such file"):
            load(tmp_path / "missing.yml", {})

    def test_an_empty_variable_is_as_if_it_were_not_set(self) -> None:
        assert _from("http: {port: 1000}", ICHAT_HTTP_PORT="").settings.http.port == 1000

    def test_an_empty_file_says_nothing(self) -> None:
        assert _from("# nothing yet\n").settings == load(environment={}).settings

    def test_part_of_a_limit_leaves_the_rest_at_its_default(self) -> None:
        limit = _from("", ICHAT_LIMITS_LOGIN_ACCOUNT_COUNT="5").settings.limits.login_account
        assert (limit.count, limit.seconds) == (5, 60)

    def test_a_list_is_separated_by_commas_or_is_one_of_yaml(self) -> None:
        expected = ("10.0.0.0/8", "::1")
        assert _from("", ICHAT_HTTP_TRUSTED_PROXIES="10.0.0.0/8, ::1").settings.http.trusted_proxies == expected
        assert _from("http: {trusted-proxies: [10.0.0.0/8, '::1']}").settings.http.trusted_proxies == expected
        assert _from("http: {trusted-proxies: '10.0.0.0/8, ::1'}").settings.http.trusted_proxies == expected


class TestOldFile:
    def test_is_read_as_it_stands(self) -> None:
        loaded = _from(OLD_FILE)
        settings = loaded.settings
        assert settings.mysql is not None
        assert settings.redis is not None
        assert settings.jwt.secret.get_secret_value() == "some secret of an old deployment"
        assert settings.jwt.issuer == "chat.example"
        assert (settings.mysql.host, settings.mysql.port, settings.mysql.user) == ("10.0.0.5", 3306, "chat")
        assert settings.mysql.dbname == "chat_db"
        assert (settings.redis.host, settings.redis.port) == ("10.0.0.6", 6379)
        assert settings.redis.password.get_secret_value() == ""
        assert settings.api_prefix == "/api"
        assert settings.uploads == Path("upload")
        assert settings.log_level == "info"
        assert loaded.warnings == []

    @pytest.mark.parametrize("written", ["0123456", "1_000", "12:30", "1e3", "yes", "2024-01-01", "0x1F", ".5"])
    def test_a_password_without_quotes_stays_the_text_that_it_is(self, written: str) -> None:
        settings = _from(OLD_FILE.replace("0123456", written)).settings
        assert settings.mysql is not None
        assert settings.mysql.password.get_secret_value() == written

    @pytest.mark.parametrize(
        ("written", "level"), [("DEBUG", "debug"), ("Warn", "warn"), ("WARNING", "warn"), ("error", "error")]
    )
    def test_the_log_level_is_taken_in_any_case(self, written: str, level: str) -> None:
        assert _from(f"log-level: {written}").settings.log_level == level

    @pytest.mark.parametrize(
        ("written", "prefix"), [("api", "/api"), ("/api/", "/api"), ("/", ""), ("/v1/chat", "/v1/chat")]
    )
    def test_the_prefix_may_be_written_with_or_without_slashes(self, written: str, prefix: str) -> None:
        assert _from(f"api-prefix: {written}").settings.api_prefix == prefix

    def test_a_short_secret_is_a_warning(self) -> None:
        loaded = _from("jwt: {secret: short}")
        assert len(loaded.warnings) == 1
        assert "jwt.secret has 5 bytes" in loaded.warnings[0]


class TestBackends:
    def test_a_mysql_host_selects_mysql(self) -> None:
        settings = _from("", ICHAT_MYSQL_HOST="db").settings
        assert settings.mysql is not None
        assert (settings.mysql.host, settings.mysql.port, settings.mysql.dbname) == ("db", 3306, "ichat")

    @pytest.mark.parametrize("file", ["mysql:\n", "mysql:\n  host:\n  user: root\n", "mysql: {host: ''}"])
    def test_without_a_host_the_database_is_the_embedded_one(self, file: str) -> None:
        assert _from(file).settings.mysql is None

    def test_values_without_a_host_are_warned_of(self) -> None:
        assert _from("", ICHAT_MYSQL_PASSWORD="x").warnings == ["ICHAT_MYSQL_PASSWORD has no effect without mysql.host"]
        assert _from("", ICHAT_REDIS_PORT="1").warnings == ["ICHAT_REDIS_PORT has no effect without redis.host"]

    @pytest.mark.parametrize("file", ["redis:\n", "redis: {}", "redis: {host: ''}", "redis:\n  port: 6379\n"])
    def test_a_redis_section_selects_redis_on_this_machine(self, file: str) -> None:
        settings = _from(file, ICHAT_JWT_SECRET="s" * 32).settings
        assert settings.redis is not None
        assert settings.redis.host == "127.0.0.1"

    @pytest.mark.parametrize(
        "variables", [{"ICHAT_REDIS_HOST": "cache"}, {"ICHAT_REDIS_URL": "redis://x"}, {"ICHAT_REDIS_NODES": "a:1"}]
    )
    def test_a_redis_host_url_or_node_selects_redis(self, variables: dict[str, str]) -> None:
        assert _from("", ICHAT_JWT_SECRET="s" * 32, **variables).settings.redis is not None


class TestProblems:
    def test_all_are_listed_at_once_with_their_source_and_what_is_allowed(self) -> None:
        file = "http:\n  port: 99999\nlog-level: loud\nhtpt: {}\nmysql: {host: db, port: x, password: [1]}\n"
        listed = _problems(
            file,
            ICHAT_PASSWORD_BCRYPT_COST="3",
            ICHAT_LIMITS_ENABLED="perhaps",
            ICHAT_HTTP_HSOT="x",
            ICHAT_HTTP_TRUSTED_PROXIES="10.0.0.1,here",
            ICHAT_REDIS_HOST="cache",
            ICHAT_WEB_ROOT="/nowhere",
        )
        assert listed[0].startswith("htpt (config.yml:4): there is no such key; http is meant?; there are api-prefix, ")
        assert listed[1:] == [
            "mysql.password (config.yml:5): must be text",
            "ICHAT_HTTP_HSOT (environment): there is no such variable; ICHAT_HTTP_HOST is meant?",
            "log-level (config.yml:3): is 'loud', must be debug, info, warn or error",
            "http.port (config.yml:2): is '99999', must be a whole number from 0 to 65535",
            "http.trusted-proxies (ICHAT_HTTP_TRUSTED_PROXIES): is '10.0.0.1,here', must be a list (in the environment "
            "separated by commas), each an IP address or a network such as 10.0.0.0/8",
            "mysql.port (config.yml:5): is 'x', must be a whole number from 1 to 65535",
            "password.bcrypt-cost (ICHAT_PASSWORD_BCRYPT_COST): is '3', must be a whole number from 4 to 16",
            "limits.enabled (ICHAT_LIMITS_ENABLED): is 'perhaps', must be true or false",
            "web-root (ICHAT_WEB_ROOT): /nowhere must be a directory with an index.html",
            "jwt.secret: must be set where several processes share one Redis: the same for all of them",
        ]

    def test_what_kubernetes_tells_of_a_service_of_this_name_is_nothing_of_ours(self) -> None:
        told = {
            "ICHAT_SERVICE_HOST": "10.0.0.1",
            "ICHAT_SERVICE_PORT": "8080",
            "ICHAT_SERVICE_PORT_HTTP": "8080",
            "ICHAT_PORT": "tcp://10.0.0.1:8080",
            "ICHAT_PORT_8080_TCP": "tcp://10.0.0.1:8080",
            "ICHAT_PORT_8080_TCP_ADDR": "10.0.0.1",
        }
        assert load(environment=told).settings.http.port == 8080
        assert _problems("", ICHAT_PORT="9090") == [
            "ICHAT_PORT (environment): there is no such variable; ICHAT_HTTP_PORT is meant?"
        ]

    def test_a_key_that_stands_there_twice(self) -> None:
        assert _problems("http:\n  port: 1\n  port: 2\n") == ["http.port (config.yml:3): stands there twice"]

    def test_a_value_in_the_place_of_a_section(self) -> None:
        assert _problems("log: json") == ["log (config.yml:1): must hold keys: format"]

    def test_a_section_in_the_place_of_a_value(self) -> None:
        assert _problems("http: {port: {}}") == ["http.port (config.yml:1): must be a whole number from 0 to 65535"]

    @pytest.mark.parametrize("text", ["- a\n- b\n", "text"])
    def test_a_file_without_keys(self, text: str) -> None:
        assert _problems(text) == ["config.yml (config.yml:1): must hold keys and values"]

    def test_a_file_that_is_no_yaml(self) -> None:
        (problem,) = _problems("http: [")
        assert problem.startswith("config.yml: can't be read: ")

    def test_a_secret_is_not_shown_in_them(self) -> None:
        (problem,) = _problems("", ICHAT_REDIS_URL="http://user:hunter2@host", ICHAT_JWT_SECRET="s" * 32)
        assert problem == "redis.url (ICHAT_REDIS_URL): must be a redis://, rediss:// or unix:// address"

    def test_sentinel_and_cluster_need_nodes(self) -> None:
        (problem,) = _problems("", ICHAT_REDIS_HOST="h", ICHAT_REDIS_MODE="cluster", ICHAT_JWT_SECRET="s" * 32)
        assert problem == "redis.nodes: must name at least one host:port where redis.mode is cluster"


class TestTls:
    def test_a_certificate_with_its_key_is_taken(self, tmp_path: Path) -> None:
        mine = Certificate(tmp_path)
        settings = _from("", ICHAT_HTTP_TLS_CERT=str(mine.cert), ICHAT_HTTP_TLS_KEY=str(mine.key)).settings
        assert settings.http.tls_cert == mine.cert

    def test_one_needs_the_other(self) -> None:
        assert _problems("", ICHAT_HTTP_TLS_CERT="x") == ["http.tls-key: must be set where http.tls-cert is"]
        assert _problems("", ICHAT_HTTP_TLS_KEY="x") == ["http.tls-cert: must be set where http.tls-key is"]

    def test_files_that_are_not_there_are_named(self) -> None:
        assert _problems("http: {tls-cert: a, tls-key: b}") == [
            "http.tls-cert (config.yml:1): a is no file",
            "http.tls-key (config.yml:1): b is no file",
        ]

    def test_a_certificate_of_another_key_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        mine, other = Certificate(tmp_path / "a"), Certificate(tmp_path / "b")
        (problem,) = _problems("", ICHAT_HTTP_TLS_CERT=str(mine.cert), ICHAT_HTTP_TLS_KEY=str(other.key))
        assert "can't be used together" in problem
