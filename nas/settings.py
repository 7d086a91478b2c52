"""Settings from the environment, read once in a main() and handed on as a value."""

import keyword
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import quote, urlsplit

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from nas.errors import SettingsError
from nas.log import setup

PREFIX = "NAS_"
_MEND = "it can be sqlite:////path/nas.db or postgresql://user@host/name"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
LOG_FORMATS = ("text", "json")
MAX_UPLOAD_BYTES = 4 << 30


@dataclass(frozen=True, slots=True)
class Settings:
    """What every process of one installation has to agree on.

    Attributes:
        home: folder of the embedded database and files.
        database_url: SQLAlchemy URL; SQLite in `home` by default.
        artifacts_url: fsspec URL of the artifact store; a folder in `home` by default.
        data: folder with the files of built-in data sets; one in `home` by default.
        lease_s: how long a silent worker keeps its trial.
        max_upload_bytes: the largest body that may bring a data set.
        plugins: modules to import for what they add, by their dotted names.
        log: level of the log.
        log_format: `text` for people, `json` for machines: one object a line.
        otel: OTLP/HTTP endpoint that spans are sent to; empty: none are made.
        rate_per_minute: requests a minute that one key may make; 0: no limit.
        max_open_jobs: jobs of one owner that may wait or run; 0: no limit.
        max_stored_bytes: of one owner's data sets and files; 0: no limit.
        cors: origins whose pages may call the API; none by default.
        ray_address: of the Ray cluster that Ray jobs run on; empty: a local one is started for each.
    """

    home: Path
    database_url: str = field(repr=False)  # with its password
    artifacts_url: str
    data: Path
    lease_s: float = 30.0
    max_upload_bytes: int = MAX_UPLOAD_BYTES
    plugins: tuple[str, ...] = ()
    log: str = "INFO"
    log_format: str = "text"
    otel: str = ""
    rate_per_minute: int = 1200
    max_open_jobs: int = 100
    max_stored_bytes: int = 0
    cors: tuple[str, ...] = ()
    ray_address: str = ""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """Reads the variables that to_environ writes; one that is not there, or is empty, has its default.

        Raises:
            SettingsError: a value is impossible; the message names the variable and what is allowed.
        """
        home = Path(environ.get("NAS_HOME") or Path.home() / ".nas").expanduser().absolute()
        log = (environ.get("NAS_LOG") or "INFO").upper()
        if log not in LOG_LEVELS:
            raise SettingsError(f"NAS_LOG is {log!r}; it can be {', '.join(LOG_LEVELS)}")
        log_format = (environ.get("NAS_LOG_FORMAT") or "text").lower()
        if log_format not in LOG_FORMATS:
            raise SettingsError(f"NAS_LOG_FORMAT is {log_format!r}; it can be {', '.join(LOG_FORMATS)}")
        return cls(
            home=home,
            database_url=_database(environ.get("NAS_DATABASE_URL") or f"sqlite:///{quote(str(home / 'nas.db'))}"),
            artifacts_url=_artifacts(environ.get("NAS_ARTIFACTS_URL") or "") or str(home / "artifacts"),
            data=Path(environ.get("NAS_DATA") or home / "data").expanduser().absolute(),
            lease_s=_seconds("NAS_LEASE_SECONDS", environ.get("NAS_LEASE_SECONDS") or "30"),
            max_upload_bytes=_bytes(
                "NAS_MAX_UPLOAD_BYTES", environ.get("NAS_MAX_UPLOAD_BYTES") or str(MAX_UPLOAD_BYTES)
            ),
            plugins=_modules("NAS_PLUGINS", environ.get("NAS_PLUGINS") or ""),
            log=log,
            log_format=log_format,
            otel=_http_url("NAS_OTEL_ENDPOINT", environ.get("NAS_OTEL_ENDPOINT") or ""),
            rate_per_minute=_count("NAS_RATE_PER_MINUTE", environ.get("NAS_RATE_PER_MINUTE") or "1200"),
            max_open_jobs=_count("NAS_MAX_OPEN_JOBS", environ.get("NAS_MAX_OPEN_JOBS") or "100"),
            max_stored_bytes=_count("NAS_MAX_STORED_BYTES", environ.get("NAS_MAX_STORED_BYTES") or "0"),
            cors=_origins("NAS_CORS_ORIGINS", environ.get("NAS_CORS_ORIGINS") or ""),
            ray_address=_ray("NAS_RAY_ADDRESS", environ.get("NAS_RAY_ADDRESS") or ""),
        )

    def to_environ(self) -> dict[str, str]:
        """The variables that make another process read the same settings."""
        return {
            "NAS_HOME": str(self.home),
            "NAS_DATABASE_URL": self.database_url,
            "NAS_ARTIFACTS_URL": self.artifacts_url,
            "NAS_DATA": str(self.data),
            "NAS_LEASE_SECONDS": str(self.lease_s),
            "NAS_MAX_UPLOAD_BYTES": str(self.max_upload_bytes),
            "NAS_PLUGINS": ",".join(self.plugins),
            "NAS_LOG": self.log,
            "NAS_LOG_FORMAT": self.log_format,
            "NAS_OTEL_ENDPOINT": self.otel,
            "NAS_RATE_PER_MINUTE": str(self.rate_per_minute),
            "NAS_MAX_OPEN_JOBS": str(self.max_open_jobs),
            "NAS_MAX_STORED_BYTES": str(self.max_stored_bytes),
            "NAS_CORS_ORIGINS": ",".join(self.cors),
            "NAS_RAY_ADDRESS": self.ray_address,
        }

    def log_to_stderr(self) -> None:
        """Sets logging up for a process (nas.log)."""
        setup(self.log, self.log_format)


def _database(url: str) -> str:
    """Names the driver where a URL leaves it open; only SQLite and PostgreSQL are supported."""
    for given in ("postgres://", "postgresql://"):
        if url.startswith(given):
            url = "postgresql+psycopg://" + url.removeprefix(given)
    if not url.startswith(("sqlite:///", "postgresql+psycopg://")):
        scheme = url.split("://", maxsplit=1)[0]
        raise SettingsError(f"NAS_DATABASE_URL starts with {scheme!r}; {_MEND}")
    try:
        make_url(url)
    except (ArgumentError, ValueError) as error:
        raise SettingsError(f"NAS_DATABASE_URL is no database URL ({error}); {_MEND}") from error
    return url


def _artifacts(url: str) -> str:
    """The URL, if fsspec knows what it is; a path is one as well."""
    if "://" in url or "::" in url:
        from nas.store.places import check_url  # fsspec, which a path need not

        try:
            check_url(url)
        except SettingsError as error:
            raise SettingsError(f"NAS_ARTIFACTS_URL: {error}") from error
    return url


def _seconds(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = float("nan")
    if not 1 <= seconds <= 86_400:
        raise SettingsError(f"{name} is {text!r}; it has to be a number of seconds from 1 to 86400")
    return seconds


def _bytes(name: str, text: str) -> int:
    digits = text.strip()  # int() would take underscores, signs and other alphabets' digits as well
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 16 and 1 <= int(digits) <= 1 << 50):
        raise SettingsError(f"{name} is {text!r}; it has to be a number of bytes from 1 to {1 << 50}, without a unit")
    return int(digits)


def _count(name: str, text: str) -> int:
    digits = text.strip()
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 16 and int(digits) <= 1 << 50):
        raise SettingsError(f"{name} is {text!r}; it has to be a whole number from 0 to {1 << 50}; 0 means no limit")
    return int(digits)


def _http_url(name: str, text: str) -> str:
    url = text.strip()
    parts = urlsplit(url)
    if url and (parts.scheme not in ("http", "https") or not parts.netloc):
        raise SettingsError(f"{name} is {text!r}; it has to be an http:// or https:// URL")
    return url


def _origins(name: str, text: str) -> tuple[str, ...]:
    origins = tuple(part.strip() for part in text.split(",") if part.strip())
    for origin in origins:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.netloc or origin != f"{parts.scheme}://{parts.netloc}":
            mend = "it has to be origins separated by commas, such as https://nas.example.org, without a path or *"
            raise SettingsError(f"{name} has {origin!r}; {mend}")
    return origins


def _ray(name: str, text: str) -> str:
    address = text.strip()
    host, _, port = address.rpartition(":")
    if address in ("", "auto") or (host and "/" not in host and port.isdecimal() and 0 < int(port) < 1 << 16):
        return address
    mend = "it has to be the HOST:PORT of a cluster's head, such as ray-head:6379, or auto, or empty for a local one"
    if address.startswith("ray://"):
        mend += "; Ray Tune does not run through Ray Client, so start the worker on a machine of the cluster"
    raise SettingsError(f"{name} is {text!r}; {mend}")


def _modules(name: str, text: str) -> tuple[str, ...]:
    modules = tuple(part.strip() for part in text.split(",") if part.strip())
    for module in modules:
        if not all(word.isidentifier() and not keyword.iskeyword(word) for word in module.split(".")):
            raise SettingsError(
                f"{name} has {module!r}; it has to be modules' names separated by commas, such as lab.ops,lab.search"
            )
    return modules
