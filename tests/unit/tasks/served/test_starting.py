"""A run goes on from last month's model: found by label, verified by digest, own rows alone."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from securefl.config.load import load_config, merge
from securefl.errors import InputError
from securefl.federation.runs.prepare import prepare
from securefl.ml.parameters import local_state, shared_vector
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.served.manifest import MANIFEST
from securefl.tasks.served.opening import read_parts, start_digest
from securefl.tasks.served.starting import own_start, started_from
from securefl.tasks.served.writing import Provenance, TakenAlong, write_released_model
from support.carried import LISTS, OTHERS
from support.golden_runs import COMMON, LOCAL

GO_ON = [*LISTS, *OTHERS, "pricing", "inventory", "transfer", "sequential"]
ANEW = {"ease", "pricing"}
QUICK = {"recommendation", "demand"}


def slow(names):
    """Tasks whose models take longer to make."""
    return [pytest.param(name, marks=pytest.mark.slow) for name in sorted(names)]


@pytest.mark.parametrize("name", [*sorted(QUICK), *slow({*GO_ON} - ANEW - QUICK)])
def test_the_same_month_starts_where_it_ended(name, held):
    """Of every task: to the last bit, where nothing changed."""
    found = held(name)
    again = started_from(found.prepared.config, found.folder)
    assert prepare(again).shared.tobytes() == shared_vector(found.model).tobytes()


@pytest.mark.parametrize("name", slow(ANEW))
def test_sums_of_one_month_are_not_carried(name, held):
    found = held(name)
    with pytest.raises(InputError, match="computed from the data of one run alone"):
        prepare(started_from(found.prepared.config, found.folder))


def test_own_rows_come_from_the_own_folder(held):
    """Each customer keeps their vector; another retailer's folder is not read."""
    found = held("recommendation")
    config = started_from(found.prepared.config, found.folder)
    words, task = found.prepared.vocabulary, found.prepared.task
    for place, member in enumerate(found.prepared.members):
        problem = LocalProblem(config, task, found.prepared.facts, member)
        fresh = problem.fresh_model("init")
        own = own_start(problem, fresh, words)
        if place:
            assert own is None
            continue
        wanted = local_state(found.model)
        assert all(torch.equal(own.local[name], value) for name, value in wanted.items())


def test_under_a_budget_nothing_own_is_carried(held):
    """Every customer's gradient would depend on all others through what was learned in clear."""
    found = held("ncf-private")
    config = started_from(found.prepared.config, found.folder)
    problem = LocalProblem(config, found.prepared.task, found.prepared.facts, found.problem.data)
    assert own_start(problem, problem.fresh_model("init"), found.prepared.vocabulary) is None


def next_month(folder, tree, **changes):
    """Reorder the catalogue; `p-103` and `p-104` are gone, and `p-new` is new in category 1."""
    table = pd.read_csv(folder / "catalogue.csv")
    table = table[~table["product"].isin(["p-103", "p-104"])].iloc[::-1]
    extra = pd.DataFrame(
        {"product": ["p-new"], "department": ["department 1"], "category": ["category 1"]}
    )
    pd.concat([extra, table]).to_csv(folder / "catalogue.csv", index=False)
    return load_config(None, merge(merge(COMMON, tree), changes))


@pytest.fixture(scope="module")
def months(shop, tmp_path_factory):
    """A model, and the files of the month after it."""
    folder = tmp_path_factory.mktemp("after")
    for path in shop.folder.parent.glob("*.csv"):
        shutil.copy(path, folder)
    tree = shop.prepared.config.model_dump(mode="json", exclude_none=True)
    return shop, next_month(folder, merge(tree, {"data": {"root": str(folder)}}))


def parameters(prepared, shared):
    from securefl.ml.parameters import named_shared

    return named_shared(prepared.task.model(prepared.facts, 0), shared)


def test_rows_follow_products_through_the_catalogue(months):
    """What has a new number keeps its row; a new product starts from its category's mean."""
    before, config = months
    after = prepare(started_from(config, before.folder))
    old = parameters(before.prepared, shared_vector(before.model))["bias"]
    new = parameters(after, after.shared)["bias"]
    label = before.prepared.vocabulary.label(before.prepared.facts.products).tolist()
    now = after.vocabulary.label(after.facts.products).tolist()
    assert now != [one for one in label if one in now]  # another order
    for one in set(label) & set(now):
        assert new[now.index(one)] == old[label.index(one)]
    kin = [f"p-{n}" for n in range(100, 140) if (n - 100) % 8 == 1]
    mean = np.mean([old[label.index(one)].item() for one in kin if one in now])
    if "p-new" in now:  # nobody has bought it yet
        assert new[now.index("p-new")].item() == pytest.approx(mean, rel=1e-6)
    change = after.earlier.change()
    assert (change.removed, change.kept) == (len(set(label) - set(now)), False)
    assert change.removed == 2


@pytest.mark.slow
def test_a_removed_product_that_comes_back(months, tmp_path):
    """Kept rows wait in the released model too, and are dropped unless the members agree."""
    before, config = months
    rows = {}
    for removed in ("drop", "keep"):
        tree = config.model_dump(mode="json", exclude_none=True)
        chosen = load_config(None, merge(tree, {"start": {"removed": removed}}))
        between = prepare(started_from(chosen, before.folder))
        write_released_model(
            tmp_path / removed,
            between.config,
            between.facts,
            between.shared,
            vocabulary=between.vocabulary,
            provenance=Provenance(("north",), "AAAA BBBB", bytes(32), "none."),
            along=TakenAlong(between.earlier.keeps()),
        )
        again = prepare(started_from(before.prepared.config, tmp_path / removed))
        at = again.vocabulary.label(again.facts.products).tolist().index("p-103")
        rows[removed] = parameters(again, again.shared)["products.own.weight"][at]
    label = before.prepared.vocabulary.label(before.prepared.facts.products).tolist()
    own = parameters(before.prepared, shared_vector(before.model))["products.own.weight"]
    assert torch.equal(rows["keep"], own[label.index("p-103")])
    assert not torch.equal(rows["drop"], own[label.index("p-103")])


def test_another_model_than_agreed_is_refused(held, tmp_path):
    """Whatever the folder says of itself: the digest covers what a start is computed from."""
    found = held("recommendation")
    config = started_from(found.prepared.config, found.folder)
    other = held("profile")
    with pytest.raises(InputError, match="not the model that the members agreed"):
        prepare(config.model_copy(update={"warm_start": str(other.folder)}))
    shutil.copytree(found.folder, tmp_path / "copy")
    manifest = tmp_path / "copy" / MANIFEST
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"run": "11" * 32}))
    with pytest.raises(InputError, match="not the model that the members agreed"):
        prepare(config.model_copy(update={"warm_start": str(tmp_path / "copy")}))
    with pytest.raises(InputError, match="--from"):
        prepare(config.model_copy(update={"warm_start": None}))


def test_a_start_of_another_kind_is_refused(held):
    """Another task or model, and a model without a budget under one."""
    plain, private = held("recommendation"), held("ncf-private")
    with pytest.raises(InputError, match="of task 'recommendation' and model 'mf'"):
        prepare(started_from(private.prepared.config, plain.folder))
    tree = private.prepared.config.model_dump(mode="json", exclude_none=True)
    open_run = load_config(None, tree | {"privacy": {"dp": "none"}})
    prepare(started_from(open_run, private.folder))
    model = merge(
        plain.prepared.config.model_dump(mode="json", exclude_none=True), {"privacy": LOCAL}
    )
    with pytest.raises(InputError, match="without a budget"):
        prepare(started_from(load_config(None, model), plain.folder))


def test_places_that_are_no_start_are_refused(held, tmp_path):
    config = held("recommendation").prepared.config
    for place in (tmp_path, tmp_path / "nowhere", held("recommendation").folder / MANIFEST):
        with pytest.raises(InputError, match=r"no run|no folder of a model"):
            started_from(config, place)


def test_the_digest_is_the_same_in_every_folder(shop, tmp_path):
    """A member's own model and the released one are the same start."""
    write_released_model(
        tmp_path / "released",
        shop.prepared.config,
        shop.prepared.facts,
        shared_vector(shop.model),
        vocabulary=shop.prepared.vocabulary,
        provenance=Provenance(("north",), "AAAA BBBB", bytes(32), "another sentence."),
    )
    found = start_digest(read_parts(tmp_path / "released"))
    assert found == start_digest(read_parts(shop.folder))
