"""A member that was cut off is heard again on the word of the coordinator's operator."""

import json

import pytest

from securefl.config.load import load_config
from securefl.errors import RunDirectoryError, SecureflError
from securefl.federation.services.readmission import readmit, readmitting
from securefl.federation.services.status_facts import FILE
from securefl.federation.transport.nats.quota import Quota
from support.consortium_processes import found, watched_run
from support.statuses import STATUS


@pytest.fixture
def run(tmp_path):
    place = tmp_path / "run"
    (place / "coordinator").mkdir(parents=True)
    (place / FILE).write_text(json.dumps(STATUS))
    return place


def running(run, quota):
    """What the coordinator does beside its rounds, for north alone."""
    return readmitting(run, ["north"], lambda _: quota.readmit(), every=0.01)


def cut_off():
    quota = Quota("north", most=3)
    for _ in range(4):
        quota.strike("junk")
    assert "securefl readmit DIR north" in quota.reason
    return quota


def test_a_readmitted_member_is_heard_at_once(cli, run):
    """And no restart is needed; the next time it is cut off, that lasts ten minutes again."""
    quota = cut_off()
    with running(run, quota):
        done = cli("readmit", run, "north")
        assert (done.code, quota.reason, quota.strikes) == (0, "", 0)
        assert "north is heard again" in done.out
        assert cli("readmit", run, "north").refused("north is not cut off")
    for _ in range(4):
        quota.strike("junk")
    assert "cut off for 10 min" in quota.reason
    assert not list((run / "coordinator").iterdir())


def test_only_members_of_a_run_are_readmitted(cli, run):
    assert cli("readmit", run, "../../north").refused("no member of this run", "north, south")
    assert cli("readmit", run.parent, "north").refused("no status of a coordinator")


def test_without_a_coordinator_nobody_is_readmitted(run):
    """The word is taken back: a coordinator that is started later hears everybody in any case."""
    with pytest.raises(RunDirectoryError, match=r"no coordinator of .* answers"):
        readmit(run, "north", seconds=0.05)
    assert not list((run / "coordinator").iterdir())


@pytest.mark.slow
def test_a_running_coordinator_hears_the_operator(tmp_path):
    """Asked while its run lasts: it answers, and has nobody to readmit."""
    data = {"source": "tutorial", "retailers": 3, "customers": 20, "interactions": [60, 90]}
    config = load_config(None, {"rounds": 2, "data": data, "model": {"name": "rating-ncf"}})
    village = found(tmp_path / "village", config, [f"retailer-{number}" for number in range(3)])

    def asked():
        with pytest.raises(SecureflError) as refused:
            readmit(village.folder / "run", "retailer-1", seconds=2)
        return str(refused.value)

    said = watched_run(village, (), asked, 0.1)
    assert any("retailer-1 is not cut off" in one for one in said), said
