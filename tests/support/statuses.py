"""Status files as a coordinator and a member write them."""

from support.hostile_text import HOSTILE, LONG

MEMBER_OF_RUN = {
    "name": "north",
    "heard": 0.0,
    "at": "train-masked",
    "asked": "train-masked",
    "asked_at": 0.0,
    "away": False,
    "given_up": "",
    "left_out": "",
    "unusable": "",
    "bytes_down": 2_500_000,
    "bytes_up": 1_000_000,
}
UNSEEN = MEMBER_OF_RUN | {"name": "south", "heard": None, "at": "", "asked": "", "asked_at": None}
UNSEEN |= {"away": True, "bytes_down": 0, "bytes_up": 0}
PROCESS = {
    "written": 0.0,
    "ended": None,
    "connected": True,
    "broker_heard": 0.0,
    "agreement": "grocers",
    "rounds": 20,
    "epsilon": 1.25,
    "epsilon_at": 0.0,
    "cap": 4.0,
    "sums": [],
    "faults": [],
    "model": "",
}
STATUS = PROCESS | {
    "run": "00ff",
    "round": 2,
    "state": "training",
    "since": 0.0,
    "trouble": "",
    "unusual": "",
    "vote": "",
    "needed": 4,
    "steps": [],
    "members": [MEMBER_OF_RUN, UNSEEN],
}
MEMBER_STATUS = PROCESS | {
    "run": "0123456789abcdef",
    "member": "north",
    "state": "taking part",
    "round": 3,
    "step": "waiting",
    "since": 0.0,
    "asked": 0.0,
    "asked_for": "verify the sum",
    "verified": 2,
    "coordinator_heard": 0.0,
    "clock_ahead": 0.1,
    "bytes_down": 900_000,
    "bytes_up": 800_000,
    "reason": "",
}


def at(tree, now):
    """The same with all its times so many seconds later; a file that was written just now."""
    if isinstance(tree, dict):
        return {name: at(value, now) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [at(one, now) for one in tree]
    return tree + now if isinstance(tree, float) and tree <= 0 else tree


def busy(now):
    """A coordinator in the middle of a round: a member is late, one is out, the store was full."""
    step = {"step": "sign who is left", "began": -3.0, "ended": -2.2, "asked": 4, "answered": 4}
    step |= {"waits": [], "gone": {}}
    out = {"away": True, "given_up": "its disk is full", "at": "disk full", "heard": -1.0}
    out |= {"asked": "", "asked_at": None}
    tree = STATUS | {
        "round": 7,
        "steps": [
            step
            | {"step": "train, or send keys", "began": -40.0, "ended": -9.0, "asked": 5}
            | {"gone": {"market-hall": "its disk is full"}},
            step | {"step": "send masked inputs", "began": -9.0, "ended": -3.0},
            step,
            step
            | {"step": "reveal shares", "began": -2.0, "ended": None, "answered": 3}
            | {"waits": ["west"]},
        ],
        "sums": [
            {"round": 5, "verdict": "verified", "members": 5, "at": -100.0},
            {"round": 6, "verdict": "no sum", "members": None, "at": -70.0},
            {"round": 6, "verdict": "verified", "members": 4, "at": -45.0},
        ],
        "faults": [
            {
                "code": "store-full",
                "says": "the broker's store is full: it takes no message",
                "todo": "make room on its disk, or raise its limit. What was not stored is sent"
                " again",
                "since": -12.0,
            }
        ],
        "members": [
            MEMBER_OF_RUN | {"asked": "", "asked_at": None, "at": "waiting"},
            MEMBER_OF_RUN | {"name": "west", "asked": "protocol", "asked_at": -2.0},
            MEMBER_OF_RUN | {"name": "market-hall"} | out,
            MEMBER_OF_RUN | {"name": "corner-shop", "asked": "", "asked_at": None},
            MEMBER_OF_RUN | {"name": "east", "asked": "", "asked_at": None},
        ],
    }
    return at(tree, now)


def hostile(tree):
    """The same with every text that a party chose replaced by a hostile one."""
    texts = ("agreement", "state", "run", "model", "trouble", "reason", "member", "step")
    made = {name: HOSTILE if name in texts else value for name, value in tree.items()}
    if "members" not in tree:
        return made | {"state": tree["state"], "asked_for": HOSTILE}
    names = ("name", "at", "asked", "given_up", "left_out", "unusable")
    members = [member | dict.fromkeys(names, HOSTILE) for member in tree["members"]]
    step = {"step": HOSTILE, "began": 0.0, "ended": None, "asked": 2, "answered": 1}
    step |= {"waits": [HOSTILE], "gone": {HOSTILE: HOSTILE}}
    return made | {"members": members, "steps": [step], "trouble": LONG}
