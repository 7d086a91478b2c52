"""`nas doctor`: looks at everything that a service needs, and says what to mend. It changes nothing and never fails."""

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from nas import plugins
from nas.errors import NasError
from nas.finding import Finding, Status
from nas.settings import Settings
from nas.store import checkup

PACKAGE: Final = "nas-service"


def examine(settings: Settings, *, deep: bool = False) -> Iterator[Finding]:
    """Everything that was found, one thing after another.

    Args:
        settings: of the service.
        deep: whether every row and every file is compared as well (nas.store.audit), which takes its time.
    """
    for about, check in (CHECKS | DEEP if deep else CHECKS).items():
        try:
            yield from check(settings)
        except checkup.Unmade:
            continue  # the check of the database has said so
        except Exception as error:  # whatever is broken is what was looked for
            yield Finding(about, Status.PROBLEM, _said(error), MENDS.get(about, "see the text of the error"))


def _versions(settings: Settings) -> Iterator[Finding]:
    """Python and the packages that this machine's part of the service needs, against what the package asks for."""
    python = platform.python_version()
    asked = metadata(PACKAGE)["Requires-Python"] or ""
    good = SpecifierSet(asked).contains(python)
    mend = "" if good else f"install a Python {asked}"
    yield Finding("python", Status.OK if good else Status.PROBLEM, f"{python}, {asked} is needed", mend)
    needed = {
        "postgres": not settings.database_url.startswith("sqlite"),
        "s3": settings.artifacts_url.startswith("s3:"),
        "otel": bool(settings.otel),
    }
    for extra in ("", "api", "worker", "postgres", "s3", "otel"):
        if needed.get(extra, True):
            yield _packages(extra, optional=extra in ("api", "worker"))


def _packages(extra: str, *, optional: bool) -> Finding:
    about = f"packages ({extra})" if extra else "packages"
    found, wrong = [], []
    for line in requires(PACKAGE) or ():
        requirement = Requirement(line)
        by_extra = "extra" in str(requirement.marker or "")
        if by_extra != bool(extra) or (requirement.marker and not requirement.marker.evaluate({"extra": extra})):
            continue
        try:
            there = version(requirement.name)
        except PackageNotFoundError:
            wrong.append(f"{requirement.name} is not installed")
            continue
        found.append(f"{requirement.name} {there}")
        if not requirement.specifier.contains(there, prereleases=True):
            wrong.append(f"{requirement.name} is {there}, {requirement.specifier} is needed")
    if not wrong:
        return Finding(about, Status.OK, ", ".join(found))
    name = f"{PACKAGE}[{extra}]" if extra else PACKAGE
    use = f"; without it this machine runs no {extra}" if optional else ""
    return Finding(
        about, Status.WARNING if optional else Status.PROBLEM, "; ".join(wrong), f"pip install '{name}'{use}"
    )


def _home(settings: Settings) -> Iterator[Finding]:
    folder = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        yield Finding(
            "home", Status.PROBLEM, f"{settings.home} is not writable", "change its owner, or name another NAS_HOME"
        )
    else:
        yield Finding("home", Status.OK, f"{settings.home}, leases of {settings.lease_s:g} s")


def _plugins(settings: Settings) -> Iterator[Finding]:
    if settings.plugins:
        plugins.use(*settings.plugins)
        yield Finding("plugins", Status.OK, ", ".join(settings.plugins))


def _devices(settings: Settings) -> Iterator[Finding]:
    try:
        import torch  # seconds of imports, and not installed where only the API runs
    except ImportError:
        return  # the check of the packages has said so

    cores, gib = os.cpu_count(), os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)
    _multiply(torch, "cpu")
    yield Finding("cpu", Status.OK, f"{cores} cores, {gib:.0f} GiB of memory")
    if torch.version.cuda and not torch.cuda.is_available() and shutil.which("nvidia-smi"):
        mend = f"install a driver for CUDA {torch.version.cuda}, or give the container its devices"
        yield Finding("gpu", Status.WARNING, "there is an NVIDIA driver, but torch finds no device", mend)
    for index in range(torch.cuda.device_count()):
        _multiply(torch, f"cuda:{index}")
        free, total = (size / (1 << 30) for size in torch.cuda.mem_get_info(index))
        yield Finding("gpu", Status.OK, f"{torch.cuda.get_device_name(index)}, {free:.0f} of {total:.0f} GiB are free")


def _multiply(torch: Any, device: str) -> None:
    ones = torch.ones(64, 64, device=device)
    if (ones @ ones).sum().item() != 64**3:
        raise OSError(f"{device} computes wrong sums; it must not be used")


CHECKS: Final[dict[str, Callable[[Settings], Iterator[Finding]]]] = {
    "packages": _versions,
    "home": _home,
    "plugins": _plugins,
    "database": checkup.database,
    "keys": checkup.keys,
    "files": checkup.files,
    "data sets": checkup.datasets,
    "workers": checkup.alive,
    "devices": _devices,
}
"""What is looked at, in this order."""

DEEP: Final[dict[str, Callable[[Settings], Iterator[Finding]]]] = {"audit": checkup.agreement}
"""What is looked at besides if it may take its time."""

MENDS: Final = {
    "plugins": "correct NAS_PLUGINS, or the module that it names",
    "database": "start it, or correct NAS_DATABASE_URL; a file that is damaged is restored from a backup",
    "files": "correct NAS_ARTIFACTS_URL, or the rights there, or make room",
    "devices": "mend the driver, or start workers with `--device cpu`",
}
"""A check that fails as a whole → what is to be done."""


def _said(error: Exception) -> str:
    said = (str(getattr(error, "orig", None) or error).strip().splitlines() or [""])[0]
    return said if isinstance(error, NasError) else f"{type(error).__name__}: {said}"
