"""Numbers of trials and places in the search.

Trials are numbered in the order in which they are added. Those of the search have an index as well, from 0 and without
gaps, which strategies see and seeds are made of. What is prepared stands before it; retrainings stand behind it, and
when the search is taken up again, between its parts: `Job.searches` has the number and the index at which each later
part begins.
"""

from nas.store.tables import Job


def index_of(job: Job, number: int) -> int:
    """The place in its job's search of the search trial of that number."""
    begins, index = job.prepared, 0
    for later, at in job.searches or ():
        if number >= later:
            begins, index = later, at
    return number - begins + index


def number_of(job: Job, index: int) -> int:
    """The number of the trial at that place in its job's search."""
    begins, first = job.prepared, 0
    for later, at in job.searches or ():
        if index >= at:
            begins, first = later, at
    return index - first + begins


def searches_planned(job: Job) -> int:
    """How many trials the search has been planned to have."""
    return index_of(job, job.trials_planned)


def round_of(job: Job) -> int:
    """How often the search has been taken up again; the retrainings after it have the same number."""
    return len(job.searches or ())
