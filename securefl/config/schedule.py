"""The schedule of an agreement: runs in a row, each over days that are so much later."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from securefl.config.base import Settings
from securefl.errors import InputError

Period = tuple[date, date]
"""The first and the last day of the data of a run."""


class ScheduleSettings(Settings):
    """Runs in a row under one agreement, each from the model that the one before it ended with."""

    runs: Annotated[int, Field(ge=2, le=60)] = Field(
        description="How many runs the agreement allows; they are called 1, 2 and so on."
    )
    days: PositiveInt = Field(
        default=7, description="By how many days data.period is later from one run to the next."
    )
    first_day: Literal["moves", "stays"] = Field(
        default="moves",
        description="Whether the first day of data.period moves as the last one does; where it"
        " stays, the period grows.",
    )
    delay: NonNegativeInt = Field(
        default=1,
        description="Whole days between the last day of its period and a run, in which late data"
        " arrive.",
    )

    def number(self, run: str) -> int:
        """Return which run of the schedule a name stands for.

        Raises:
            InputError: If it is none of them.
        """
        # One spelling for each run, for the name is in its id: "01" would be another run than "1".
        names = {str(number): number for number in range(1, self.runs + 1)}
        if run not in names:
            raise InputError(f"the agreed schedule has runs 1 to {self.runs}, and no run '{run}'")
        return names[run]

    def period(self, first: Period, number: int) -> Period:
        """Return the days of a run.

        Args:
            first: Those of run 1.
            number: Number of the run, from 1 on.
        """
        later = timedelta(days=self.days * (number - 1))
        begin, end = first
        return (begin if self.first_day == "stays" else begin + later), end + later

    def due(self, first: Period, number: int) -> datetime:
        """Return when a run may begin, in UTC, given the days of run 1."""
        last = self.period(first, number)[1]
        return datetime.combine(last, time(), UTC) + timedelta(days=1 + self.delay)
