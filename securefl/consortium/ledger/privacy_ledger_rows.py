"""What stands in a member's privacy ledger: runs, data sets and releases."""

from __future__ import annotations

from dataclasses import dataclass

from securefl.consortium.ledger.event_base import Mechanism


@dataclass(frozen=True)
class RunRow:
    """A run in the privacy ledger.

    Attributes:
        run: Run id, hex.
        data_set: Number of the data set in this ledger.
        task: Name of the task.
        mode: Aggregation mode.
        dp: Differential-privacy mode.
        unit: Privacy unit; None without differential privacy.
        delta: Delta of the run; None without differential privacy.
        accountant: Accountant of the recorded epsilons; None without differential privacy.
        started: Time of the start at this member.
        directory: The run's directory.
        units: Number of privacy units; opens the commitment of the `start` entry with `salt`.
        salt: 32 secret random bytes.
        ended: Whether the run has ended, 0 or 1.
    """

    run: str
    data_set: int
    task: str
    mode: str
    dp: str
    unit: str | None
    delta: float | None
    accountant: str | None
    started: str
    directory: str
    units: int
    salt: bytes
    ended: int = 0


@dataclass(frozen=True)
class DataSet:
    """A data set in the privacy ledger.

    Attributes:
        number: Its number in this ledger.
        pseudonym: 32 random bytes, hex, that identify it in entries and reveal nothing about it.
        label: Display name.
    """

    number: int
    pseudonym: str
    label: str


@dataclass(frozen=True)
class ReleaseRow:
    """An update that may have left the member.

    Attributes:
        data_set: Number of the data set.
        run: Run id, hex.
        round: Number of the round.
        time: Time of the charge.
        mechanism: The charged mechanism; None where no noise was added.
    """

    data_set: int
    run: str
    round: int
    time: str
    mechanism: Mechanism | None
