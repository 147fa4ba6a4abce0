"""An honest run, event by event, so that tests can change one thing and sign it all anew."""

import os
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

import numpy as np

from securefl.audit.bundle.bundle import (
    Bundle,
    Claims,
    Inclusion,
    LinkedHead,
    Opening,
    TranscriptFile,
)
from securefl.config.cohort import least_survivors
from securefl.config.load import load_config
from securefl.consortium.agreement.context import Consortium
from securefl.consortium.agreement.model import new_agreement
from securefl.consortium.agreement.signatures import signed_by
from securefl.consortium.keys.parties import party_of
from securefl.consortium.ledger.composition import compose
from securefl.consortium.ledger.digests import config_digest, units_commitment
from securefl.consortium.ledger.event_base import Mechanism
from securefl.consortium.ledger.events import Cap, End, Outcome, Release, ScoreRelease, Start
from securefl.consortium.ledger.hash_chain import canonical, next_entry, sign, timestamp
from securefl.consortium.ledger.merkle import MerkleTree, leaf_hash
from securefl.consortium.ledger.tree_heads import SignedHead, TreeHead, countersign
from securefl.consortium.ledger.vote_events import Ballot
from securefl.federation.aggregation.server_optimizer import ServerOptimizer
from securefl.federation.aggregation.session_parameters import encode_update, session_params
from securefl.federation.scores.ballots import signed_ballot, vote_of
from securefl.federation.scores.bounded import sensitivity
from securefl.federation.scores.judgement import ACCEPT
from securefl.ml.vectors import model_digest
from securefl.privacy.accounting.calibration import Budget
from securefl.privacy.noise.shares import set_aside
from securefl.privacy.score_plan import score_event, score_table, table_digest
from securefl_protocols.primitives.signing import SigningKey
from securefl_protocols.session.client import ClientSession
from securefl_protocols.session.dropouts import ServerStep
from securefl_protocols.session.server import ServerSession

BEGIN = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
NOW = BEGIN + timedelta(days=2)
DIMENSION = 6
UNITS = {"retailer-0": 900, "retailer-1": 1200}
SALT = bytes(range(32))
STEP = Mechanism(
    name="sampled-gaussian",
    unit="customer",
    adjacency="add or remove one customer",
    noise_multiplier=2.0,
    clip_norm=1.0,
    sampling_rate=0.5,
    steps=2,
    sampler="poisson",
    rng="AES-256-CTR, system key",
    accountant="rdp",
)


@dataclass(frozen=True)
class Written:
    """One entry: who, what, when; or a head, where there is no member."""

    member: str | None
    event: object
    minute: int

    @property
    def time(self):
        return timestamp(BEGIN + timedelta(minutes=self.minute))


@dataclass
class Scenario:
    """A run as a list of what was written, and the keys to sign it with."""

    keys: dict[str, SigningKey]
    consortium: Consortium
    script: list[Written]
    transcripts: dict[int, bytes] = field(default_factory=dict)
    digests: dict[int, str] = field(default_factory=dict)
    start: bytes = b""
    model: str | None = None
    openings: tuple[Opening, ...] = ()

    def changed(self, change):
        """The same run with another script: `change` is given a copy of it."""
        script = list(self.script)
        return replace(self, script=change(script) or script)

    def edited(self, member, kind, update, number=None):
        """With some of a member's events changed; the member signs what comes out."""

        def edit(script):
            for place, written in enumerate(script):
                event = written.event
                if written.member in {member, None if member else written.member} and (
                    isinstance(event, kind) and number in {None, getattr(event, "round", None)}
                ):
                    fields = update(event) if callable(update) else update
                    script[place] = replace(written, event=event.model_copy(update=fields))

        return self.changed(edit)

    def seal(self, folder: Path | None = None) -> Bundle:
        """Everything signed, logged and countersigned; files go to the folder."""
        run, agreement = self.consortium.run_id.hex(), self.consortium.digest().hex()
        last, entries, heads, tree, places = {}, [], [], MerkleTree(), {}
        for written in self.script:
            if written.member is None:
                heads.append(self._head(run, tree, written, heads))
                continue
            entry = next_entry(
                last.get(written.member),
                written.event,
                run=run,
                agreement=agreement,
                member=written.member,
                time=written.time,
            )
            signed = sign(entry, self.keys[written.member])
            last[written.member], places[written.member] = entry, len(tree)
            entries.append(signed)
            tree.append(leaf_hash(canonical(signed)))
        return Bundle(
            format="securefl-audit/1",
            created=timestamp(BEGIN + timedelta(days=1)),
            run=run,
            agreement=self.consortium.signed,
            entries=tuple(entries),
            heads=tuple(heads),
            inclusion=tuple(
                Inclusion(
                    member=member,
                    index=place,
                    proof=tuple(
                        h.hex() for h in tree.inclusion_proof(place, heads[-1].head.head.size)
                    ),
                )
                for member, place in places.items()
                if heads and place < heads[-1].head.head.size
            ),
            transcripts=self._files(folder),
            openings=self.openings,
            claims=Claims(model=self.model, dimension=DIMENSION, start_model="files/start.f32"),
        )

    def _head(self, run, tree, written, heads):
        size = len(tree)
        head = TreeHead(run=run, size=size, root=tree.root().hex(), time=written.time)
        signatures = {name: countersign(head, key).hex() for name, key in self.keys.items()}
        old = heads[-1].head.head.size if heads else 0
        return LinkedHead(
            head=SignedHead(head=head, signatures=signatures),
            consistency=tuple(h.hex() for h in tree.consistency_proof(old, size)),
        )

    def _files(self, folder):
        if folder is not None:
            (folder / "files").mkdir(exist_ok=True)
            (folder / "files" / "start.f32").write_bytes(self.start)
            for number, content in self.transcripts.items():
                (folder / "files" / f"{number}.transcript").write_bytes(content)
        return tuple(
            TranscriptFile(round=number, digest=digest, file=f"files/{number}.transcript")
            for number, digest in self.digests.items()
        )


def honest(
    rounds=3,
    members=5,
    *,
    masked=True,
    private=True,
    history=(),
    step=STEP,
    least=None,
    server=None,
    vote=None,
) -> Scenario:
    """A run in which everybody did what was agreed."""
    config = load_config(
        None,
        {
            "task": "recommendation",
            "mode": "secure" if masked else "plain",
            "rounds": rounds,
            "server": server or {},
            **({} if vote is None else {"vote": vote}),
            **({"cohort": {"minimum": max(least.values())}} if least else {}),
            **({} if private else {"model": {"name": "mf"}}),
            "privacy": {"dp": "none"} if not private else _private(_budget(step, rounds), step),
        },
    )
    keys = {f"retailer-{n}": SigningKey(bytes([n + 1] * 32)) for n in range(members)}
    agreement = new_agreement(
        "five retailers",
        tuple(party_of(name, key) for name, key in keys.items()),
        config,
        created=BEGIN - timedelta(days=30),
        expires=BEGIN + timedelta(days=300),
        least_members=least,
    )
    consortium = Consortium(signed_by(agreement, keys), bytes(range(100, 132)))
    scenario = Scenario(keys, consortium, [])
    _write(scenario, config, rounds, tuple(history), step if private else None)
    return scenario


@lru_cache(maxsize=64)
def _budget(step, rounds):
    """What this step's noise costs beside the scores' own, so that the plan is this step."""
    low, high = 0.01, 1000.0
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if _pays(middle, step, rounds) else (middle, high)
    return high


def _pays(epsilon, step, rounds):
    config = load_config(None, {"task": "recommendation", "privacy": _private(epsilon, step)})
    budget = Budget(epsilon, config.privacy.delta)
    spent = [step.model_copy(update={"steps": rounds * step.steps}), _scores(config)]
    return compose(spent, budget.delta, step.accountant) <= set_aside(budget).epsilon


def _private(epsilon, step):
    return {
        "accountant": STEP.accountant,
        "dp": "local",
        "epsilon": epsilon,
        "sampling_rate": step.sampling_rate,
        "steps": step.steps,
        "clip_norm": step.clip_norm,
    }


def _scores(config):
    """The mechanism that the agreed scores are charged as."""
    return STEP.model_copy(
        update={
            "noise_multiplier": score_event(config).noise_multiplier,
            "clip_norm": sensitivity(score_table(config)).l2,
            "sampling_rate": 1.0,
            "steps": 1,
        }
    )


def scored(scenario, who=None, **changes):
    """The run with a release of scores before its end, changed for one member or for all."""
    config = scenario.consortium.signed.agreement.config
    table, names, found = score_table(config), tuple(scenario.keys), _scores(config)
    released = [written.event for written in scenario.script if isinstance(written.event, Release)]
    spent = [release.mechanism for release in released[:: len(names)]]
    delta, number = config.privacy.delta, config.rounds + 1

    def release(name):
        mine = changes if who in {None, name} else {}
        mechanism = found.model_copy(update=mine.get("mechanism", {}))
        fields = {
            "round": number,
            "model": scenario.model,
            "scores": table_digest(table).hex(),
            "threshold": least_survivors(config.cohort, len(names)),
            "cohort": names,
            "delta": delta,
            "epsilon_before": compose(spent, delta, "rdp"),
            "epsilon_after": compose([*spent, mechanism], delta, "rdp"),
        }
        fields |= {key: value for key, value in mine.items() if key != "mechanism"}
        return ScoreRelease(mechanism=mechanism, **fields)

    def insert(script):
        place = next(at for at, written in enumerate(script) if isinstance(written.event, End))
        minute, after = script[place].minute, compose([*spent, found], delta, "rdp")
        script[place:place] = [Written(name, release(name), minute) for name in names]
        for at, written in enumerate(script):
            if isinstance(written.event, End):
                end = written.event.model_copy(update={"epsilon_after": after})
                script[at] = replace(written, event=end)

    return scenario.changed(insert)


def _write(scenario, config, rounds, history, step):
    names, delta, masked = tuple(scenario.keys), config.privacy.delta, config.mode == "secure"
    epsilon = _prices(history, step, rounds, delta) if step else [None] * (rounds + 1)
    shared = np.linspace(-1, 1, DIMENSION).astype(np.float32)
    scenario.start = shared.astype("<f4").tobytes()
    script = scenario.script = [
        Written(name, _started(scenario, name, config, history, epsilon[0]), 0) for name in names
    ]
    optimizer = ServerOptimizer(config.server, DIMENSION)
    for number in range(1, rounds + 1):
        before = model_digest(shared)
        for name in names:
            release = Release(
                round=number,
                mode=config.mode,
                dp=config.privacy.dp,
                model_before=before.hex(),
                threshold=least_survivors(config.cohort, len(names)) if masked else None,
                cohort=names,
                mechanism=step,
                delta=delta if step else None,
                epsilon_before=epsilon[number - 1],
                epsilon_after=epsilon[number],
                repeat_of=None,
            )
            script.append(Written(name, release, 2 * number))
        change = _masked(scenario, names, number, shared) if masked else np.full(DIMENSION, 0.125)
        shared = optimizer.apply(shared, change)
        scenario.model = model_digest(shared).hex()
        outcome = Outcome(
            round=number,
            survivors=names,
            model_after=scenario.model,
            transcript=scenario.digests.get(number),
        )
        if config.vote is not None:
            ballot = Ballot(round=number, model=scenario.model, ballot=ACCEPT)
            script += [Written(name, ballot, 2 * number) for name in names]
        script += [Written(name, outcome, 2 * number + 1) for name in names]
        if config.vote is not None:
            vote = voted(scenario, number, scenario.model, dict.fromkeys(names, ACCEPT))
            script += [Written(name, vote, 2 * number + 1) for name in names]
        script.append(Written(None, None, 2 * number + 1))
    end = End(rounds=rounds, epsilon_after=epsilon[-1])
    script += [Written(name, end, 2 * rounds + 2) for name in names]
    script.append(Written(None, None, 2 * rounds + 2))


def voted(scenario, number, model, ballots):
    """The vote that follows from what members say of a model; they sign it."""
    consortium, digest = scenario.consortium, bytes.fromhex(model)
    signatures = {
        name: signed_ballot(consortium, scenario.keys[name], number, digest, said)
        for name, said in ballots.items()
    }
    return vote_of(consortium, (number, digest), ballots, signatures).event(number, digest)


def _prices(history, step, rounds, delta):
    first = compose(list(history), delta, "rdp")
    return [
        compose([*history, step.model_copy(update={"steps": n * step.steps})], delta, "rdp")
        if n
        else first
        for n in range(rounds + 1)
    ]


def _started(scenario, name, config, history, epsilon):
    private = config.privacy.dp != "none"
    return Start(
        config=config_digest(scenario.consortium.signed.agreement),
        code="c0de" * 16,
        code_version="0.1.0",
        policy="ab" * 32,
        data_set=os.urandom(32).hex() if name not in UNITS else name.encode().hex().ljust(64, "0"),
        unit="customer" if private else None,
        delta=config.privacy.delta if private else None,
        accountant=config.privacy.accountant if private else None,
        cap=Cap(epsilon=30.0, delta=1e-4) if private else None,
        units=units_commitment(UNITS.get(name, 700), SALT if name in UNITS else os.urandom(32)),
        epsilon_before=epsilon,
        history=history,
        unprotected_before=0,
        start_model=model_digest(np.frombuffer(scenario.start, dtype="<f4")).hex(),
    )


def _masked(scenario, names, number, shared):
    """One real session over the members' updates; keeps its transcript."""
    consortium = scenario.consortium
    terms = session_params(consortium, names, DIMENSION)
    roster, model = consortium.part(names), model_digest(shared)
    settings = {"plan": terms.plan, "roster": roster, "context": terms.context}
    server = ServerSession(**settings, number=number, model=model)
    clients = [
        ClientSession(**settings, index=i, identity=scenario.keys[name], entropy=os.urandom)
        for i, name in enumerate(names)
    ]
    heaviest = terms.encoding.max_weight  # under a budget all weigh 1
    inputs = [
        encode_update(
            terms.encoding,
            np.full(DIMENSION, 0.1 * i, dtype=np.float32),
            0.5,
            min(10 + i, heaviest),
        )
        for i in range(len(names))
    ]
    sent = {i: client.start(number, model) for i, client in enumerate(clients)}
    while server.step is not ServerStep.IDLE:
        opening = server.step is ServerStep.ADVERTISE
        for index, message in sent.items():
            assert server.receive(index, message) is None
        told = server.end_step()
        answers = {i: clients[i].receive(message) for i, message in told.items()}
        if opening:
            server.begin_round(number, model)
            sent = {i: c.begin_round(number, model, inputs[i]) for i, c in enumerate(clients)}
        else:
            sent = {i: a[0] for i, a in answers.items() if isinstance(a[0], bytes)}
    transcript = server.transcript()
    scenario.transcripts[number] = transcript.to_bytes()
    scenario.digests[number] = transcript.digest().hex()
    return terms.encoding.decode(server.result().total).mean
