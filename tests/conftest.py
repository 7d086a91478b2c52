"""What all tests share: shapes are checked, torch takes one thread, hypothesis draws the same examples every time."""

import gc
import signal

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

import tests.shapes  # noqa: F401 - the hook below finds it by name

# Before anything imports these modules: from then on a tensor of another shape than annotated is an error.
install_import_hook(("nas.model", "nas.data", "nas.oneshot", "nas.train"), "tests.shapes.checked")

settings.register_profile("nas", deadline=None, derandomize=True, database=None)
settings.load_profile("nas")


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "where tests run that need a database of whatever kind; those of the store run on both anyway"
    parser.addoption("--backend", choices=("sqlite", "postgresql"), default="sqlite", help=text)


def pytest_configure(config: pytest.Config) -> None:
    from tests.support import use_backend  # not before the hook

    use_backend(config.getoption("--backend"))


LONGEST = (
    "cluster/test_schedulers.py",
    "deploy/test_commands.py",
    "test_chaos.py",
    "cluster/test_drive.py",
    "store/test_load.py",
    "cli/test_whole_path.py",
    "web/test_journey.py",
    "worker/test_bad_days.py",
    "cluster/test_replaced.py",
    "cluster/test_scheduled.py",
    "cluster/test_nodes.py",
    "train/test_parallel.py",
    "cli/test_migrate.py",
    "deploy/test_ray_commands.py",
    "worker/test_abilities.py",
    "cli/test_backup.py",
    "worker/test_step.py",
    "contracts/test_strategies.py",
    "test_restart.py",
    "worker/test_strategies.py",
    "worker/test_rungs.py",
    "oneshot/test_search.py",
    "worker/test_control.py",
    "api/test_schemathesis.py",
    "web/test_axe.py",
    "web/test_away.py",
)
"""Files that take a quarter of a minute or more: they begin first, so that no process waits for another one's last."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {f"tests/{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.split("::")[0], len(places)))


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """What a shell starts in the background ignores Ctrl-C, and so would every command that a test interrupts."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Sums in another order differ in the last bit, so that only one thread gives the same numbers every time."""
    import torch  # most tests do not need it, and it takes two seconds

    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()  # the modules and tests themselves: looking through all of them takes most of a second each time
