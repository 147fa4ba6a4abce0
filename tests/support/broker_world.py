"""A broker with the configuration that an agreement makes, and clients with each party's rights."""

import ssl
from datetime import UTC, datetime, timedelta

from nats.aio.client import Client

from securefl.config.load import load_config
from securefl.consortium.agreement.model import Broker as Meeting
from securefl.consortium.agreement.model import new_agreement
from securefl.consortium.agreement.signatures import signed_by, standing
from securefl.consortium.keys.nkeys import BrokerKey
from securefl.consortium.keys.parties import party_of
from securefl.consortium.keys.tls_certificates import create_authority, issue_broker
from securefl.federation.transport.nats.broker_config import broker_id, write_broker_config
from securefl.federation.transport.nats.connection import BrokerAddress, NatsClient
from securefl.federation.transport.nats.subjects import Layout
from support.brokers import free_port

PASSPHRASE = b"four words are better"
TODAY = datetime.now(UTC)


class World:
    """A broker, the agreement that it was configured from, and how to connect to it."""

    def __init__(self, folder, keys, hub):
        self.folder, self.port = folder, free_port()
        create_authority(folder, "grocers", PASSPHRASE, TODAY, 30)
        issue_broker(folder, ("localhost", "127.0.0.1"), PASSPHRASE, TODAY, 30)
        authority = (folder / "ca.pem").read_text()
        self.agreement = new_agreement(
            "grocers",
            tuple(party_of(name, key) for name, key in keys.items()),
            load_config(None, {"data": {"source": "tutorial"}}),
            created=TODAY,
            expires=TODAY + timedelta(days=1),
            coordinator=party_of("hub", hub),
            broker=Meeting(url=f"tls://127.0.0.1:{self.port}", authority=authority),
        )
        self.keys = {**keys, "coordinator": hub}
        signed = signed_by(self.agreement, keys)
        self.layout = Layout(broker_id(standing(signed)))
        self.config = write_broker_config(folder / "nats", signed, folder, TODAY)

    async def connect(self, party, key=None, authority=None, problems=None):
        client, login = Client(), BrokerKey(key or self.keys[party])

        async def note(error):
            if problems is not None:
                problems.append(str(error))

        await client.connect(
            self.agreement.broker.url,
            tls=ssl.create_default_context(cadata=authority or self.agreement.broker.authority),
            tls_handshake_first=True,
            nkeys_seed_str=login.seed(),
            inbox_prefix=self.layout.inbox(party),
            allow_reconnect=False,
            max_reconnect_attempts=0,
            connect_timeout=5,
            error_cb=note,
        )
        return client

    def link(self, party, seconds=10.0, faults=None):
        """A party's connection as it is in a run."""
        address = BrokerAddress(
            self.agreement.broker.url, self.folder / "ca.pem", BrokerKey(self.keys[party])
        )
        return NatsClient(address, self.layout.inbox(party), seconds, faults)


async def declared(world):
    """What the coordinator does first, with its own rights alone."""
    client = await world.connect("coordinator")
    stream = client.jetstream()
    for name in ("north", "south"):
        for config in world.layout.streams(name):
            await stream.add_stream(config)
        await stream.add_consumer(world.layout.down(name), world.layout.member_consumer(name))
        await stream.add_consumer(world.layout.up(name), world.layout.coordinator_consumer(name))
    await client.close()
