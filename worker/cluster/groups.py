"""The places that a drive takes on a cluster, by name, so that the next driver of the job can take them back.

Ray frees what a driver held when its process dies. One that hangs, or is cut off, would hold it until it comes back.
"""

import logging
from typing import Final
from uuid import uuid4

from ray._raylet import PlacementGroupID
from ray.tune import PlacementGroupFactory
from ray.util.placement_group import PlacementGroup, placement_group, placement_group_table, remove_placement_group

log = logging.getLogger(__name__)

_PREFIX: Final = "nas"


class Place(PlacementGroupFactory):
    """A place for a trial on one node.

    Two are alike if they have the same resources (Tune gives the actor in one of them the next trial); names differ.

    Args:
        need: resource → how much of it.
        drive: `job/term`.
    """

    def __init__(self, need: dict[str, float], drive: str) -> None:
        super().__init__([need])
        self.drive = drive

    def to_placement_group(self) -> PlacementGroup:
        """See PlacementGroupFactory."""
        group: PlacementGroup = placement_group(self.bundles, name=f"{_PREFIX}/{self.drive}/{uuid4().hex[:12]}")
        return group


def drive_name(job_id: str, term: int) -> str:
    """What the places of a drive are named by."""
    return f"{job_id}/{term}"


def clear(job_id: str, term: int) -> None:
    """Takes back what earlier drivers of a job still hold; the actors there end with that."""
    for found in placement_group_table().values():
        prefix, _, rest = found["name"].partition("/")
        job, _, drive = rest.partition("/")
        earlier = prefix == _PREFIX and job == job_id and int(drive.partition("/")[0]) < term
        if earlier and found["state"] != "REMOVED":
            log.warning("job %s: an earlier driver still holds %s; it is taken back", job_id, found["bundles"])
            group = PlacementGroupID(bytes.fromhex(found["placement_group_id"]))
            remove_placement_group(PlacementGroup(group))
