"""Runs of a schedule are taken in turn, each when it is due, and entered anew for it."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from securefl.config.load import load_config
from securefl.errors import AgreementError, InputError
from securefl.federation.services import schedule
from securefl.federation.services.bootstrap import facts_of_run
from securefl.federation.services.facts_file import open_facts
from securefl.federation.services.member import MemberPaths, serve
from securefl.federation.services.public_facts import make_all_facts


def agreed(runs=3, last="2026-03-01"):
    data = {
        "source": "files",
        "catalogue": "catalogue.csv",
        "members": [{"name": "a", "transactions": "a.csv"}],
        "period": ["2026-01-05", last],
    }
    tree = {"task": "recommendation", "data": data, "schedule": {"runs": runs}}
    return load_config(None, tree | {"recommendation": {"min_households": 1}})


def entered(config, log):
    """Enters runs of a configuration; the ids are made up."""

    def enter(run):
        log.append(f"enter {run}")
        signed = SimpleNamespace(agreement=SimpleNamespace(config=config))
        identity = SimpleNamespace(id=run.encode() * 32)
        return SimpleNamespace(signed=signed, number=int(run), run=identity, name="a")

    return enter


@pytest.fixture
def log(monkeypatch):
    """What happens; nothing is run, and no time passes."""
    heard = []
    monkeypatch.setattr(
        schedule, "coordinate", lambda one, out, timeouts, before: heard.append((out, before))
    )
    monkeypatch.setattr(
        schedule, "serve", lambda one, paths: heard.append((one.number, paths.earlier))
    )
    monkeypatch.setattr(schedule, "wait_until", lambda due: heard.append(f"until {due:%Y-%m-%d}"))
    return heard


def test_each_run_begins_with_the_one_before_it(log, tmp_path):
    said = []
    list(schedule.coordinated(entered(agreed(), []), tmp_path, None, said.append))
    assert log == [
        (tmp_path / "1", None),
        (tmp_path / "2", tmp_path / "1"),
        (tmp_path / "3", tmp_path / "2"),
    ]
    assert [(one.number, one.runs, one.waits) for one in said] == [(n, 3, False) for n in (1, 2, 3)]


def test_a_run_that_is_not_due_is_waited_for(log, tmp_path):
    """And what was signed is read again afterwards: it may have expired meanwhile."""
    last = (datetime.now(UTC) + timedelta(days=3)).date()
    paths = MemberPaths(tmp_path, tmp_path, None, None, tmp_path / "given")
    list(schedule.followed(entered(agreed(2, str(last)), log), 2, paths, lambda one: None))
    due = last + timedelta(days=9)
    assert log == ["enter 2", f"until {due}", "enter 2", (2, tmp_path / "given")]


def test_the_given_model_is_of_the_first_run_alone(log, tmp_path):
    paths = MemberPaths(tmp_path, tmp_path, None, None, tmp_path / "given")
    list(schedule.followed(entered(agreed(), []), 1, paths, lambda one: None))
    assert log == [(1, tmp_path / "given"), (2, None), (3, None)]


def test_an_agreement_that_expires_ends_the_row(log, tmp_path):
    enter = entered(agreed(), [])

    def until_it_expires(run):
        if run == "2":
            raise AgreementError("the agreement has expired")
        return enter(run)

    with pytest.raises(AgreementError, match="expired"):
        list(schedule.coordinated(until_it_expires, tmp_path, None, lambda one: None))
    assert len(log) == 1


def test_without_a_schedule_there_is_no_row(log, tmp_path):
    config = agreed().model_copy(update={"schedule": None})
    with pytest.raises(AgreementError, match="leave out --schedule"):
        list(schedule.coordinated(entered(config, []), tmp_path, None, lambda one: None))


def test_newest_run_of_a_folder_is_by_number(tmp_path):
    assert schedule.newest(tmp_path) == tmp_path
    for name in ("2", "10", "other"):
        (tmp_path / name).mkdir()
    assert schedule.newest(tmp_path).name == "10"


def test_time_passes_by_this_machines_clock(monkeypatch):
    slept = []
    monkeypatch.setattr(schedule.time, "sleep", slept.append)
    monkeypatch.setattr(schedule, "datetime", Clock(iter([0, 50, 100, 130])))
    schedule.wait_until(datetime(2026, 1, 1, 0, 2, tzinfo=UTC))
    assert slept == [60.0, 60.0, 20.0]


class Clock:
    """Stands still between two looks."""

    def __init__(self, seconds):
        self.seconds = seconds

    def now(self, zone):
        return datetime(2026, 1, 1, tzinfo=zone) + timedelta(seconds=next(self.seconds))


def test_facts_of_a_schedule_have_a_file_each(tmp_path):
    (tmp_path / "catalogue.csv").write_text("product\n1\n2\n")
    config = agreed(2)
    data = config.data.model_copy(update={"root": tmp_path})
    made = make_all_facts(config.model_copy(update={"data": data}), tmp_path / "facts")
    found = [open_facts(facts_of_run(tmp_path / "facts", run)) for run in ("1", "2")]
    assert [one.digest for one in found] == [one.digest for one in made]
    assert found[0].digest != found[1].digest
    with pytest.raises(InputError, match="exists"):
        make_all_facts(config, tmp_path / "facts")


def test_no_later_run_begins_without_the_model_before(tmp_path, monkeypatch):
    """The member says what is missing, before it reads anything else."""
    from securefl.federation.services import member, member_input

    monkeypatch.setattr(member, "remember", lambda *ignored: None)
    before = SimpleNamespace(number=2, before=b"\1" * 32, config=agreed().scheduled(2))
    paths = MemberPaths(tmp_path, tmp_path, None, None)
    with pytest.raises(InputError, match="the model of run 1, which is not in"):
        member_input._begun(before, paths)
    assert serve is member.serve
