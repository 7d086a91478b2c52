"""A job's trials as an Optuna study, in memory or in a storage that Optuna's own tools open."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from nas.client.answers import StudyPage, StudyTrial
from nas.client.packages import wanted
from nas.errors import InvalidInput

if TYPE_CHECKING:
    import optuna

METRIC_NAMES: Final = "study:metric_names"
"""Where Optuna keeps what `Study.set_metric_names` was told; that one warns of being new."""


def study_of(pages: Sequence[StudyPage], name: str) -> "optuna.Study":
    """A study in memory with all trials of the pages. Raises NoPackage."""
    library = wanted("optuna")
    first = pages[0]
    known = {
        name: library.distributions.json_to_distribution(json.dumps(written))
        for page in pages
        for name, written in page["distributions"].items()
    }
    with _quiet(library):
        study: optuna.Study = library.create_study(study_name=name, directions=first["directions"])
    study._storage.set_study_system_attr(study._study_id, METRIC_NAMES, first["metric_names"])
    study.add_trials([_frozen(library, trial, known) for page in pages for trial in page["items"]])
    return study


def export_study(study: "optuna.Study", url: str, name: str, *, replace: bool) -> str:
    """Copies a study into an Optuna storage, whole or not at all; returns its name there.

    Args:
        study: to copy.
        url: of the storage, such as sqlite:///study.db.
        name: of the study there.
        replace: whether one of that name, if there is one, is deleted first.

    Raises:
        InvalidInput: a study has that name there, the database is another program's, or it cannot be opened.
        NoPackage: Optuna is not installed.
    """
    library = wanted("optuna")
    with _quiet(library):
        storage = _storage(library, url)
        present = name in library.get_all_study_names(storage)
        if present and not replace:
            mend = f"{_shown(url)} has a study of that name; name another study_name, or pass replace=True"
            raise InvalidInput("study_name", name, mend)
        if present:
            library.delete_study(study_name=name, storage=storage)
        try:
            library.copy_study(
                from_study_name=study.study_name, from_storage=study._storage, to_storage=storage, to_study_name=name
            )
        except BaseException:
            if name in library.get_all_study_names(storage):
                library.delete_study(study_name=name, storage=storage)
            raise
        finally:
            storage.remove_session()
    return name


def _frozen(library: Any, trial: StudyTrial, known: Mapping[str, Any]) -> Any:
    return library.trial.FrozenTrial(
        number=trial["number"],
        trial_id=trial["number"],
        state=library.trial.TrialState[trial["state"]],
        value=None,
        values=trial["values"],
        datetime_start=_local(trial["datetime_start"]),
        datetime_complete=_local(trial["datetime_complete"]),
        params=dict(trial["params"]),
        distributions={name: known[name] for name in trial["params"]},
        user_attrs=trial["user_attrs"],
        system_attrs={},
        intermediate_values={int(step): value for step, value in trial["intermediate_values"].items()},
    )


def _local(time: str | None) -> datetime | None:
    """As Optuna has its times: without a zone, in that of this machine."""
    return None if time is None else datetime.fromisoformat(time).astimezone().replace(tzinfo=None)


def _storage(library: Any, url: str) -> Any:
    """An Optuna storage at a URL; Optuna would add its tables to any database, also to the service's own."""
    import sqlalchemy

    try:
        engine = sqlalchemy.create_engine(url)
        try:
            tables = set(sqlalchemy.inspect(engine).get_table_names())
        finally:
            engine.dispose()
    except (sqlalchemy.exc.SQLAlchemyError, ModuleNotFoundError) as error:
        mend = f"it cannot be opened ({str(error).splitlines()[0]}); give a URL such as sqlite:///study.db"
        raise InvalidInput("optuna_url", _shown(url), mend) from error
    if tables and "studies" not in tables:
        mend = "the database holds another program's tables; name one of its own, such as sqlite:///study.db"
        raise InvalidInput("optuna_url", _shown(url), mend)
    return library.storages.RDBStorage(url)


def _shown(url: str) -> str:
    """The URL without its password."""
    import sqlalchemy

    try:
        return sqlalchemy.make_url(url).render_as_string()
    except sqlalchemy.exc.ArgumentError:
        return url


@contextmanager
def _quiet(library: Any) -> Iterator[None]:
    """Optuna tells of every study that it makes; whoever asked for one knows."""
    level = library.logging.get_verbosity()
    library.logging.set_verbosity(library.logging.WARNING)
    try:
        yield
    finally:
        library.logging.set_verbosity(level)
