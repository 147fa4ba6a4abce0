"""A status in words, for the command line and for the page: both say the same of the same file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

Tree = dict[str, Any]
MEMBER_COLUMNS: Final = ("member", "is at", "was asked", "heard of", "MB up", "MB down")
_SUMS: Final = 6
"""Of the sums, how many are shown: the last ones."""
_ENDED: Final = {"verified", "in the clear"}
_TONES: Final = {"verified": "good", "in the clear": "", "no sum": "warn", "not verified": "bad"}


@dataclass(frozen=True)
class Line:
    """One line: what it is about, what is said, and whether that is good, a warning or bad."""

    label: str
    text: str
    tone: str = ""


@dataclass(frozen=True)
class Fault:
    """What is wrong, since when ("for 12 s"), and what to do."""

    says: str
    since: str
    todo: str


@dataclass(frozen=True)
class Step:
    """A step of the round: its name, how far it is, and who is waited for or gone."""

    name: str
    progress: str
    took: str
    notes: tuple[str, ...]
    done: bool


@dataclass(frozen=True)
class View:
    """Everything that is shown of a status.

    Attributes:
        title: The agreement's title.
        party: Who shows this.
        lines: What is known, in order.
        faults: What is wrong now.
        steps: The steps of the round under way; none on a member's side.
        sums: What became of the last sums, the newest first.
        members: The rows of a coordinator's table under `MEMBER_COLUMNS`; none on a member's side.
        progress: Rounds done and agreed.
    """

    title: str
    party: str
    lines: tuple[Line, ...]
    faults: tuple[Fault, ...]
    steps: tuple[Step, ...]
    sums: tuple[Line, ...]
    members: tuple[tuple[str, ...], ...]
    progress: tuple[int, int]


def view(tree: Tree, now: float | None = None) -> View:
    """Return what is shown of a status, as `read_status` or `read_member_status` returned it."""
    moment = time.time() if now is None else now
    of_coordinator = "members" in tree
    lines = _coordinator_lines(tree, moment) if of_coordinator else _member_lines(tree, moment)
    return View(
        title=tree["agreement"],
        party="the coordinator" if of_coordinator else tree["member"],
        lines=tuple(lines),
        faults=tuple(
            Fault(one["says"], _for(one["since"], moment), one["todo"]) for one in tree["faults"]
        ),
        steps=tuple(_step(one, moment) for one in tree.get("steps", ())),
        sums=tuple(_sum(one, moment) for one in tree["sums"][: -_SUMS - 1 : -1]),
        members=tuple(_member_row(one, moment) for one in tree.get("members", ())),
        progress=(_done(tree), tree["rounds"]),
    )


def _done(tree: Tree) -> int:
    """Return how many rounds are done, as far as this party knows."""
    if tree["state"] == "over":
        return int(tree["rounds"])
    last = tree["sums"][-1] if tree["sums"] else None
    ended = last is not None and last["round"] == tree["round"] and last["verdict"] in _ENDED
    return int(tree["round"]) if ended else max(0, tree["round"] - 1)


def _coordinator_lines(tree: Tree, now: float) -> Iterator[Line]:
    yield Line("Run", f"{tree['run']} under the agreement '{tree['agreement']}'")
    yield _state(tree, now)
    if tree["trouble"]:
        yield Line("Trouble", tree["trouble"], "bad" if tree["state"] == "stopped" else "warn")
    if tree.get("unusual"):
        yield Line("Last sum", f"out of the ordinary: {tree['unusual']}", "warn")
    if vote := tree.get("vote"):
        doubted = "rejected" in vote or "no ballot" in vote
        yield Line("Last vote", vote, "warn" if doubted else "")
    if (waits := _waits(tree, now)) is not None:
        yield waits
    if tree["epsilon"] is not None:
        yield _epsilon(tree, now, "of the member that spent most")
    yield Line(
        "Bytes",
        _bytes(
            sum(member["bytes_up"] for member in tree["members"]),
            sum(member["bytes_down"] for member in tree["members"]),
        ),
    )
    for member in tree["members"]:
        yield from _apart(member)
    yield from _ends(tree, now)


def _apart(member: Tree) -> Iterator[Line]:
    """Say why a member is not in the last sum, or is not heard."""
    if member["left_out"]:
        text = f"{member['name']} of the last sum: it {member['left_out']}"
        yield Line("Left out", text, "warn")
    if member["unusable"] and member["unusable"] == member["given_up"]:
        # Its answers are not wrong: nothing of it is read.
        yield Line("Cut off", member["unusable"], "warn")
    elif member["unusable"]:
        yield Line("Unusable", f"an answer of {member['name']}: {member['unusable']}", "warn")
    elif member["given_up"]:
        yield Line("Away", f"{member['name']}: {member['given_up']}", "warn")


def _waits(tree: Tree, now: float) -> Line | None:
    """Return whom the coordinator waits for; None where it waits for no one."""
    open_ = [member for member in tree["members"] if member["asked_at"] is not None]
    if not open_ or tree["state"] in {"over", "stopped"}:
        return None
    first = min(member["asked_at"] for member in open_)
    names = ", ".join(member["name"] for member in open_)
    text = f"for {names}, {clock(first, now)}; {tree['needed']} answers are needed"
    return Line("Waits", text)


def _member_lines(tree: Tree, now: float) -> Iterator[Line]:
    waits = tree["step"] == "waiting" and tree["state"] == "taking part"
    yield Line("Run", f"{tree['run']} under the agreement '{tree['agreement']}'")
    yield Line("Member", tree["member"])
    yield _state(tree, now)
    if tree["reason"]:
        yield Line("Stopped", tree["reason"], "bad")
    if tree["state"] == "taking part":
        step = "for the coordinator's next request" if waits else tree["step"]
        yield Line("Waits" if waits else "Does", f"{step}, for {clock(tree['since'], now)}")
    asked = "never" if tree["asked"] is None else f"{clock(tree['asked'], now)} ago"
    yield Line("Asked", f"{asked}: {tree['asked_for']}" if tree["asked_for"] else asked)
    if tree["coordinator_heard"] is not None:
        yield Line("Coordinator", f"answered {clock(tree['coordinator_heard'], now)} ago")
    verified = tree["verified"]
    yield Line("Verified", f"the sum of round {verified}" if verified else "none")
    if tree["epsilon"] is not None:
        yield _epsilon(tree, now, "over the life of the data")
    yield Line("Bytes", _bytes(tree["bytes_up"], tree["bytes_down"]))
    yield from _ends(tree, now)


def _state(tree: Tree, now: float) -> Line:
    text = f"{tree['state']}, round {tree['round']} of {tree['rounds']}"
    if tree["state"] in {"over", "stopped"}:
        return Line("State", text, "good" if tree["state"] == "over" else "bad")
    if tree["connected"]:
        return Line("State", text, "warn" if tree["state"] == "trying again" else "good")
    heard = tree["broker_heard"]
    last = "never heard of" if heard is None else f"heard of {clock(heard, now)} ago"
    lost = tree["connected"] is False
    broken = "no connection to the broker" if lost else "whether the broker answers is not known"
    return Line("State", f"{text}; {broken}, {last}", "bad")


def _epsilon(tree: Tree, now: float, whose: str) -> Line:
    spent, cap = tree["epsilon"], tree["cap"]
    of_cap = "" if cap is None else f" of at most {cap:g}"
    tone = "" if cap is None or spent <= 0.9 * cap else "warn"
    age = clock(tree["epsilon_at"], now)
    return Line("Epsilon", f"{spent:.2f}{of_cap}, {whose}; as of {age} ago", tone)


def _ends(tree: Tree, now: float) -> Iterator[Line]:
    if tree["model"]:
        yield Line("Model", tree["model"], "good")
    yield Line("Seen", f"{clock(tree['written'], now)} ago")


def _step(step: Tree, now: float) -> Step:
    end = now if step["ended"] is None else step["ended"]
    notes = [f"waits for {', '.join(step['waits'])}"] if step["waits"] else []
    notes += [f"{name}: {reason}" for name, reason in step["gone"].items()]
    return Step(
        name=step["step"],
        progress=f"{step['answered']} of {step['asked']}",
        took=f"{max(0.0, end - step['began']):.1f} s",
        notes=tuple(notes),
        done=step["ended"] is not None,
    )


def _sum(fact: Tree, now: float) -> Line:
    of = "" if fact["members"] is None else f", {fact['members']} members"
    verdict = fact["verdict"]
    text = f"{verdict}{of}, {clock(fact['at'], now)} ago"
    return Line(f"round {fact['round']}", text, _TONES[verdict])


def _member_row(member: Tree, now: float) -> tuple[str, ...]:
    at = "away" if member["away"] else member["at"] or "not seen yet"
    sizes = (f"{member[way] / 1e6:.1f}" for way in ("bytes_up", "bytes_down"))
    return (member["name"], at, member["asked"], clock(member["heard"], now), *sizes)


def _bytes(up: int, down: int) -> str:
    return f"{up / 1e6:.1f} MB up, {down / 1e6:.1f} MB down"


def _for(since: float, now: float) -> str:
    """Return since when, as the end of a sentence."""
    age = clock(since, now)
    return f"since {age}" if "T" in age else f"for {age}"


def clock(seconds: float | None, now: float | None = None) -> str:
    """Return the age of a time (seconds since the epoch), as text for a table."""
    if seconds is None:
        return "never"
    age = max(0.0, (time.time() if now is None else now) - seconds)
    if age < 120:
        return f"{age:.0f} s"
    return f"{age / 60:.0f} min" if age < 7200 else datetime.fromtimestamp(seconds, UTC).isoformat()
