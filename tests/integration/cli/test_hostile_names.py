"""Every command, given names that attack its reader, in every format."""

import json
import re
import shutil
from datetime import date
from pathlib import Path

import click
import pytest

from securefl.audit.bundle.bundle import to_text
from securefl.audit.explain import explain
from securefl.audit.verify import verify
from securefl.consortium.agreement.storage import write_card
from securefl.consortium.keys.key_files import write_clear_key
from securefl.consortium.keys.parties import key_bundle_of
from securefl.consortium.ledger.account_statements import Account, RefusalLine, RunBudgetRow
from securefl.consortium.ledger.events import Start
from securefl.consortium.ledger.overlap import SharedCustomer, SharedRun
from securefl.data.describe import Description, MemberDescription
from securefl.federation.runs.summary import Summary, SummaryTable
from securefl_cli.main import main, securefl
from securefl_cli.rendering import audit, budget, tables
from support.bundle_mutations import CHEAT
from support.bundle_scenario import NOW, honest
from support.carried import carried, tree_of
from support.hostile_text import HOSTILE, LONG, check_data, check_harmless, laced
from support.named_keys import NAMES, key_of
from support.statuses import MEMBER_STATUS, STATUS, hostile

PLACE = HOSTILE.replace("/", "")
"""A file may have this name."""


def leaves(group, path=()):
    """Every command, by its words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield " ".join((*path, name))


@pytest.fixture
def place(here):
    """A folder with a hostile name, in which the files of a command lie."""
    folder = here / PLACE
    folder.mkdir()
    return folder


@pytest.fixture
def office(place):
    """Keys, cards and a signed agreement in it."""
    for name in (*NAMES, "hub"):
        write_clear_key(place / f"{name}.key", key_of(name))
        write_card(place / f"{name}.card", key_bundle_of(name, key_of(name)))
    (place / "run.toml").write_text('[data]\nsource = "tutorial"\n')
    cards = [word for name in NAMES for word in ("--card", str(place / f"{name}.card"))]
    new = ["agreement", "new", str(place / "a.toml"), "--config", str(place / "run.toml")]
    assert main([*new, *cards]) == 0
    for name in NAMES:
        words = ["agreement", "sign", str(place / "a.toml"), "--key", str(place / f"{name}.key")]
        assert main(words) == 0
    return place


@pytest.fixture
def bundle(place):
    """A bundle in which a member has a hostile name of its sources, and a stranger has entries."""
    run = honest(rounds=1, masked=False).edited(CHEAT, Start, {"code_version": HOSTILE[:200]})
    path = place / "bundle.json"
    sealed = run.seal(place)
    tree = json.loads(to_text(sealed))
    tree["entries"][0]["entry"]["member"] = HOSTILE[:200]
    tree["entries"][1]["entry"]["event"]["unit"] = HOSTILE[:200]
    path.write_text(json.dumps(tree))
    return path


@pytest.fixture
def sales(place, purchases):
    """Sales whose categories are hostile, and one of them very long."""
    folder = Path(purchases["data"]["root"])
    for file in folder.glob("*.csv"):
        shutil.copy(file, place)
    names = ['"' + HOSTILE.replace("\r\n", " ").replace("\n", " ") + f'"{""}' for _ in range(1)]
    lines = (place / "catalogue.csv").read_text().splitlines()
    evil = [
        names[0],
        '"[/bold]"',
        '"[red"',
        f'"{LONG[:60_000]}"'.replace("\r\n", "").replace("\n", ""),
    ]
    rows = [f"{line.rsplit(',', 1)[0]},{evil[n % 4]}" for n, line in enumerate(lines[1:])]
    (place / "catalogue.csv").write_text("\n".join([lines[0], *rows]) + "\n")
    members = "".join(
        f'[[data.members]]\nname = "{name}"\ntransactions = "{name}.csv"\n'
        for name in ("north", "south", "west", "east")
    )
    path = place / "sales.toml"
    path.write_text(
        f'[data]\nsource = "files"\nroot = "."\ncatalogue = "catalogue.csv"\n'
        f'catalogue_columns = {{ category = "category" }}\n'
        f'rules = {{ known_customers = ["0"] }}\n{members}'
    )
    return path


OPTIONS = ("sales.toml", "--epsilon", "2")
CASES = {
    "run": ("ratings", "run {place}/ratings.toml --no-references --out {place}/run --quiet"),
    "compare": ("ratings", "compare {place}/ratings.toml --out {place}/compare --quiet"),
    "budget plan": ("ratings", "budget plan {place}/ratings.toml --dp local --epsilon {evil}"),
    "budget show": ("place", "budget show --book {place} --member {evil}"),
    "budget history": ("place", "budget history --book {place} --member {evil}"),
    "audit export": ("place", "audit export {place} --out {place}/b.json"),
    "audit verify": ("bundle", "audit verify {place}/bundle.json"),
    "audit explain": ("bundle", "audit explain {place}/bundle.json"),
    "audit checkpoint": (
        "bundle",
        "audit checkpoint {place}/bundle.json --key {place}/secret --out {place}/w",
    ),
    "audit witnessed": (
        "bundle",
        "audit witnessed {place}/bundle.json --note {place}/secret --witness {evil}",
    ),
    "audit sign": (
        "bundle",
        "audit sign {place}/bundle.json --model {place}/bundle.json --key {place}/secret --out s",
    ),
    "audit attack": ("place", "audit attack {place}/none.toml"),
    "report": ("place", "report {place}"),
    "dossier": ("place", "dossier {place} --attack {evil}"),
    "analytics sum": ("sales", "analytics sum spend {place}/sales.toml --epsilon 2"),
    "analytics mean": ("sales", "analytics mean price {place}/sales.toml --epsilon 2"),
    "analytics histogram": (
        "sales",
        "analytics histogram category {place}/sales.toml --epsilon 9",
    ),
    "analytics quantiles": ("sales", "analytics quantiles spend {place}/sales.toml --epsilon 2"),
    "analytics top": ("sales", "analytics top category {place}/sales.toml --epsilon 2"),
    "data describe": ("sales", "data describe {place}/sales.toml"),
    "data check": ("sales", "data check {place}/sales.toml"),
    "data align start": (
        "place",
        "data align start {place}/x --member a --member {evil} --size 9 --state {place}/s",
    ),
    "data align join": (
        "alignment",
        "data align join {place}/x {evil} --catalogue {place}/c.csv --state {place}/s",
    ),
    "data align combine": ("alignment", "data align combine {place}/x --state {place}/s"),
    "data init": ("sales", "data init {place}/north.csv {place}/south.csv --out {place}/n.toml"),
    "data example": ("place", "data example {place}/x --member north --days 14"),
    "predict": ("model", "predict {place}/model --customers {place}/strangers"),
    "export": ("model", "export {place}/model --format vectors --out {place}/none/{evil}"),
    "serve": ("model", "serve {place}/model --data {place}/none"),
    "audit released": ("model", "audit released {place}/model --agreement {place}/none.toml"),
    "keygen": ("place", "keygen north --out {place} --passphrase-file {place}/secret"),
    "agreement new": (
        "office",
        "agreement new {place}/b.toml --config {place}/run.toml {cards}",
    ),
    "agreement add": ("office", "agreement add {place}/a.toml {place}/hub.card"),
    "agreement show": ("office", "agreement show {place}/a.toml"),
    "agreement sign": ("office", "agreement sign {place}/a.toml --key {place}/north.key"),
    "agreement verify": ("office", "agreement verify {place}/a.toml --member {evil}"),
    "agreement amend": ("office", "agreement amend {place}/a.toml --days 9"),
    "agreement rotate": (
        "office",
        "agreement rotate {place}/a.toml --key {place}/north.key --new {place}/hub.key",
    ),
    "agreement revoke": ("office", "agreement revoke {place}/a.toml {evil} --key {place}/hub.key"),
    "agreement ca": ("place", "agreement ca {place}/tls --host {evil}"),
    "agreement broker-config": ("office", "agreement broker-config {place}/a.toml --tls {place}"),
    "facts": ("ratings", "facts {place}/ratings.toml --out {place}/a.facts"),
    "coordinator": (
        "office",
        "coordinator {place}/a.toml --key {place}/hub.key --facts {place}/a.facts",
    ),
    "member": ("office", "member {place}/a.toml --key {place}/north.key --facts {place}/a.facts"),
    "status": ("status", "status {place}"),
    "readmit": ("status", "readmit {place} {evil}"),
    "doctor": (
        "office",
        "doctor {place}/a.toml --key {place}/north.key --facts {place}/a.facts --state {place}/s",
    ),
    "demo": ("place", "demo --list --out {place}/{evil}"),
    "config show": ("evil_config", "config show {place}/evil.toml"),
    "config init": ("place", "config init {place}/new.toml"),
}
"""What lies in the folder, and the command; {place} and {evil} are hostile."""


@pytest.fixture
def alignment(place):
    """A plan of an alignment whose members have hostile names, and a hostile catalogue."""
    (place / "x").mkdir()
    tree = {"members": [HOSTILE, LONG], "size": 9, "least": 2, "nonce": HOSTILE}
    (place / "x" / "align.json").write_text(json.dumps(tree))
    (place / "c.csv").write_text(f"product\n{HOSTILE!r}\n")


@pytest.fixture
def status(place):
    """The status of a coordinator of somebody else."""
    tree = hostile(STATUS)
    (place / "status.json").write_text(json.dumps(tree))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A member's model, made once."""
    folder = tmp_path_factory.mktemp("trained")
    return carried(folder, tree_of("recommendation", folder)).folder


@pytest.fixture
def model(place, trained):
    """That model, with hostile words about itself, and hostile customers to serve."""
    shutil.copytree(trained, place / "model")
    path = place / "model" / "model.json"
    about = json.loads(path.read_text())
    hostile = dict.fromkeys(("member", "protection"), HOSTILE)
    path.write_text(json.dumps({**about, **hostile, "members": [HOSTILE]}))
    names = HOSTILE.replace("\r\n", " ").replace("\n", " ")
    (place / "strangers").write_text(f"{names}\n{names}2\n", encoding="utf-8")


@pytest.fixture
def evil_config(place):
    """A configuration with a hostile path in it."""
    text = json.dumps(HOSTILE.replace("\x9b", "\u009b"))
    members = '[[data.members]]\nname = "a"\ntransactions = "a.csv"\n'
    (place / "evil.toml").write_text(f'[data]\nsource = "files"\ncatalogue = {text}\n{members * 1}')


def test_every_command_has_a_hostile_case():
    """A new command comes with one."""
    assert set(leaves(securefl)) == set(CASES)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("form", ["text", "json"])
def test_no_hostile_name_acts(name, form, request, cli, place, monkeypatch):
    """Nothing of it moves the cursor, begins a line, is parsed as markup, or is a bug."""
    monkeypatch.setenv("COLUMNS", "90")
    monkeypatch.setenv("SECUREFL_PASSPHRASE", "four words are better")
    (place / "secret").write_text("four words are better\n")
    needs, words = CASES[name]
    if needs == "ratings":
        (place / "ratings.toml").write_text(RATINGS)
    else:
        request.getfixturevalue(needs)
    words = words.replace("{cards}", " ".join(f"--card {{place}}/{name}.card" for name in NAMES))
    arguments = [word.format(place=place, evil=HOSTILE) for word in words.split(" ")]
    formatted = "--format" in {o for p in _command(name).params for o in p.opts}
    if form == "json" and not formatted:
        pytest.skip("the command has no such format")
    if formatted and form == "json":
        arguments += ["--format", "json"]
    outcome = cli(*arguments)
    assert outcome.code != 70, outcome
    check_harmless(outcome.err)
    if form == "json" and outcome.out:
        check_data(outcome.out)
    else:
        check_harmless(outcome.out)
    assert outcome.out or outcome.err


RATINGS = """\
task = "recommendation"
rounds = 1
data = { source = "tutorial", customers = 60, items = 40, interactions = [300, 600] }
model = { name = "rating-ncf", dim = 8, hidden = 16 }
"""


def _command(words):
    command = securefl
    for word in words.split():
        command = command.get_command(click.Context(command), word)
    return command


def test_status_of_a_member_shows_no_hostile_text(cli, place):
    """A file in a folder that somebody else made."""
    tree = hostile(MEMBER_STATUS)
    (place / "status.json").write_text(json.dumps(tree))
    outcome = cli("status", str(place))
    assert outcome.code == 0, outcome
    check_harmless(outcome.out)


def test_a_category_in_brackets_is_paid_and_shown(cli, sales):
    """The answer was paid for: nothing in a name may keep it from its reader."""
    outcome = cli("analytics", "top", "category", str(sales), "--epsilon", "2")
    assert outcome.code == 0, outcome
    assert "[/bold]" in outcome.out
    assert "[red" in outcome.out
    check_harmless(outcome.out, named=True)


def test_a_fake_verdict_of_a_bundle_stays_a_name(cli, bundle):
    """The members' own strings are in the reasons, and the verdict is the audit's."""
    outcome = cli("audit", "verify", str(bundle))
    assert outcome.code == 1
    check_harmless(outcome.out, named=True)
    verdicts = [line for line in outcome.out.splitlines() if line.startswith("Verdict")]
    assert [re.sub(r"\(.*", "", line).split() for line in verdicts] == [["Verdict", "FAIL"]]


def test_every_table_shows_hostile_rows_as_names(capsys, here):
    """All strings of every structure that a renderer takes are hostile at once."""
    account = Account("m", "d", "customer", 1, 2, 3.0, 1e-5, None, None)
    day = date(2026, 1, 1)
    row = RunBudgetRow(
        *("m", "t", "r", "d", "s", "task", "mode"), "local", "customer", 1, 1.0, 1e-5, "s"
    )
    shapes = laced((account, SharedCustomer("customer", 2, 1.0, 1e-5)))
    budget.print_accounts([shapes[0]], [shapes[1]], here / PLACE)
    run = laced(row, keep={"dp"})
    refusal = laced(RefusalLine("m", "t", "r", 1, "budget", "text"))
    budget.print_history([run], [refusal], [laced(SharedRun("r", 2, None, 1e-5))], here / PLACE)
    table = SummaryTable("h", ("a", "b"), (("c", "d"),), (("e", "f"),))
    summary = Summary("h", (table,), ("n",), "c", "p", "d", "n")
    tables.print_summary(laced(summary))
    person = MemberDescription("n", 1, 1, 1, 1, 1.0, day, day)
    tables.print_description(laced(Description("s", (person,), 1, 1, 1, None)))
    check_harmless(capsys.readouterr().out, named=True)


def test_an_audit_of_hostile_strings_is_read_as_names(capsys):
    """Source, reason, place and remedy, and all of an explanation."""
    sealed = honest(rounds=1, masked=False).seal()
    keep = {"verdict", "run", "agreement", "group"}
    audit.print_audit(laced(verify(sealed, now=NOW), keep))
    out, _, verdict = capsys.readouterr().out.rstrip("\n").rpartition("\n")
    check_harmless(out, named=True)
    assert verdict.startswith("Verdict  PASS")
    audit.print_explanation(laced(explain(sealed)))
    check_harmless(capsys.readouterr().out, named=True)
