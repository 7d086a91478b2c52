"""deploy/kuberay.yaml: what Kubernetes, KubeRay and Ray want of it, and what it shares with docker-compose.yml."""

import copy
import re
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]

from tests.deploy.compose import services
from tests.deploy.dockerfile import ROOT
from tests.deploy.kubernetes import KINDS

FILE = ROOT / "deploy" / "kuberay.yaml"
DOCUMENTS: dict[str, Any] = {found["kind"]: found for found in yaml.safe_load_all(FILE.read_text())}
CLUSTER = DOCUMENTS["RayCluster"]["spec"]
DRIVER = DOCUMENTS["Deployment"]["spec"]["template"]
GROUPS = [CLUSTER["headGroupSpec"], *CLUSTER["workerGroupSpecs"]]
PODS = [*(group["template"] for group in GROUPS), DRIVER]


@pytest.mark.parametrize("kind", KINDS)
def test_each_document_has_the_fields_of_its_kind_and_no_others(kind: str) -> None:
    jsonschema.validate(DOCUMENTS[kind], KINDS[kind], jsonschema.Draft202012Validator)
    assert DOCUMENTS.keys() == KINDS.keys()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["spec", "headGroupSpec", "rayStartParams", "num-cpus"], 0),  # KubeRay takes texts only
        (["spec", "workerGroupSpecs", 0, "replica"], 2),
        (["spec", "workerGroupSpecs", 0, "minReplicas"], "0"),
        (["spec", "headGroupSpec", "template", "spec", "containers"], []),
        (["spec", "headGroupSpec", "template", "spec", "securityContext", "runAsUser"], 0),
        (["spec", "headGroupSpec", "template", "spec", "containers", 0, "resources", "limits", "memory"], "4 GB"),
    ],
)
def test_the_schema_notices_a_mistake(path: list[Any], value: Any) -> None:
    document = copy.deepcopy(DOCUMENTS["RayCluster"])
    at = document
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, KINDS["RayCluster"], jsonschema.Draft202012Validator)


def test_all_nodes_have_the_version_of_ray_that_is_installed() -> None:
    pinned = re.search(r"^ray==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert CLUSTER["rayVersion"] == pinned[1]
    assert len({pod["spec"]["containers"][0]["image"] for pod in PODS}) == 1


def test_limits_are_requests_and_gpus_are_whole() -> None:
    for pod in PODS:
        resources = pod["spec"]["containers"][0]["resources"]
        assert resources["limits"] == resources["requests"]
    assert [pod["spec"]["containers"][0]["resources"]["limits"].get("nvidia.com/gpu") for pod in PODS] == [
        None,
        None,
        "1",
        None,
    ]
    assert all(group["minReplicas"] <= group["replicas"] <= group["maxReplicas"] for group in GROUPS[1:])


def test_nodes_know_no_database_and_the_driver_what_it_knows_in_compose() -> None:
    def told(pod: dict[str, Any]) -> set[str]:
        return {variable["name"] for variable in pod["spec"]["containers"][0]["env"]}

    in_compose = services()
    for pod in PODS[:-1]:
        assert not {"NAS_DATABASE_URL", "PGPASSWORD"} & told(pod)
        assert told(pod) <= in_compose["ray-worker"]["environment"].keys()
    assert {"NAS_DATABASE_URL", "NAS_ARTIFACTS_URL", "NAS_RAY_ADDRESS"} <= told(DRIVER)
    assert told(DRIVER) <= in_compose["ray-driver"]["environment"].keys()


def test_the_secrets_that_are_named_are_the_ones_that_its_head_says_how_to_make() -> None:
    made = set(re.findall(r"create (?:secret generic|configmap) (\S+)", FILE.read_text()))
    named = set(re.findall(r"KeyRef: \{name: ([\w-]+)", FILE.read_text()))
    assert named == made


def test_only_rays_own_nodes_reach_rays_ports() -> None:
    policy = DOCUMENTS["NetworkPolicy"]["spec"]
    chosen = policy["podSelector"]["matchLabels"]
    assert policy["ingress"] == [{"from": [{"podSelector": {"matchLabels": chosen}}]}]
    for pod in PODS:
        assert chosen.items() <= pod["metadata"]["labels"].items()
    selected = DOCUMENTS["Deployment"]["spec"]["selector"]["matchLabels"]
    assert selected.items() <= DRIVER["metadata"]["labels"].items()


def test_every_mount_has_its_volume() -> None:
    for pod in PODS:
        mounts = {mount["name"] for mount in pod["spec"]["containers"][0]["volumeMounts"]}
        assert mounts == {volume["name"] for volume in pod["spec"]["volumes"]}
