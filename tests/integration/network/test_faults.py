"""Processes that die, lose their connection or their disk: each test plays one fault for real."""

import shutil
import time
from dataclasses import replace

import pytest

from securefl.consortium.keys.key_files import generate_key
from support.nats_cluster import QUICK, Death, Disorder, FullDisk, LastRound, Liar, RightsLost
from support.rehearsal import rehearsed_change

MEMBER_STEPS = (
    "Signatures",
    "train-masked",
    "KeyList",
    "Shares",
    "SurvivorSet",
    "RoundSum",
    "save",
)
HEARD_STEPS = ("MaskedInput", "AdvertiseKeys", "ShareKeys", "Consistency", "Unmask")
KEYS_ONCE = {"KeyList", "AdvertiseKeys"}
"""Steps of the first round alone: later ones go on under the same keys."""


def quick(*steps):
    """Of these, all but the first are slow."""
    return [steps[0], *(pytest.param(step, marks=pytest.mark.slow) for step in steps[1:])]


def all_in_all(stage, scene):
    lines = stage.finish()
    for line in lines:
        assert tuple(line["survivors"]) == scene.names
    return lines


def test_a_run_without_faults(stage):
    scene = stage.set()
    stage.start_all()
    all_in_all(stage, scene)


def test_no_file_and_no_log_of_a_run_holds_a_secret(stage):
    scene = stage.set()
    stage.start_all()
    stage.wait_round(2)
    for name in scene.names[1:3]:
        stage.processes[name].kill()
    secrets = [spelt for key in scene.keys.values() for spelt in (key, key.hex().encode())]
    for name in scene.names:
        for number in (1, 2, 3):
            change = rehearsed_change(name, number, scene.dimension)
            secrets += [change.tobytes()[:32], str(float(change[0])).encode()]
    for file in (path for path in stage.folder.rglob("*") if path.is_file()):
        content = file.read_bytes()
        assert not any(secret in content for secret in secrets), file


@pytest.mark.slow
def test_a_broker_that_lost_its_disk_is_told_everything_again(stage):
    scene = stage.set(rounds=6, pause=0.3)
    stage.start_all()
    stage.wait_round(2)
    stage.broker.kill()
    stage.processes["coordinator"].kill()
    stage.processes["coordinator"].join()
    shutil.rmtree(stage.folder / "jetstream")
    stage.broker.start_again()
    stage.start("coordinator")
    all_in_all(stage, scene)


@pytest.mark.parametrize("late", quick(True, False))
@pytest.mark.parametrize("step", quick(*MEMBER_STEPS))
def test_a_member_killed_in_a_round_goes_on_in_the_same_round(stage, step, late):
    scene = stage.set()
    stage.start_all({"member-1": Death(step, 1 if step in KEYS_ONCE else 2, late)})
    stage.wait_dead("member-1")
    stage.start("member-1")
    all_in_all(stage, scene)


@pytest.mark.parametrize("step", quick(*HEARD_STEPS))
def test_a_coordinator_killed_while_it_listens_goes_on_in_the_same_round(stage, step):
    scene = stage.set()
    stage.start_all({"coordinator": Death(step, 1 if step in KEYS_ONCE else 2, late=True)})
    stage.wait_dead("coordinator")
    stage.start("coordinator")
    all_in_all(stage, scene)


@pytest.mark.parametrize("step", quick(*MEMBER_STEPS))
def test_a_coordinator_killed_while_it_speaks_goes_on_in_the_same_round(stage, step):
    scene = stage.set()
    stage.start_all({"coordinator": Death(step, 1 if step in KEYS_ONCE else 2)})
    stage.wait_dead("coordinator")
    stage.start("coordinator")
    all_in_all(stage, scene)


@pytest.mark.slow
def test_everybody_killed_at_once_goes_on_in_the_same_round(stage):
    scene = stage.set(rounds=4, pause=0.2)
    names = (*scene.names, "coordinator")
    stage.start_all()
    stage.wait_round(2)
    for name in names:
        stage.processes[name].kill()
        stage.wait_dead(name)
    for name in names:
        stage.start(name)
    all_in_all(stage, scene)


@pytest.mark.parametrize("seconds", quick(1, 10))
def test_a_broker_killed_for_some_time_loses_nothing(stage, seconds):
    scene = stage.set(rounds=6, pause=0.3)
    stage.start_all()
    stage.wait_round(2)
    stage.broker.kill()
    time.sleep(seconds)
    stage.broker.start_again()
    all_in_all(stage, scene)


@pytest.mark.slow
def test_a_cut_of_two_members_beyond_the_deadline_pauses_the_run(stage):
    scene = stage.set(rounds=6, pause=0.2)
    cables = stage.wire("member-1", "member-3")
    stage.start_all()
    stage.wait_round(2)
    for cable in cables:
        cable.cut()
    time.sleep(12)
    done = len(stage.lines())
    assert done < scene.rounds
    for cable in cables:
        cable.mend()
    for line in stage.finish():
        assert len(line["survivors"]) >= 4


@pytest.mark.slow
def test_a_cut_of_one_member_beyond_the_deadline_stops_nobody(stage):
    stage.set(rounds=6, pause=0.2)
    (cable,) = stage.wire("member-1")
    stage.start_all()
    stage.wait_round(1)
    cable.cut()
    stage.wait_round(4)
    cable.mend()
    lines = stage.finish()
    assert any("member-1" not in line["survivors"] for line in lines)


def test_messages_that_come_twice_late_and_out_of_order_change_nothing(stage):
    scene = stage.set()
    stage.start_all(wraps={name: Disorder(name) for name in scene.names[:3]})
    all_in_all(stage, scene)


@pytest.mark.slow
def test_a_member_with_a_full_disk_waits_and_loses_nothing(stage):
    scene = stage.set()
    stage.start_all(wraps={"member-2": FullDisk(1.0)})
    all_in_all(stage, scene)
    assert "cannot be written" in stage.tail("member-2")


@pytest.mark.slow
def test_a_member_that_may_not_write_ends_with_why(stage):
    """It does not wait for room, and all sums are right, those after its restart too."""
    stage.set(rounds=6, pause=0.3)
    stage.start_all(wraps={"member-1": RightsLost()})
    stage.processes["member-1"].join(60)
    assert stage.processes["member-1"].exitcode == 1
    assert "UnwritableError: cannot write" in stage.tail("member-1")
    assert "Permission denied; put that right" in stage.tail("member-1")
    (stage.folder / "member-1").chmod(0o700)
    stage.start("member-1")
    stage.finish()


@pytest.mark.slow
def test_a_member_that_lost_its_disk_rejoins_in_a_later_round(stage):
    stage.set(rounds=6, pause=0.3)
    stage.start_all({"member-1": Death("SurvivorSet", 2)})
    stage.wait_dead("member-1")
    shutil.rmtree(stage.folder / "member-1")
    stage.start("member-1")
    lines = stage.finish()
    assert "member-1" in lines[-1]["survivors"]
    assert "member-1" not in lines[1]["survivors"] or len(lines[1]["survivors"]) == 5


def without(stage, scene, name):
    """The run ends with exact sums of the others alone."""
    for line in stage.finish():
        assert tuple(line["survivors"]) == tuple(n for n in scene.names if n != name)


@pytest.mark.slow
def test_a_member_with_an_agreement_of_another_plan_is_in_no_sum(stage):
    scene = stage.set(rounds=2, patience=QUICK | {"least": 1.0})
    other = stage.agreement(rounds=3, secure={"limit": 32.0})
    for name in (*scene.names[:4], "coordinator"):
        stage.start(name)
    stage.start("member-4", scene=replace(scene, agreement=other))
    without(stage, scene, "member-4")


@pytest.mark.slow
def test_a_member_that_enters_the_last_round_once_more_is_in_no_sum(stage):
    scene = stage.set(rounds=3, patience=QUICK | {"least": 1.0})
    stage.start_all(wraps={"member-2": LastRound("MaskedInput")})
    first, *later = stage.finish()
    assert tuple(first["survivors"]) == scene.names
    for line in later:
        assert "member-2" not in line["survivors"]


def test_a_key_that_is_not_in_the_agreement_speaks_for_nobody(stage):
    scene = stage.set(rounds=2, patience=QUICK | {"least": 1.0})
    for name in (*scene.names[:4], "coordinator"):
        stage.start(name)
    other = scene.keys | {"member-4": generate_key().private_bytes()}
    stage.start("member-4", scene=replace(scene, keys=other))
    without(stage, scene, "member-4")
    assert "not its own" in stage.tail("coordinator")


@pytest.mark.slow
def test_wrong_checksum_over_the_network_costs_a_round(stage):
    """One of five lies in the first round, and another is killed with the sum before it."""
    scene = stage.set(rounds=2)
    stage.start_all({"member-3": Death("RoundSum", 1)}, {"member-1": Liar((1,))})
    stage.wait_dead("member-3")
    stage.start("member-3")
    all_in_all(stage, scene)


@pytest.mark.slow
@pytest.mark.parametrize("step", ["RoundSum", "train-masked", "MaskedInput", "Unmask"])
def test_coordinator_killed_in_a_round_that_is_repeated(stage, step):
    """It asks again what it asked, with the same answers, and comes to the same repeat."""
    scene = stage.set(rounds=2)
    stage.start_all({"coordinator": Death(step, 1, late=step[0] in "MU")}, {"member-1": Liar((1,))})
    stage.wait_dead("coordinator")
    stage.start("coordinator")
    all_in_all(stage, scene)


@pytest.mark.slow
def test_wrong_checksums_without_end_stop_the_run_over_the_network(stage):
    stage.set(rounds=2)
    stage.start_all(wraps={"member-1": Liar(tuple(range(1, 50)))})
    process = stage.processes["coordinator"]
    process.join(90)
    assert process.exitcode == 1
    assert "failed its checksum 4 times, and 3 repeats were agreed" in stage.tail("coordinator")
