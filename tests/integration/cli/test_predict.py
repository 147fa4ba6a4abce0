"""A run leaves a model for each member, and the command line uses it in another process."""

import hashlib
import json
import re
import shutil
import socket
import stat
import subprocess
import sys

import pandas as pd
import pytest
import tomli_w

from securefl.consortium.agreement.key_changes import Rotation, SignedStatement, sign_statement
from securefl.consortium.agreement.signatures import from_json, standing
from securefl.consortium.keys.key_files import read_key
from securefl.consortium.keys.parties import key_bundle_of
from securefl.errors import InputError
from securefl.federation.runs.agreement import KEY
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.released import released_signers
from securefl.federation.runs.run import run
from securefl.tasks.served.model import open_model
from securefl_protocols.primitives.signing import SigningKey


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of two rounds over four members' own files."""
    from securefl.config.load import load_config
    from support.small_runs import purchases_in

    folder = tmp_path_factory.mktemp("finished")
    tree = purchases_in(folder) | {"rounds": 2}
    (folder / "own.toml").write_text(tomli_w.dumps(tree))
    directory = RunDirectory.create(folder / "run", load_config(folder / "own.toml"))
    return folder, run(directory)


@pytest.fixture
def model(finished):
    return finished[0] / "run" / "members" / "north" / "model"


def test_every_member_holds_its_figures(finished):
    folder, result = finished
    for member in result.members:
        found = open_model(folder / "run" / "members" / member.name / "model")
        assert found.evaluate() == member.metrics["federated"] == found.metrics
        assert stat.S_IMODE(found.opened.folder.stat().st_mode) == 0o700


def test_another_process_predicts_without_any_other_party(finished, model, tmp_path):
    """From a copy of the member's folder and its own files, and with nothing of the run."""
    for name in ("north.csv", "catalogue.csv"):
        shutil.copy(finished[0] / name, tmp_path)
    shutil.copytree(model, tmp_path / "model")
    script = "import sys; from securefl_cli.main import main; sys.exit(main(sys.argv[1:]))"
    words = ("predict", "model", "--data", ".", "--out", "lists.csv", "--quiet")
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    wanted = open_model(model).recommend()
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "lists.csv"), wanted.astype({"product": int})
    )


def test_a_bad_line_ends_no_prediction(cli, finished, model, tmp_path):
    """It is left out, counted and said with its reason; a run refuses it, as it did before."""
    for name in ("north.csv", "catalogue.csv"):
        shutil.copy(finished[0] / name, tmp_path)
    wanted = open_model(model, tmp_path).recommend()
    with (tmp_path / "north.csv").open("a") as file:
        file.write("5,101,2026-03-99,1,2.5,900\n5,101,2026-03-01,<b>,2.5,900\n5,101\n")
    found = cli("predict", model, "--data", tmp_path, "--out", tmp_path / "lists.csv")
    assert found.code == 0
    said = " ".join(found.err.split())
    assert "row 961, column 'time': '2026-03-99' is not a date or time" in said
    assert "column 'quantity': '<b>' is not a number" in said
    assert "too few" in said or "cannot be read" in said
    lists = pd.read_csv(tmp_path / "lists.csv")
    pd.testing.assert_frame_equal(lists, wanted.astype({"product": int}))


def test_each_format_holds_the_same_rows(cli, model, tmp_path):
    for suffix in ("csv", "parquet", "jsonl"):
        out = tmp_path / f"lists.{suffix}"
        found = cli("predict", model, "--out", out, "--k", 3, "--format", "json").json
        assert (found["rows"], found["member"], found["task"]) == (72, "north", "recommendation")
    csv = pd.read_csv(tmp_path / "lists.csv", dtype={"product": str})
    rows = pd.read_json(tmp_path / "lists.jsonl", lines=True, dtype={"product": str})
    for other in (pd.read_parquet(tmp_path / "lists.parquet"), rows):
        pd.testing.assert_frame_equal(other, csv, check_dtype=False, rtol=1e-12)
    assert not [one for one in tmp_path.iterdir() if one.name.startswith(".")]


def test_the_first_rows_are_shown_without_a_file(cli, model):
    found = cli("predict", model, "--k", 4)
    assert found.out.startswith("customer,rank,product,score,basis\n0,1,")
    assert found.out.count("\n") == 11
    assert "These are the first rows" in found.err
    rows = cli("predict", model, "--format", "json").json["rows"]
    assert len(rows) == 10
    assert rows[0]["rank"] == 1


def test_lists_of_files_of_labels(cli, model, tmp_path):
    (tmp_path / "customers.txt").write_text("3\n\nnew\n")
    (tmp_path / "products.txt").write_text("101\n102\n103\n104\n105\n")
    out = tmp_path / "few.csv"
    options = ("--customers", tmp_path / "customers.txt", "--candidates", tmp_path / "products.txt")
    limits = ("--without-department", "department 1", "--keep-bought", "--k", 2)
    assert cli("predict", model, *options, *limits, "--out", out).code == 0
    found = pd.read_csv(out)
    assert found["customer"].tolist() == ["3", "3", "new", "new"]
    assert found["basis"].tolist() == ["known", "known", "popular", "popular"]
    assert set(found["product"]) <= {101, 102, 103, 104, 105}


def test_labels_that_nobody_knows_are_said(cli, model, tmp_path):
    """Their lists are the popular products; of none of a file, the file is the wrong one."""
    strangers = [f"new {one}" for one in range(7)]
    (tmp_path / "customers.txt").write_text("\n".join(["3", *strangers]))
    (tmp_path / "products.txt").write_text("101\n102\n9999\n")
    options = ("--customers", "customers.txt", "--candidates", "products.txt", "--k", 1)
    for place in ((), ("--out", "few.csv")):
        found = cli("predict", model, *options, *place, "--format", "json", "--quiet")
        told = " ".join(found.err.split())
        assert (
            f"7 of 8 customers in customers.txt are unknown: {', '.join(strangers[:5])}, ..."
            in told
        )
        assert "1 of 3 products in products.txt are unknown: 9999" in told
        assert found.json["unknown_customers"] == strangers
        assert found.json["unknown_candidates"] == ["9999"]
    (tmp_path / "customers.txt").write_text("\n".join(strangers[:2]))
    refused = cli("predict", model, "--customers", "customers.txt", "--out", "none.csv", "--quiet")
    assert refused.refused("2 of 2 customers in customers.txt are unknown: new 0, new 1")
    assert not (tmp_path / "none.csv").exists()


def test_what_is_next_is_of_the_same_kind_of_run(cli, finished, model, tmp_path):
    """A run on one machine has no facts to exchange; a member's folder elsewhere has."""
    said = cli("predict", model, "--out", "here.csv").out
    assert f"securefl run CONFIG.toml --from {finished[0] / 'run'}" in said
    assert "securefl facts" not in said
    shutil.copytree(model, tmp_path / "state" / "ab" / "model")
    said = cli("predict", tmp_path / "state" / "ab" / "model", "--out", "there.csv").out
    assert "securefl facts CONFIG.toml --from" in said


def test_what_exists_is_not_overwritten(cli, model, tmp_path):
    (tmp_path / "kept.csv").write_text("mine")
    (tmp_path / "link.csv").symlink_to(tmp_path / "nowhere")
    for name in ("kept.csv", "link.csv"):
        assert cli("predict", model, "--out", tmp_path / name).refused(
            "exists; nothing was written"
        )
    assert (tmp_path / "kept.csv").read_text() == "mine"
    assert cli("predict", model, "--out", tmp_path / "x.xlsx").refused("neither .csv, .parquet nor")
    assert cli("predict", model, "--out", tmp_path / "a" / "x.csv").refused("cannot write")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--k", "41"), "k is 41, but only 1 to 40 products can be listed"),
        (("--horizon", "2"), "horizon: not for a model of task 'recommendation'"),
        (("--department", "fish"), "no product is of department 'fish'"),
        (("--as-of", "soon"), "'soon' is no date"),
        (("--data", "nowhere.toml"), "nowhere.toml"),
        (("--customers", "nowhere.txt"), "nowhere.txt does not exist"),
    ],
)
def test_wrong_options_are_one_line(words, line, cli, model, here):
    assert cli("predict", model, *words, "--out", "out.csv").refused(line)
    assert not [one for one in here.iterdir() if "out" in one.name]


def test_a_model_of_another_agreement_is_refused(cli, finished, model, tmp_path):
    agreement = finished[0] / "run" / "agreement.json"
    assert cli("predict", model, "--agreement", agreement).code == 0
    manifest = json.loads((model / "model.json").read_bytes()) | {"agreement": "AAAA"}
    shutil.copytree(model, tmp_path / "other")
    (tmp_path / "other" / "model.json").write_text(json.dumps(manifest))
    assert cli("predict", tmp_path / "other", "--agreement", agreement).refused("another agreement")


def test_the_released_model_can_be_given_away(cli, finished, tmp_path):
    """It holds nothing of one retailer, and who signed it shows from the agreement alone."""
    released = finished[0] / "run" / "released"
    names = {one.name for one in released.iterdir()}
    assert "signatures.json" in names
    assert not {"own.safetensors", "own.json", "customers.key"} & names
    content = b"".join(one.read_bytes() for one in released.iterdir())
    assert str(finished[0]).encode() not in content
    assert b"north.csv" not in content
    agreement = finished[0] / "run" / "agreement.json"
    found = cli("audit", "released", released, "--agreement", agreement)
    assert (found.code, found.out) == (0, "Signed by north, south, west, east.\n")
    assert cli("predict", released).refused("is the released shared model alone")
    bundle = tmp_path / "bundle.json"
    cli("audit", "export", finished[0] / "run", "--out", bundle)
    checked = cli(
        "audit", "verify", bundle, "--model", released / "shared.safetensors", "--format", "json"
    )
    verdicts = {one["name"]: one["verdict"] for one in checked.json["checks"]}
    assert verdicts["model-given"] == "pass"


def test_a_released_model_that_was_changed_has_no_signer(cli, finished, tmp_path):
    agreement = finished[0] / "run" / "agreement.json"
    signed = from_json(json.loads(agreement.read_bytes()), "agreement")
    copy = tmp_path / "copy"
    shutil.copytree(finished[0] / "run" / "released", copy)
    entries = json.loads((copy / "signatures.json").read_bytes())
    entries[0]["entry"]["event"]["model_after"] = "0" * 64
    del entries[1]
    (copy / "signatures.json").write_text(json.dumps(entries))
    assert released_signers(copy, signed) == ("west", "east")
    found = cli("audit", "released", copy, "--agreement", agreement, "--format", "json")
    assert (found.code, found.json) == (
        1,
        {"signed": ["west", "east"], "missing": ["north", "south"], "needed": 3},
    )
    content = bytearray((copy / "shared.safetensors").read_bytes())
    content[-1] ^= 1
    (copy / "shared.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="is damaged"):
        released_signers(copy, signed)


@pytest.fixture
def given_away(finished, tmp_path):
    """A copy of the released folder, the agreement that signed it, and the members' keys."""
    run_folder = finished[0] / "run"
    copy = tmp_path / "copy"
    shutil.copytree(run_folder / "released", copy)
    tree = json.loads((run_folder / "agreement.json").read_bytes())
    keys = {name: read_key(run_folder / "members" / name / KEY) for name in ("north", "west")}
    return copy, from_json(tree, "agreement"), keys


def test_one_members_word_is_no_released_model(cli, finished, given_away):
    """Who took part is the word of whoever made the folder; how many have to sign is agreed."""
    copy, _, _ = given_away
    manifest = json.loads((copy / "model.json").read_bytes()) | {"members": ["north"]}
    (copy / "model.json").write_text(json.dumps(manifest))
    entries = json.loads((copy / "signatures.json").read_bytes())
    own = [one for one in entries if one["entry"]["member"] == "north"]
    (copy / "signatures.json").write_text(json.dumps(own))
    found = cli("audit", "released", copy, "--agreement", finished[0] / "run" / "agreement.json")
    assert found.code == 1
    assert "Too few: 3 have to sign" in found.out


def test_a_released_model_of_other_tensors_has_no_signer(given_away):
    """The values are the same, and so is every digest that the folder states of itself."""
    copy, signed, _ = given_away
    path, manifest = copy / "shared.safetensors", json.loads((copy / "model.json").read_bytes())
    content = path.read_bytes()
    names = [name for name in json.loads(content[8 : content.index(b"}}") + 2]) if name[0] != "_"]
    other = names[0][:-1] + ("x" if names[0][-1] != "x" else "y")
    path.write_bytes(content.replace(names[0].encode(), other.encode()))
    manifest["files"]["shared.safetensors"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (copy / "model.json").write_text(json.dumps(manifest))
    assert released_signers(copy, signed) == ()


def test_a_rotated_key_leaves_a_released_model_signed(given_away):
    copy, signed, keys = given_away
    card = key_bundle_of("west", SigningKey(bytes([77] * 32)))
    statement = Rotation(previous=standing(signed).digest.hex(), card=card)
    told = {"west": sign_statement(statement, keys["west"])}
    later = SignedStatement(statement=statement, signatures=told)
    now = signed.model_copy(update={"statements": (later,)})
    assert released_signers(copy, now) == released_signers(copy, signed)
    assert "west" in released_signers(copy, now)


def test_an_export_is_written_once(cli, model, tmp_path):
    found = cli("export", model, "--format", "torch", "--out", tmp_path / "exported")
    assert found.code == 0
    assert float(re.search(r"by (\S+) at most", " ".join(found.out.split()))[1]) < 1e-6
    again = cli("export", model, "--format", "torch", "--out", tmp_path / "exported")
    assert again.refused("exported exists; nothing was written")
    vectors = cli("export", model, "--format", "vectors", "--out", tmp_path / "vectors.npz")
    assert vectors.out.startswith("40 products and 24 customers written to")


def test_a_missing_extra_is_one_line(cli, model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert cli("export", model, "--out", tmp_path / "x").refused("needs the extra: pip install")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert cli("serve", model).refused("needs the extra: pip install 'securefl[serve]'")


def test_a_members_own_page(cli, finished, model):
    """From its folder or its model; the run's page says nothing of customers."""
    assert cli("report", model.parent).out.strip() == str(model.parent / "report.html")
    assert "own data" in (model.parent / "report.html").read_text(encoding="utf-8")
    assert cli("report", model, "--beside", finished[0] / "run").refused("--beside compares runs")
    run = finished[0] / "run"
    assert cli("report", run, "--data", finished[0]).refused("--data is for a member's model")
    assert cli("report", run / "released").refused("is the released shared model alone")


def test_a_folder_around_a_model_is_named(cli, finished, model):
    assert cli("predict", model.parent).refused("did you mean")
    assert cli("predict", finished[0] / "run").refused("a member's is")


def test_a_port_in_use_is_one_line(cli, model):
    """It does not say that it answers, and nothing else is disturbed."""
    pytest.importorskip("uvicorn")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        found = cli("serve", model, "--port", other.getsockname()[1])
    assert found.refused("cannot listen on 127.0.0.1")
    assert "answers" not in found.err


def test_an_export_to_a_taken_place_does_no_work(cli, model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "taken").mkdir()
    for form, name in (("onnx", "taken"), ("mlflow", "taken")):
        found = cli("export", model, "--format", form, "--out", tmp_path / name)
        assert found.refused("taken exists; nothing was written")
