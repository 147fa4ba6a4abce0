"""Five members with their own files, two months: each predicts alone, and goes on from its own."""

import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import msgpack
import pandas as pd
import pytest

from securefl.audit.export import audit_run
from securefl.config.load import load_config, merge
from securefl.consortium.agreement.storage import read_signed
from securefl.errors import AgreementError, InputError
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.prepare import prepare
from securefl.federation.runs.released import released_signers
from securefl.federation.services.facts_file import open_facts
from securefl.federation.services.member import MemberPaths, serve
from securefl.ml.metrics.sums import total
from securefl.ml.parameters import load_local, load_shared
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.served.model import open_model
from securefl.tasks.served.starting import own_start, started_from
from support.consortium_processes import found, life_of_coordinator, open_broker
from support.nats_cluster import PROCESSES, begin_process, start_processes
from support.small_runs import purchases_in

NAMES = ("north", "south", "west", "east", "centre")


def consortium_files(folder):
    """Each member's own folder, with the catalogue and its sales; the common configuration."""
    folder.mkdir()
    tree = purchases_in(folder)
    lines = pd.read_csv(folder / "north.csv")
    lines.assign(product=139 - lines["product"] % 40).to_csv(folder / "centre.csv", index=False)
    tree["data"]["members"].append({"name": "centre", "transactions": "centre.csv"})
    for name in NAMES:
        (folder / name).mkdir()
    share_out(folder)
    return merge(tree, {"rounds": 1, "mode": "secure", "model": {"dim": 4}})


def share_out(folder):
    """Give each member the catalogue and its own sales."""
    for name in NAMES:
        for file in ("catalogue.csv", f"{name}.csv"):
            (folder / name / file).write_bytes((folder / file).read_bytes())


def life(village, name, files, earlier):
    begin_process(village.folder, name)
    serve(village.context(name), paths(village, name, files, earlier))


def paths(village, name, files, earlier):
    own = village.folder / name
    return MemberPaths(own / "state", village.folder.parent / "books" / name, None, files, earlier)


def over_network(village, files, earlier):
    """A process for each member, which has its own folder alone, and one for the coordinator."""
    start_processes()
    with ExitStack() as stack:
        stack.enter_context(open_broker(village))
        lives = [(life, (village, n, files / n, earlier.get(n))) for n in village.names]
        for target, details in (*lives, (life_of_coordinator, (village,))):
            process = PROCESSES.Process(target=target, args=details, daemon=True)
            process.start()
            stack.callback(ended, process)
        process.join(240)
        assert process.exitcode == 0, (village.folder / "hub.log").read_text()[-2000:]
    return village.folder / "run"


def ended(process):
    """Wait for a party; one that does not come to an end is ended."""
    process.join(60)
    process.kill()


def held(village):
    """Each member's own model."""
    places = {name: (village.folder / name / "state").glob("*/model") for name in village.names}
    return {name: next(found) for name, found in places.items()}


def predicted(model, files, out):
    """`securefl predict` in another process."""
    script = "import sys; from securefl_cli.main import main; sys.exit(main(sys.argv[1:]))"
    words = ["predict", model, "--data", files, "--out", out, "--quiet"]
    command = [sys.executable, "-c", script, *map(str, words)]
    subprocess.run(command, check=True, cwd=out.parent)
    return pd.read_csv(out)


@pytest.fixture(scope="module")
def months(tmp_path_factory):
    """Two months over the network; the second goes on from the first."""
    folder = tmp_path_factory.mktemp("months")
    tree = consortium_files(folder / "files")
    first = found(folder / "first", load_config(None, tree), NAMES)
    over_network(first, folder / "files", {})
    table = pd.read_csv(folder / "files" / "catalogue.csv")
    table.iloc[::-1].to_csv(folder / "files" / "catalogue.csv", index=False)
    share_out(folder / "files")
    own = held(first)
    config = started_from(load_config(None, tree), own["north"])
    second = found(folder / "second", config, NAMES)
    over_network(second, folder / "files", own)
    return first, second, folder / "files", own


@pytest.mark.slow
def test_every_member_predicts_alone(months, tmp_path):
    """From its own folder and files, in another process, with no other party alive."""
    first, _, files, _ = months
    for name, model in held(first).items():
        lists = predicted(model, files / name, tmp_path / f"{name}.csv")
        wanted = open_model(model, files / name)
        assert wanted.manifest.member == name
        assert lists["customer"].nunique() > 10
        assert lists["product"].tolist() == wanted.recommend()["product"].astype(int).tolist()


@pytest.mark.slow
def test_the_released_folder_is_each_members(months, tmp_path):
    """With labels and its signature; the coordinator, which has no labels, has all signatures."""
    first, _, files, _ = months
    signed = read_signed(first.agreement)
    for name, model in held(first).items():
        released = tmp_path / name
        shutil.copytree(model.with_name("released"), released)
        assert released_signers(released, signed) == (name,)
        given = open_model(released, purchases_of(files / "south" / "south.csv"))
        assert given.recommend(k=3)["basis"].eq("history").all()
        shutil.copy(first.folder / "run" / "released" / "signatures.json", released)
        assert set(released_signers(released, signed)) == set(NAMES)
    with pytest.raises(InputError, match="of a coordinator"):
        open_model(first.folder / "run" / "released", pd.DataFrame())


def purchases_of(path):
    return pd.read_csv(path)[["customer", "product", "time", "basket"]]


@pytest.mark.slow
def test_the_second_month_goes_on_from_the_first(months):
    """As on one machine: the start, and what each member says of the earlier model."""
    _, second, _, _ = months
    alike = prepare(second.config)
    directory = RunDirectory.open(second.folder / "run")
    assert directory.start_path.read_bytes() == alike.shared.tobytes()
    assert directory.config.start.model == second.config.start.model
    assert directory.config.warm_start is None
    assert audit_run(second.folder / "run").verdict != "fail"
    for name, model in held(second).items():
        figures = pd.read_json(model.with_name("figures.json"))
        assert {"earlier", "federated", "naive"} <= set(figures.columns)
        if name != "north":
            continue
        problem = LocalProblem(alike.config, alike.task, alike.facts, alike.members[0])
        start = problem.fresh_model("init")
        load_local(start, own_start(problem, start, alike.vocabulary).local)
        load_shared(start, alike.shared)
        wanted = total(problem.score(start, "test").values()).values()
        assert figures["earlier"].to_dict() == pytest.approx(wanted, rel=1e-9, nan_ok=True)


@pytest.mark.slow
def test_no_member_takes_anothers_word_for_the_start(months, tmp_path):
    """Without its own copy, with another one, or with other facts, it never says a word."""
    _, second, files, own = months
    fresh = type(second)(second.folder, second.config, second.names, second.port)
    cases = [
        (None, InputError, "say where it is with --from"),
        (held(second)["north"], InputError, "not the model that the members agreed"),
    ]
    for earlier, error, text in cases:
        member = paths(fresh, "north", files / "north", earlier)
        with pytest.raises(error, match=text):
            serve(fresh.context("north"), _elsewhere(member, tmp_path))
    tree = msgpack.unpackb(second.facts.read_bytes())
    tree["start"] = bytes(len(tree["start"]))
    second.facts.write_bytes(msgpack.packb(tree))
    assert open_facts(second.facts).start == tree["start"]
    member = paths(second, "north", files / "north", own["north"])
    with pytest.raises(AgreementError, match=r"facts"):
        serve(second.context("north"), _elsewhere(member, tmp_path))


def _elsewhere(member: MemberPaths, folder: Path) -> MemberPaths:
    return MemberPaths(folder / "state", folder / "books", None, member.data, member.earlier)
