import json
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from nas.search.catalog import STRATEGIES, make_strategy
from nas.search.evolution import Evolution
from nas.search.local_search import LocalSearch
from nas.search.prepared import Prepared
from nas.space import Candidate, CategoricalSpace, CellSpace, FixedSpace, Integer, JointSpace, Real, Space, known
from tests.search.histories import completed, draw

CELLS = CellSpace(("skip_connect", "sep_conv_3x3"), nodes=4)
FIXED = FixedSpace(Candidate(known("DARTS_V2")))
SUPERNETS = ("darts", "pc_darts", "gdas", "random_ws")


def test_the_default_comes_first_and_all_families_are_there() -> None:
    assert next(iter(STRATEGIES)) == "auto"
    others = {"random", "grid", "tpe", "gp", "nsga2", "nsga3", "cmaes", "evolution", "local_search"}
    assert STRATEGIES.keys() == {"auto", *others, *SUPERNETS}


def test_reading_the_table_imports_no_heavy_library() -> None:
    heavy = ("torch", "optuna", "sklearn", "scipy", "cmaes")
    code = f"import sys, nas.search.catalog; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", STRATEGIES)
def test_each_strategy_says_what_it_does_where_it_comes_from_and_what_its_options_are(name: str) -> None:
    entry = STRATEGIES[name]
    assert len(entry.summary) > 20
    assert entry.source
    entry.options.model_validate({})
    schema = json.loads(json.dumps(entry.options.model_json_schema()))
    for option in schema.get("properties", {}).values():
        assert option["description"]
        assert "default" in option


def test_what_is_prepared_is_said() -> None:
    prepared = {name: entry.prepares for name, entry in STRATEGIES.items() if entry.prepares}
    assert prepared == {"auto": "screening"} | dict.fromkeys(SUPERNETS, "supernet")


@pytest.mark.parametrize(
    ("name", "options", "kind"),
    [
        ("evolution", {"population": 7, "tournament": 3}, Evolution),
        ("local_search", {"startup": 4}, LocalSearch),
        *((name, {"epochs": 3}, Prepared) for name in SUPERNETS),
    ],
)
def test_a_strategy_is_made_with_its_options(name: str, options: dict[str, Any], kind: type[Any]) -> None:
    assert isinstance(make_strategy(name, options), kind)


@pytest.mark.parametrize(
    ("name", "option", "at"),
    [
        ("evolution", "population", 7),
        ("local_search", "startup", 4),
        ("tpe", "startup", 6),
        ("gp", "startup", 6),
        ("nsga2", "population", 5),
        ("nsga3", "population", 5),
        ("cmaes", "startup", 6),
    ],
)
def test_a_strategy_is_random_for_as_long_as_its_option_says(name: str, option: str, at: int) -> None:
    """So the option has reached it."""
    space = JointSpace(CELLS, (("space.channels", Integer(4, 64)), ("recipe.lr", Real(0.1, 1.0))))
    history = completed(draw(space, at))

    def proposals(count: int) -> list[Candidate]:
        return [make_strategy(name, {option: at}).propose(space, history[:count], seed) for seed in range(3)]

    assert proposals(at - 1) == proposals(0) != proposals(at)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("evolution", {"population": 1}),
        ("tpe", {"startup": "10"}),
        ("random", {"seed": 1}),
        ("darts", {"order": "3rd"}),
    ],
)
def test_impossible_options_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        make_strategy(name, options)


def test_another_name_is_no_strategy() -> None:
    with pytest.raises(KeyError):
        make_strategy("bogo")


def refusing(space: Space[Any]) -> set[str]:
    return {name for name, entry in STRATEGIES.items() if entry.refuses(space) is not None}


def test_strategies_refuse_spaces_that_they_cannot_search() -> None:
    assert refusing(CELLS) == {"grid", "cmaes"}
    assert refusing(CellSpace(("skip_connect", "sep_conv_3x3"), nodes=1)) == {"cmaes"}
    assert refusing(CategoricalSpace({"op": ("a", "b")})) == {"cmaes", *SUPERNETS}
    one = JointSpace(FIXED, (("recipe.lr", Real(0.1, 1.0)), ("space.channels", Integer(8, 8))))
    assert refusing(one) == {"grid", "cmaes", *SUPERNETS}
    two = JointSpace(FIXED, (("recipe.randaugment", Integer(0, 3)), ("space.channels", Integer(8, 9))))
    assert refusing(two) == set(SUPERNETS)


def test_a_refusal_says_how_to_mend_it() -> None:
    assert STRATEGIES["cmaes"].refuses(CELLS) == (
        "CMA-ES adapts the distribution of two or more numbers: "
        'open some as {"low": …, "high": …}, or take another strategy'
    )
