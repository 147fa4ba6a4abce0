"""The local simulation of a consortium: its keys and agreement, its members, and their engine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import entry_points

from securefl.config.schema import ENGINES, LOCAL_ENGINE, EngineSettings, RunConfig
from securefl.consortium.agreement.context import Consortium
from securefl.consortium.agreement.model import new_agreement
from securefl.consortium.agreement.signatures import SignedAgreement, signed_by
from securefl.consortium.keys.key_files import generate_key
from securefl.consortium.keys.parties import party_of
from securefl.consortium.ledger.data_custody import LedgerContext
from securefl.consortium.ledger.policy import policy_of
from securefl.errors import ConfigError
from securefl.federation.member.spec import MemberSpec
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.observation import ObservedSpec, PooledSpec, Simulation
from securefl.federation.runs.prepare import Prepared
from securefl.federation.transport.base import Engine, HostedParties, OpenTransport
from securefl.federation.transport.fault_injection import WithDropouts
from securefl.federation.transport.local import open_local
from securefl.ml.cpu import cores
from securefl_protocols.primitives.signing import SigningKey

SMALL_WORK = 3_000_000
"""Training samples of a run below which starting worker processes costs more than it saves."""
LOCAL_VALIDITY = timedelta(days=3650)
"""Long, because a run that is resumed or audited years later needs an agreement in force."""


def local_consortium(prepared: Prepared) -> tuple[Consortium, dict[str, bytes]]:
    """Return an ephemeral consortium for a run on one machine: new identity keys, a new run id.

    Returns:
        The consortium, and each member's private identity key.

    Raises:
        AgreementError: If two members' names can be taken for each other.
    """
    keys = {member.name: generate_key() for member in prepared.members}
    agreement = local_agreement("local run", prepared.config, keys)
    consortium = Consortium(agreement, os.urandom(32))
    return consortium, {name: key.private_bytes() for name, key in keys.items()}


def local_agreement(
    title: str, config: RunConfig, keys: Mapping[str, SigningKey]
) -> SignedAgreement:
    """Return the agreement of a run or a query on one machine, signed by all members.

    Args:
        title: The agreement's title.
        config: The agreed configuration.
        keys: Member to identity key, in roster order.

    Raises:
        AgreementError: If two members' names can be taken for each other.
    """
    agreement = new_agreement(
        title,
        tuple(party_of(name, key) for name, key in keys.items()),
        config,
        created=datetime.now(UTC),
        expires=datetime.now(UTC) + LOCAL_VALIDITY,
    )
    return signed_by(agreement, keys)


def member_specs(
    prepared: Prepared,
    directory: RunDirectory,
    consortium: Consortium,
    identities: Mapping[str, bytes],
) -> list[MemberSpec]:
    """Return the specs from which the engine builds the members, in roster order."""
    return [
        MemberSpec(
            config=prepared.config,
            facts=prepared.facts,
            data=data,
            directory=directory.member_path(data.name),
            custody=custody_of(prepared, directory, data.name),
            consortium=consortium,
            identity=identities[data.name],
            vocabulary=prepared.vocabulary,
        )
        for data in prepared.members
    ]


def observed(
    specs: Sequence[MemberSpec], identities: Mapping[str, bytes], *, discloses: bool = False
) -> list[ObservedSpec]:
    """Return the specs of members that a simulation's observer may question.

    Args:
        specs: The members.
        identities: Member to private identity key; of all of them.
        discloses: Whether they disclose their updates, for `securefl compare` alone.

    Raises:
        AgreementError: If a key is missing.
    """
    simulation = Simulation(specs[0].consortium, identities)
    return [ObservedSpec(spec, simulation, discloses) for spec in specs]


def custody_of(prepared: Prepared, directory: RunDirectory, member: str) -> LedgerContext:
    """Return a member's ledger and policy in a run on one machine.

    Raises:
        ConfigError: If its policy does not exist or does not validate.
    """
    return LedgerContext(
        books=directory.places.books,
        policy=policy_of(directory.places.policy, member),
        digest=prepared.digests.data_set(member),
        label=prepared.config.data.source,
    )


def open_engine(
    prepared: Prepared,
    members: Sequence[MemberSpec],
    identities: Mapping[str, bytes],
    *,
    discloses: bool = False,
) -> OpenTransport:
    """Return the configured engine with all parties, wrapped in the simulated dropouts."""
    config = prepared.config
    workers = choose_workers(config.engine, config, sum(spec.cost for spec in members))
    specs = observed(members, identities, discloses=discloses)
    pooled = _pooled(prepared, members, Simulation(members[0].consortium, identities))
    engine = engine_of(config.engine.name)(HostedParties(specs, pooled, workers))
    dropouts = config.simulation.dropouts
    return WithDropouts(engine, dropouts) if dropouts else engine


def engine_of(name: str) -> Engine:
    """Return the engine of a valid `engine.name`; an installed one is imported only here.

    Raises:
        ConfigError: If two distributions register the name: which one runs must not be chance.
    """
    if name == LOCAL_ENGINE:
        return open_local
    registered, *others = entry_points(group=ENGINES, name=name)
    if others:
        raise ConfigError(f"engine.name: more than one distribution registers '{name}'")
    engine: Engine = registered.load()
    return engine


def _pooled(
    prepared: Prepared, members: Sequence[MemberSpec], simulation: Simulation
) -> list[PooledSpec]:
    """Return the centralized baseline; it is in no cohort, and has no roster key and no ledger."""
    if not prepared.config.references.enabled:
        return []
    # The data of a member that refuses the run are used nowhere, and so not in a baseline either.
    refusing = {spec.name for spec in members if spec.refusal(spec.ledger()) is not None}
    if refusing == {spec.name for spec in members}:
        return []
    data = prepared.pooled(without=refusing)
    return [PooledSpec(prepared.config, prepared.facts, data, simulation)]


def choose_workers(engine: EngineSettings, config: RunConfig, samples: int) -> int:
    """Return the number of worker processes: the configured one, else one a core if it pays."""
    if engine.workers:
        return engine.workers
    work = samples * config.training.local_epochs * config.rounds
    return 1 if work < SMALL_WORK else cores()
