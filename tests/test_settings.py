"""Settings from the environment; an error names the variable, its value and what it can be."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from nas.errors import SettingsError
from nas.settings import LOG_LEVELS, Settings
from nas.store.session import Store

HOME = {"NAS_HOME": "/srv/nas"}
LIBRARIES = ("alembic", "httpx", "onnx_ir", "onnxscript", "optuna", "torch.onnx")


def test_everything_has_a_default() -> None:
    home = Path.home() / ".nas"
    assert Settings.read({}) == Settings(
        home=home,
        database_url=f"sqlite:///{home}/nas.db",
        artifacts_url=f"{home}/artifacts",
        data=home / "data",
        lease_s=30.0,
        max_upload_bytes=4 * 1024**3,
        plugins=(),
        log="INFO",
    )


def test_an_empty_variable_is_none() -> None:
    names = set(Settings.read({}).to_environ())
    assert len(names) >= 8
    assert Settings.read(dict.fromkeys(names, "")) == Settings.read({})


def test_every_variable_is_read() -> None:
    found = Settings.read(
        {
            "NAS_HOME": "/srv/nas",
            "NAS_DATABASE_URL": "postgresql+psycopg://nas:secret@db:5432/nas",
            "NAS_ARTIFACTS_URL": "s3://bucket/folder",
            "NAS_DATA": "/data",
            "NAS_LEASE_SECONDS": "2.5",
            "NAS_MAX_UPLOAD_BYTES": "1000000",
            "NAS_PLUGINS": "lab.ops, lab.search,",
            "NAS_LOG": "WARNING",
            "NAS_OTHER": "ignored",
            "HOME": "/elsewhere",
        }
    )
    assert found == Settings(
        home=Path("/srv/nas"),
        database_url="postgresql+psycopg://nas:secret@db:5432/nas",
        artifacts_url="s3://bucket/folder",
        data=Path("/data"),
        lease_s=2.5,
        max_upload_bytes=1_000_000,
        plugins=("lab.ops", "lab.search"),
        log="WARNING",
    )


def test_the_database_and_the_files_are_at_home() -> None:
    found = Settings.read(HOME)
    assert found.database_url == "sqlite:////srv/nas/nas.db"
    assert found.artifacts_url == "/srv/nas/artifacts"


def test_a_home_may_be_given_from_here_or_from_the_users_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings.read({"NAS_HOME": "data"}).home == tmp_path / "data"
    assert Settings.read({"NAS_HOME": "~/data"}).home == Path.home() / "data"


@pytest.mark.parametrize("name", ["plain", "with space", "ünï", "a#b", "a&b=c", "a:b", "a@b", "a?b", "a%20b"])
def test_a_database_is_made_in_any_home(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    settings = Settings.read({"NAS_HOME": str(home)})
    store = Store(settings.database_url)
    with store.write() as session:
        session.connection().exec_driver_sql("CREATE TABLE found (id INTEGER)")
    store.close()
    assert (home / "nas.db").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_is_reached_by_psycopg(scheme: str) -> None:
    found = Settings.read(HOME | {"NAS_DATABASE_URL": f"{scheme}://nas@db/nas"})
    assert found.database_url == "postgresql+psycopg://nas@db/nas"


@pytest.mark.parametrize(
    ("url", "scheme"),
    [
        ("mysql://nas:secret@db/nas", "mysql"),
        ("postgresql+asyncpg://nas:secret@db/nas", "postgresql+asyncpg"),
        ("sqlite+aiosqlite:///nas.db", "sqlite+aiosqlite"),
        ("sqlite://", "sqlite"),
        ("sqlite:nas.db", "sqlite:nas.db"),
        ("/srv/nas.db", "/srv/nas.db"),
        ("POSTGRESQL://db/nas", "POSTGRESQL"),
    ],
)
def test_another_database_is_refused_with_those_that_are_possible(url: str, scheme: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.read(HOME | {"NAS_DATABASE_URL": url})
    assert str(caught.value) == (
        f"NAS_DATABASE_URL starts with {scheme!r}; it can be sqlite:////path/nas.db or postgresql://user@host/name"
    )


@pytest.mark.parametrize("text", ["1", "1.0", "30", " 5 ", "86400", "1e3"])
def test_a_lease_is_a_number_of_seconds(text: str) -> None:
    assert Settings.read(HOME | {"NAS_LEASE_SECONDS": text}).lease_s == float(text)


@pytest.mark.parametrize(
    "text", ["0", "0.99", "-1", "86401", "nan", "inf", "-inf", "thirty", "30s", "1,5", "0x1p4", "\x00"]
)
def test_a_lease_that_is_none_is_refused_with_what_it_can_be(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.read(HOME | {"NAS_LEASE_SECONDS": text})
    assert str(caught.value) == f"NAS_LEASE_SECONDS is {text!r}; it has to be a number of seconds from 1 to 86400"


@pytest.mark.parametrize("level", LOG_LEVELS)
def test_a_level_of_the_log_may_be_written_small(level: str) -> None:
    assert Settings.read(HOME | {"NAS_LOG": level.lower()}).log == level


@pytest.mark.parametrize("level", ["TRACE", "CRITICAL", "20", " "])
def test_a_level_that_is_none_is_refused_with_those_that_are(level: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.read(HOME | {"NAS_LOG": level})
    assert str(caught.value) == f"NAS_LOG is {level!r}; it can be DEBUG, INFO, WARNING, ERROR"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        HOME,
        {"NAS_HOME": "relative/with space"},
        {"NAS_DATABASE_URL": "postgres://nas:p%40ss@db/nas", "NAS_ARTIFACTS_URL": "memory://x", "NAS_LOG": "debug"},
        {"NAS_LEASE_SECONDS": "1.23456789012345"},
        {"NAS_DATA": "~/some data", "NAS_MAX_UPLOAD_BYTES": "1", "NAS_PLUGINS": "a,b.c"},
    ],
)
def test_another_process_reads_the_same_settings(environ: dict[str, str]) -> None:
    found = Settings.read(environ)
    assert Settings.read(found.to_environ()) == found


@pytest.mark.parametrize("text", ["1", " 5 ", "4294967296", str(1 << 50)])
def test_the_largest_upload_is_a_number_of_bytes(text: str) -> None:
    assert Settings.read(HOME | {"NAS_MAX_UPLOAD_BYTES": text}).max_upload_bytes == int(text)


@pytest.mark.parametrize("text", ["0", "-1", "4G", "1e9", "1.0", "1_000", "٣", str((1 << 50) + 1), "9" * 5000, "\x00"])
def test_a_largest_upload_that_is_none_is_refused_with_what_it_can_be(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.read(HOME | {"NAS_MAX_UPLOAD_BYTES": text})
    mend = "it has to be a number of bytes from 1 to 1125899906842624, without a unit"
    assert str(caught.value) == f"NAS_MAX_UPLOAD_BYTES is {text!r}; {mend}"


@pytest.mark.parametrize(
    ("text", "plugins"), [("", ()), (",", ()), ("a", ("a",)), (" a.b_1 ,c ,, a", ("a.b_1", "c", "a"))]
)
def test_plugins_are_names_of_modules(text: str, plugins: tuple[str, ...]) -> None:
    assert Settings.read(HOME | {"NAS_PLUGINS": text}).plugins == plugins


@pytest.mark.parametrize("name", ["a-b", "a b", ".a", "a.", "a..b", "1a", "a/b", "a.py:f", "class", "a.import", "a;b"])
def test_a_plugin_that_cannot_be_a_module_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.read(HOME | {"NAS_PLUGINS": f"good,{name}"})
    mend = "it has to be modules' names separated by commas, such as lab.ops,lab.search"
    assert str(caught.value) == f"NAS_PLUGINS has {name!r}; {mend}"


def test_files_of_built_in_data_sets_are_at_home_or_where_they_are_said_to_be(tmp_path: Path) -> None:
    assert Settings.read(HOME).data == Path("/srv/nas/data")
    assert Settings.read(HOME | {"NAS_DATA": str(tmp_path)}).data == tmp_path
    assert Settings.read(HOME | {"NAS_DATA": "~/files"}).data == Path.home() / "files"


@pytest.fixture
def _levels_as_before() -> Iterator[None]:
    levels = {name: logging.getLogger(name).level for name in (None, *LIBRARIES)}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.usefixtures("_levels_as_before")
@pytest.mark.parametrize(
    ("level", "ours", "theirs"),
    [
        ("DEBUG", logging.DEBUG, logging.WARNING),
        ("INFO", logging.INFO, logging.WARNING),
        ("ERROR", logging.ERROR, logging.ERROR),
    ],
)
def test_libraries_log_no_more_than_warnings(
    monkeypatch: pytest.MonkeyPatch, level: str, ours: int, theirs: int
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own keep the log from being set up
    Settings.read(HOME | {"NAS_LOG": level}).log_to_stderr()
    assert logging.getLogger("nas").getEffectiveLevel() == ours
    assert [logging.getLogger(name).getEffectiveLevel() for name in LIBRARIES] == [theirs] * len(LIBRARIES)


def test_a_database_url_that_is_none_is_refused_with_its_name() -> None:
    for url in ("postgresql://nas@db:port/nas", "nas.db", "mysql://nas@db/nas"):
        with pytest.raises(SettingsError, match=r"NAS_DATABASE_URL .*it can be sqlite:////path/nas\.db or postgresql"):
            Settings.read(HOME | {"NAS_DATABASE_URL": url})


@pytest.mark.parametrize("address", ["", "auto", "ray-head:6379", "10.0.0.5:6379"])
def test_the_address_of_a_ray_cluster_is_that_of_its_head(address: str) -> None:
    found = Settings.read(HOME | {"NAS_RAY_ADDRESS": address})
    assert found.ray_address == address
    assert Settings.read(found.to_environ()) == found


@pytest.mark.parametrize("address", ["ray-head", "ray-head:", ":6379", "http://ray-head:8265", "h:0", "h:65536", "h:x"])
def test_another_address_of_a_ray_cluster_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match=r"NAS_RAY_ADDRESS is .* HOST:PORT"):
        Settings.read(HOME | {"NAS_RAY_ADDRESS": address})


def test_ray_client_is_refused_with_what_to_do_instead() -> None:
    with pytest.raises(SettingsError, match="start the worker on a machine of the cluster"):
        Settings.read(HOME | {"NAS_RAY_ADDRESS": "ray://ray-head:10001"})
