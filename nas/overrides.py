"""A job like another one, with some fields otherwise."""

from collections.abc import Mapping
from typing import Any

from nas.spec import JobSpec

OWN_PARTS = (("strategy", "options"), ("space.kind", "space"), ("pruning.method", "pruning"))
"""A choice → the part that says how it is done: with another choice, what was said of the old one is left out."""

OF_TRANSFER = ("freeze", "kept_lr")
"""Fields of the recipe that go with a transfer only."""


def overridden(spec: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a job as `spec` has it, but for what is changed.

    Args:
        spec: of a job, with every field filled in.
        changes: fields with their new values; those of an object (`budget`, `recipe`, …) one by one.

    Returns:
        What the whole new job asks for, still to be validated and completed. A transfer that is not changed keeps the
        network and the weights that it was filled in with.
    """
    base = dict(spec)
    for choice, part in OWN_PARTS:
        said = _at(changes, choice)
        if said is not None and said != _at(spec, choice):
            base[part] = {}
    if isinstance(changes.get("pruning"), str):
        base["pruning"] = changes["pruning"]
    source, asked = spec.get("transfer") or {}, changes.get("transfer", spec.get("transfer"))
    same = isinstance(asked, Mapping) and asked.get("job") == source.get("job")
    if not same and (source or asked):
        base["recipe"] = {name: value for name, value in base["recipe"].items() if name not in OF_TRANSFER}
        base["transfer"] = None
    body = {name: _merged(value, changes[name]) if name in changes else value for name, value in base.items()}
    if "name" not in changes:
        body["name"] = f"copy of {spec['name']}"[:200] if spec.get("name") else None
    if body.get("transfer"):  # the network is the source's; all that can be said of it is its tail
        tail = {"tail": spec["space"]["tail"]} if same else {}
        body["space"] = _merged(tail, changes.get("space", {}))
    return body | {name: value for name, value in changes.items() if name not in JobSpec.model_fields}


def _merged(value: Any, change: Any) -> Any:
    return {**value, **change} if isinstance(value, Mapping) and isinstance(change, Mapping) else change


def _at(body: Mapping[str, Any], place: str) -> Any:
    value: Any = body
    for name in place.split("."):
        value = value.get(name) if isinstance(value, Mapping) else value if name == "method" else None
    return value
