"""A Python client of the service, for programs and notebooks. Errors are the service's own words.

with Client() as client:
    job = client.search(dataset="digits", budget={"trials": 20})
    job.watch()
    network = nas.load(job.download("model.zip"))
"""

from nas.client.aio_client import AsyncClient
from nas.client.aio_job import AsyncJob
from nas.client.client import DEFAULT_URL, Client
from nas.client.errors import NoPackage, NoService, ServiceError
from nas.client.job import Job
from nas.client.values import Best, Figure, Jobs

__all__ = [
    "DEFAULT_URL",
    "AsyncClient",
    "AsyncJob",
    "Best",
    "Client",
    "Figure",
    "Job",
    "Jobs",
    "NoPackage",
    "NoService",
    "ServiceError",
]
