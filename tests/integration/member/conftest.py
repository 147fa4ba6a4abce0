"""Members of small runs, asked one question at a time."""

import pytest

from securefl.federation import messages as m
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.prepare import prepare
from securefl.federation.runs.simulation import local_consortium, member_specs


class Asked:
    """A member, and a coordinator that says whatever it likes to it."""

    def __init__(self, folder, config):
        self.prepared = prepare(config)
        self.directory = RunDirectory.create(folder, config)
        self.consortium, self.identities = local_consortium(self.prepared)
        self.specs = member_specs(self.prepared, self.directory, self.consortium, self.identities)
        self.spec = self.specs[0]
        self.member = self.spec.build()
        self.replies = []

    def say(self, message):
        (reply,) = self.member.handle(m.encode(message))
        self.replies.append(m.decode(reply))
        return self.replies[-1]

    def scores(self):
        return [reply for reply in self.replies if isinstance(reply, m.Scores | m.LocalOnlyResult)]

    @property
    def spent(self):
        return self.member.trainer.spending().epsilon


@pytest.fixture
def asked(tmp_path, small_config):
    """Makes the first member of a small run."""

    def make(kind="ratings", **changes):
        return Asked(tmp_path / "run", small_config(kind, **changes))

    return make
