"""A small federation whose members vote, with one of them hostile in the rounds that are named."""

import numpy as np

from securefl.audit.attacks.poison.federations import family_config, family_data
from securefl.audit.attacks.poison.hostile import HostileSpec
from securefl.audit.attacks.poison.table import ATTACKS
from securefl.config.load import load_config
from securefl.federation.member.spec import MemberSpec
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.prepare import prepare_data
from securefl.federation.runs.progress import Silent
from securefl.federation.runs.run import train_and_evaluate

HOSTILE = "retailer-0"


def voting(rounds=2, changes=None, **vote):
    """The configuration of a small ranking federation of five, whose members vote."""
    base = family_config("ranking", 5, 0)
    tree = base.model_dump(mode="json", exclude_none=True)
    tree |= {"mode": "secure", "rounds": rounds, "vote": vote}
    return load_config(None, tree | (changes or {}))


def attack_in(monkeypatch, attack, rounds=None, who=HOSTILE):
    """Have one retailer attack, in its real place in the run; in all rounds by default.

    Without a monkeypatch, for good: in a process of its own.
    """
    honest = MemberSpec.build
    put = setattr if monkeypatch is None else monkeypatch.setattr

    def build(spec):
        if spec.name != who:
            return honest(spec)
        put(MemberSpec, "build", honest)
        party = HostileSpec(spec, ATTACKS[attack], np.arange(10)).build()
        put(MemberSpec, "build", build)
        trainer = party.rounds.trainer
        if rounds is not None:
            poisoned = trainer.train
            trainer.train = lambda number: (
                poisoned(number) if number in rounds else trainer._honest.train(number)
            )
        return party

    put(MemberSpec, "build", build)


def trained(config, path):
    """A new run's directory, and what runs it."""
    directory = RunDirectory.create(path, config)
    prepared = prepare_data(config, family_data("ranking", config, 5))
    return directory, lambda: train_and_evaluate(prepared, directory, Silent())
