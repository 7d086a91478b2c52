"""`nas jobs pause`, `resume`, `extend`, `clone`, `cancel` and `delete`, against a real service."""

from collections.abc import Callable

from nas.client import Client
from nas.settings import Settings

Nas = Callable[..., tuple[int, str, str]]


def test_a_job_is_steered_from_the_command_line(service: tuple[Client, Settings], nas: Nas) -> None:
    client, _ = service
    job_id = client.search({"dataset": "digits", "strategy": "random", "budget": {"trials": 2}}).id
    assert nas("jobs", "pause", job_id) == (0, f"job {job_id} is paused; go on with `nas jobs resume {job_id}`\n", "")
    assert nas("jobs", "resume", job_id) == (0, f"job {job_id} is queued\n", "")
    status, out, _ = nas("jobs", "extend", job_id, "--trials", "5")
    assert (status, f"job {job_id} is queued" in out) == (0, True)
    assert client.job(job_id).details()["spec"]["budget"]["trials"] == 5
    status, _, error = nas("jobs", "extend", job_id, "--trials", "4")
    assert (status, "at least 5, which the job has" in error) == (2, True)
    status, _, error = nas("jobs", "extend", job_id)
    assert (status, "name what is to grow" in error) == (2, True)

    status, out, _ = nas("jobs", "clone", job_id, "--set", "seed=9", "--set", "budget.trials=7")
    copy = out.split()[1].rstrip(";")
    spec = client.job(copy).details()["spec"]
    assert (status, spec["seed"], spec["budget"]["trials"]) == (0, 9, 7)
    assert client.job(copy).change(name="mine", priority=3).dashboard()["job"]["priority"] == 3

    status, _, error = nas("jobs", "delete", job_id)
    assert (status, "cancel it first" in error) == (6, True)
    assert nas("jobs", "delete", job_id, "--force") == (0, f"job {job_id} is deleted\n", "")
    assert nas("jobs", "cancel", copy) == (0, f"job {copy} is cancelled\n", "")
    assert nas("jobs", "delete", copy) == (0, f"job {copy} is deleted\n", "")
    assert list(client.jobs()) == []
