"""What a person does wrong who begins: refused before work, in one line, with nothing lost."""

import click
import pytest

from securefl.config.load import load_config
from securefl.data.proposal import _member_names
from securefl.errors import InputError
from securefl.federation.runs.prepare import prepare
from securefl.untrusted.files import check_new
from securefl_cli.options.run import Real
from securefl_cli.rendering.grid import Column, Table, drawn
from support.command_line import commands
from support.small_runs import SMALL_RATINGS

REFUSED = {
    "a seed that no JSON has": ("config show --seed 9007199254740992", ["seed", "at most 9,007"]),
    "as many rounds": ("config show --rounds 9007199254740993", ["rounds", "at most"]),
    "a budget without a kind": ("budget plan --task churn", ["--dp local --epsilon 4"]),
    "a mistyped book": ("budget show --book nowhere", ["'nowhere' does not exist"]),
    "a mistyped book of runs": ("budget history --book nowhere", ["'nowhere' does not exist"]),
    "nothing but itself is poisoned": ("audit attack my.toml --poison", ["no a configuration"]),
    "a claim of the poisoned": ("audit attack --poison --epsilon 3", ["takes no --epsilon"]),
    "a retailer twice": ("data example x --member a --member A", ["the same name"]),
    "a year in another age": ("data example x --member a --first 9999-12-31", ["--first"]),
    "a page in no folder": ("data check --html no/x.html", ["no is no folder"]),
    "a name of a party": ("keygen a/b", ["write at most 64 letters"]),
    "a term of millennia": ("agreement ca tls --host a --days 9999999", ["--days"]),
}


@pytest.mark.parametrize(("words", "said"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_and_nothing_is_there(words, said, here, cli, monkeypatch):
    monkeypatch.setenv("SECUREFL_PASSPHRASE", "four words are better")
    assert cli(*words.split()).refused(*said)
    assert list(here.iterdir()) == []


def test_no_option_takes_what_is_no_number():
    """click finds "nan" in every range."""
    found = [
        (name, param.opts[0], kind)
        for name, command in commands()
        for param in command.params
        for kind in getattr(param.type, "types", [param.type])
        if isinstance(kind, click.types.FloatParamType)
    ]
    assert len(found) > 10
    for name, option, kind in found:
        assert isinstance(kind, Real), (name, option)
    for text in ("nan", "inf", "-inf"):
        with pytest.raises(click.BadParameter, match="is not a finite number"):
            Real().convert(text, None, None)


def test_every_term_in_days_ends_before_the_year_9999():
    terms = [
        (name, param.type.max)
        for name, command in commands()
        for param in command.params
        if "--days" in param.opts
    ]
    assert len(terms) == 4
    assert all(most and most <= 36_500 for _, most in terms), terms


def test_a_dropout_of_nobody_is_refused():
    """A comparison without any dropout would look as if one had done no harm."""
    dropout = {"member": "retailer-9", "round": 1, "step": "keys"}
    config = load_config(None, {**SMALL_RATINGS, "simulation": {"dropouts": [dropout]}})
    with pytest.raises(InputError, match=r"no member 'retailer-9'; did you mean 'retailer-"):
        prepare(config)


def test_a_place_is_refused_before_the_work(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no is no folder"):
        check_new(tmp_path / "no" / "x.csv")
    (tmp_path / "x.csv").write_text("mine")
    with pytest.raises(InputError, match=r"x.csv exists; nothing was written"):
        check_new(tmp_path / "x.csv")
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(InputError, match="no permission to write"):
        check_new(tmp_path / "y.csv")


def test_words_of_a_table_stay_whole_while_there_is_room():
    """Long cells fold at blanks before the time in the first column is broken."""
    rows = [("2026-11-30 11:26:54", "recommendation, secure, customer", "3.997 at 1e-05")]
    lines = drawn(Table([Column("Started"), Column("Training"), Column("Spent")], rows), 42)
    text = ["".join(part for part, _ in line) for line in lines]
    assert {"2026-11-30", "recommendation,", "11:26:54"} <= set(" ".join(text).split())
    assert max(map(len, text)) <= 42
    narrow = drawn(Table([Column("Started"), Column("Training"), Column("Spent")], rows), 24)
    assert max(len("".join(part for part, _ in line)) for line in narrow) <= 24


def test_two_sales_files_are_two_retailers(here, cli):
    """Files with the same name are called after their folders; the same file is none of another."""
    header = "customer,product,time,quantity,value\n"
    for name in ("vienna", "graz"):
        (here / name).mkdir()
        (here / name / "sales.csv").write_text(f"{header}7,a,2024-03-30,1,2\n")
    init = ("data", "init", "vienna/sales.csv", "--out", "x.toml")
    assert cli(*init, "./vienna/sales.csv").refused("is given twice")
    assert cli(*init, "graz/sales.csv", "--column", "customer=Card").refused("no file has it")
    assert sorted(path.name for path in here.iterdir()) == ["graz", "vienna"]
    files = [here / name / "sales.csv" for name in ("vienna", "graz")]
    assert _member_names(files) == ["vienna", "graz"]
