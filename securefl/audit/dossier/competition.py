"""The note on competition law: what was exchanged, between how many, how old, how aggregated."""

from __future__ import annotations

from datetime import date
from typing import Final

from securefl.audit.dossier.evidence import Answer, Basis, Evidence

FEW: Final = 5
"""Below so many members in a sum the note asks for an assessment. No authority's safe harbour: the
withdrawn US statements of 1996 took five, none with more than 25 %, and data of over 3 months."""
_LAW: Final = (
    "Article 101 TFEU and chapter 6 of the Commission's guidelines on horizontal co-operation"
    " (OJ C 259, 21.7.2023): what matters is what competitors learn of each other, how old and how"
    " aggregated it is, how often it is exchanged, and how concentrated the market is. There is no"
    " safe harbour. This note lists the facts; it is no legal advice."
)
_NO_PERIOD: Final = (
    "The agreement names no period in calendar days (data.period). State the last day of the data,"
    " and how long ago it was."
)
_CUTS: Final = ("level", "step", "departments", "min_households", "min_mean")
"""Agreed settings of a task's cut of the data that say how aggregated they are."""


def notes(evidence: Evidence) -> tuple[Answer, ...]:
    """Return the facts that an assessment under competition law asks for."""
    said = evidence.disclosure
    return (
        Answer("Which rules?", _LAW, "by design"),
        Answer("What is exchanged?", f"Task {evidence.config.task}: {evidence.spec.description}."),
        Answer(
            "How sensitive is it?",
            f"{'Delicate. ' if said.delicate else ''}{said.competition}"
            if said
            else "The author of the task did not say. Treat it as delicate until it is assessed.",
            "by design" if said else "to be stated",
        ),
        Answer("Between how many?", _members(evidence)),
        Answer("Can one member be singled out?", _aggregation(evidence)),
        Answer("How old are the data?", *_age(evidence)),
        Answer("How aggregated are they?", _cuts(evidence)),
        Answer(
            "How often is it exchanged?",
            f"Agreed rounds of training: {evidence.config.rounds:,}. Further runs under the"
            " agreement have logs and dossiers of their own.",
        ),
        Answer(
            "Can competitors depart from it?",
            "Forecasts, recommendations and prices are computed at each member and sent to no"
            " other. Whether a member follows them is its own decision.",
            "by design",
        ),
        Answer(
            "How concentrated is the market?",
            "Shares of the members in the relevant market, and who else may join.",
            "to be stated",
        ),
    )


def _members(evidence: Evidence) -> str:
    agreed, fewest = len(evidence.agreement.members), evidence.story.fewest
    text = (
        f"{agreed} members signed. A sum needs {evidence.least_agreed} of them by the agreement,"
        f" and none had fewer than {fewest}."
    )
    if evidence.agreement.least > 1:
        text += f" The agreement demands {evidence.agreement.least} for this task."
    else:
        text += " The agreement demands no least number for this task (least_members)."
    delicate = evidence.disclosure is None or evidence.disclosure.delicate
    if delicate and fewest < FEW:
        text += f" These are fewer than {FEW}, for a delicate task: have it assessed before use."
    return text


def _aggregation(evidence: Evidence) -> str:
    if evidence.config.mode == "plain":
        return (
            "Yes, by the coordinator: in mode plain it sees each member's update by itself. It must"
            " not be a competitor or work for one."
        )
    return (
        "Not by the coordinator: updates leave in masked sums alone. With few members, what one of"
        " them knows of itself narrows down the others."
    )


def _age(evidence: Evidence) -> tuple[str, Basis]:
    period = getattr(evidence.config.data, "period", None)
    began = evidence.story.began[:10]
    if period is None or not began:
        return _NO_PERIOD, "to be stated"
    first, last = period
    schedule = evidence.config.schedule
    if schedule is not None:  # which of its runs this is, no signature says
        text = f"From {first} to {last} in run 1 of a schedule, and {schedule.days} days later in"
        return f"{text} each further run. State which run this is.", "to be stated"
    days = (date.fromisoformat(began) - last).days
    return f"From {first} to {last}; the last day was {days:,} days before training.", "signed"


def _cuts(evidence: Evidence) -> str:
    cuts = evidence.config.cuts.model_dump(mode="json")
    named = [f"{name} = {cuts[name]}" for name in _CUTS if name in cuts]
    agreed = f"Agreed: {', '.join(named)}. " if named else ""
    return f"{agreed}What leaves a member is a change of model parameters and no table of sales."
