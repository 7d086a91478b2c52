"""The same trials without this project's engines: a plain Optuna script, and a plain Ray Tune script.

python bench/engines_plain.py optuna|ray WORK FOLDER

Each is what its documentation shows: Optuna's processes share an RDBStorage; Ray Tune has OptunaSearch and ASHA. They
ask TPE for every trial, with the parameters of the same space, and report every epoch. They train what our engine
proposed rather than their own proposal, so that all train the same networks. They keep no checkpoints and no history
of epochs beyond what their libraries do. ASHA is asked at every report, and stops nobody before the last epoch.
"""

import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import torch
from engines_work import Work, train

from nas.data.images import ImageSet
from nas.space import Candidate
from nas.spec import JobSpec
from nas.train.checkpoint import Checkpoint
from nas.train.epoch import EpochResult


def run_optuna(work: Work, folder: Path) -> None:
    """One of the processes."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    spec, data = JobSpec.model_validate(work.spec), ImageSet.load(Path(work.data))
    parameters = spec.space.base().distributions()
    study = optuna.create_study(
        storage=optuna.storages.RDBStorage(f"sqlite:///{folder / 'optuna.db'}"),
        study_name="bench",
        direction="maximize",
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(),
        pruner=optuna.pruners.NopPruner(),
    )

    def objective(trial: optuna.Trial) -> float:
        score = 0.0
        for name, found in parameters.items():
            trial.suggest_categorical(name, found.choices)  # type: ignore[union-attr]

        def on_epoch(result: EpochResult, take: Callable[[], Checkpoint]) -> bool:
            nonlocal score
            score = result.validation_accuracy
            trial.report(score, result.epoch)
            return not trial.should_prune()

        train(spec, data, _next(work, folder), on_epoch)
        return score

    study.optimize(objective, callbacks=[optuna.study.MaxTrialsCallback(work.trials)])


def run_ray(work: Work, folder: Path) -> None:
    """The driver."""
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    spec = JobSpec.model_validate(work.spec)
    ray.init(num_cpus=work.processes, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    given = tune.with_parameters(_ray_trial, data=ImageSet.load(Path(work.data)), work=work, folder=folder)
    tuner = tune.Tuner(
        tune.with_resources(given, {"cpu": 1}),
        param_space={
            name: tune.choice(list(found.choices))  # type: ignore[union-attr]
            for name, found in spec.space.base().distributions().items()
        },
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            search_alg=OptunaSearch(),
            scheduler=ASHAScheduler(max_t=spec.budget.epochs, grace_period=spec.budget.epochs),
            num_samples=work.trials,
            max_concurrent_trials=work.processes,
        ),
        run_config=tune.RunConfig(storage_path=str(folder / "ray"), verbose=0),
    )
    found = tuner.fit()
    ray.shutdown()
    if found.errors:
        raise RuntimeError(f"{found.num_errors} trials failed: {found.errors[0]}")


def _ray_trial(config: dict[str, Any], data: ImageSet, work: Work, folder: Path) -> None:
    from ray import tune

    torch.set_num_threads(1)

    def on_epoch(result: EpochResult, take: Callable[[], Checkpoint]) -> bool:
        tune.report({"score": result.validation_accuracy})
        return True

    train(JobSpec.model_validate(work.spec), data, _next(work, folder), on_epoch)


def _next(work: Work, folder: Path) -> Candidate:
    """The next candidate of the list, of which each is taken once by any process; it begins again when it ends."""
    for number in count():
        try:
            (folder / f"taken-{number}").touch(exist_ok=False)
        except FileExistsError:
            continue
        shape = JobSpec.model_validate(work.spec).space.shape()
        return Candidate.from_json(work.candidates[number % len(work.candidates)], shape)
    raise AssertionError


if __name__ == "__main__":
    system, path, into = sys.argv[1:]
    {"optuna": run_optuna, "ray": run_ray}[system](Work.from_json(Path(path).read_text()), Path(into))
