"""What Kubernetes and KubeRay take of the kinds in deploy/kuberay.yaml, as far as we use them, and nothing else.

After the types of Kubernetes 1.37 (pod, deployment, network policy) and of KubeRay's ray.io/v1 RayCluster.
"""

from collections.abc import Mapping
from typing import Any, Final

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string", "minLength": 1}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
FLAG: Final[Schema] = {"type": "boolean"}
NAME: Final[Schema] = {"type": "string", "pattern": r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"}
QUANTITY: Final[Schema] = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(m|[kMGTPE]|[KMGTPE]i)?$"}
LABEL: Final = r"^([a-z0-9.-]+/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$"


def record(properties: Mapping[str, Schema], *required: str) -> Schema:
    """An object with these fields and no others."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def several(items: Schema, least: int = 0) -> Schema:
    """A list of them."""
    return {"type": "array", "items": items, "minItems": least}


def table(values: Schema, names: str = ".") -> Schema:
    """An object with names of the user's."""
    return {"type": "object", "propertyNames": {"pattern": names}, "additionalProperties": values}


LABELS: Final = table({"type": "string", "maxLength": 63}, LABEL)
METADATA: Final = record({"name": NAME, "namespace": NAME, "labels": LABELS, "annotations": table(TEXT)})
SELECTOR: Final = record({"matchLabels": LABELS})
KEY_OF: Final = record({"name": NAME, "key": TEXT, "optional": FLAG}, "name", "key")
VARIABLE: Final = {
    "oneOf": [
        record({"name": TEXT, "value": {"type": "string"}}, "name", "value"),
        record(
            {
                "name": TEXT,
                "valueFrom": {
                    "oneOf": [
                        record({"secretKeyRef": KEY_OF}, "secretKeyRef"),
                        record({"configMapKeyRef": KEY_OF}, "configMapKeyRef"),
                    ]
                },
            },
            "name",
            "valueFrom",
        ),
    ]
}
PROBE: Final = record(
    {
        "exec": record({"command": several(TEXT, 1)}, "command"),
        "initialDelaySeconds": COUNT,
        "periodSeconds": {"type": "integer", "minimum": 1},
        "timeoutSeconds": {"type": "integer", "minimum": 1},
        "failureThreshold": {"type": "integer", "minimum": 1},
    },
    "exec",
)
RESOURCES: Final = record({"limits": table(QUANTITY), "requests": table(QUANTITY)}, "limits", "requests")
CONTAINER: Final = record(
    {
        "name": NAME,
        "image": TEXT,
        "imagePullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
        "command": several(TEXT, 1),
        "env": several(VARIABLE),
        "ports": several(record({"name": NAME, "containerPort": COUNT}, "containerPort")),
        "securityContext": record(
            {
                "allowPrivilegeEscalation": {"const": False},
                "capabilities": record({"drop": {"const": ["ALL"]}}, "drop"),
            },
            "allowPrivilegeEscalation",
            "capabilities",
        ),
        "resources": RESOURCES,
        "volumeMounts": several(record({"name": NAME, "mountPath": TEXT, "readOnly": FLAG}, "name", "mountPath")),
        "readinessProbe": PROBE,
        "livenessProbe": {"anyOf": [PROBE, {"type": "null"}]},
    },
    "name",
    "image",
    "securityContext",
    "resources",
)
POD: Final = record(
    {
        "automountServiceAccountToken": {"const": False},
        "terminationGracePeriodSeconds": COUNT,
        "securityContext": record(
            {
                "runAsNonRoot": {"const": True},
                "runAsUser": {"const": 10001},
                "runAsGroup": COUNT,
                "fsGroup": COUNT,
                "seccompProfile": record({"type": {"const": "RuntimeDefault"}}, "type"),
            },
            "runAsNonRoot",
            "runAsUser",
            "seccompProfile",
        ),
        "containers": several(CONTAINER, 1),
        "tolerations": several(
            record({"key": TEXT, "operator": {"enum": ["Exists", "Equal"]}, "effect": {"enum": ["NoSchedule"]}})
        ),
        "volumes": several(
            record(
                {"name": NAME, "emptyDir": record({"medium": {"const": "Memory"}, "sizeLimit": QUANTITY})},
                "name",
                "emptyDir",
            )
        ),
    },
    "containers",
    "securityContext",
)
TEMPLATE: Final = record({"metadata": METADATA, "spec": POD}, "metadata", "spec")
PARAMETERS: Final = table({"type": "string"}, r"^[a-z][a-z-]*$")

KINDS: Final[Mapping[str, Schema]] = {
    "RayCluster": record(
        {
            "apiVersion": {"const": "ray.io/v1"},
            "kind": {"const": "RayCluster"},
            "metadata": METADATA,
            "spec": record(
                {
                    "rayVersion": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
                    "headGroupSpec": record(
                        {
                            "serviceType": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
                            "rayStartParams": PARAMETERS,
                            "template": TEMPLATE,
                        },
                        "rayStartParams",
                        "template",
                    ),
                    "workerGroupSpecs": several(
                        record(
                            {
                                "groupName": NAME,
                                "replicas": COUNT,
                                "minReplicas": COUNT,
                                "maxReplicas": COUNT,
                                "rayStartParams": PARAMETERS,
                                "template": TEMPLATE,
                            },
                            "groupName",
                            "minReplicas",
                            "maxReplicas",
                            "rayStartParams",
                            "template",
                        )
                    ),
                },
                "headGroupSpec",
            ),
        },
        "apiVersion",
        "kind",
        "metadata",
        "spec",
    ),
    "Deployment": record(
        {
            "apiVersion": {"const": "apps/v1"},
            "kind": {"const": "Deployment"},
            "metadata": METADATA,
            "spec": record({"replicas": COUNT, "selector": SELECTOR, "template": TEMPLATE}, "selector", "template"),
        },
        "apiVersion",
        "kind",
        "metadata",
        "spec",
    ),
    "NetworkPolicy": record(
        {
            "apiVersion": {"const": "networking.k8s.io/v1"},
            "kind": {"const": "NetworkPolicy"},
            "metadata": METADATA,
            "spec": record(
                {
                    "podSelector": SELECTOR,
                    "policyTypes": several({"enum": ["Ingress", "Egress"]}, 1),
                    "ingress": several(record({"from": several(record({"podSelector": SELECTOR}), 1)})),
                },
                "podSelector",
            ),
        },
        "apiVersion",
        "kind",
        "metadata",
        "spec",
    ),
}
"""Kind → what its documents look like. Fields that would loosen what we promise (root, privileges) are not there."""
