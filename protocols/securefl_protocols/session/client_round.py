"""One round as a member sees it: what it checks before every message that it sends.

Every check guards a secret. The first that fails raises `RemoteProtocolError`, upon which
`ClientSession` ends for good.
"""

from collections.abc import Iterable, Set
from hashlib import sha256

from securefl_protocols.noise.layers import NoiseLayers, opened
from securefl_protocols.primitives.entropy import draw
from securefl_protocols.primitives.errors import (
    ChecksumFailed,
    LocalProtocolError,
    RemoteProtocolError,
)
from securefl_protocols.primitives.kdf import KEY_BYTES
from securefl_protocols.primitives.prg import SignedMask
from securefl_protocols.primitives.ring import RingVector
from securefl_protocols.primitives.shamir import share_to_bytes, split
from securefl_protocols.session.checksum import (
    ChecksumKey,
    checksum_from_bytes,
    checksum_to_bytes,
    mask_checksum,
)
from securefl_protocols.session.keystore import PeerKeyStore
from securefl_protocols.session.masking import mask, pairwise_sign, self_mask_key
from securefl_protocols.session.norms import RoundNorms
from securefl_protocols.session.party import Party
from securefl_protocols.session.recovery import Recovery, ShareDistribution
from securefl_protocols.session.results import RoundResult
from securefl_protocols.session.shares import OWN_BOX, DistributedShares, Route, seed_commitment
from securefl_protocols.wire.codec import encode_body
from securefl_protocols.wire.context import DIGEST_BYTES
from securefl_protocols.wire.fields import Rows
from securefl_protocols.wire.messages import (
    CONTRIBUTION_BYTES,
    Consistency,
    LayeredInput,
    LayeredSum,
    LayeredUnmask,
    MaskedInput,
    MemberMessage,
    ProvenConsistency,
    ProvenSignatures,
    ProvenSum,
    RoundSum,
    ShareKeys,
    Shares,
    Signatures,
    SurvivorSet,
    Unmask,
)
from securefl_protocols.wire.roster import members_from_bits
from securefl_protocols.wire.signed_statements import (
    check_signature,
    consistency_of,
    signed_with_digest,
)


class ClientRound:
    """A member's secrets and knowledge in one round; the next round starts from nothing.

    Attributes:
        number: Number of the round.
        survivors: The survivors that the member signed; none before.
    """

    def __init__(
        self,
        party: Party,
        book: PeerKeyStore,
        recovery: Recovery,
        *,
        number: int,
        context: bytes,
        cohort: Set[int],
        vector: RingVector,
        layers: NoiseLayers | None,
        only: Set[int] | None,
    ) -> None:
        """Take the input of the round.

        Args:
            party: The member.
            book: Its keys of the session.
            recovery: What is shared for the case that it drops out.
            number: Number of the round.
            context: 32 bytes, the context of the round.
            cohort: Who advertised keys.
            vector: Shape [d], the member's input; it is copied.
            layers: Of the noise in it, where the plan lets noise be taken back.
            only: The survivors that the round must end with, if it repeats another.

        Raises:
            LocalProtocolError: The vector has another shape or dtype, or there are no layers where
                there should be, or layers where not.
            RangeError: A coordinate is larger than agreed.
        """
        self.number = number
        self._party, self._keystore, self._recovery = party, book, recovery
        self._context = context
        self._vector = party.plan.checked_input(vector)
        if bool(party.plan.layers) != (layers is not None):
            raise LocalProtocolError("noise has layers where the plan says so, and only there")
        self._layers = layers
        self._only = only
        self._cohort = cohort
        self._held = party.plan.holders(party.index)
        self._seed = draw(party.entropy, KEY_BYTES)
        self._pair_keys = book.pair_keys(context)
        self._own_deal: tuple[DistributedShares, bytes] | None = None
        self._sharers: frozenset[int] = frozenset()
        self._dealt: dict[int, DistributedShares] = {}
        self._checksum_key: ChecksumKey | None = None
        self._input_digest = b""
        self.survivors: frozenset[int] = frozenset()
        self._signed_digest = b""
        self._norms: RoundNorms | None = None
        self._proofs: Rows = {}
        self._unmasked = self._vector[:0]
        self._promised: dict[int, bytes] = {}

    def share(self) -> bytes:
        """Return the ShareKeys message: a share of both secrets for every holder."""
        party = self._party
        holders = {h: x for h, x in self._held.items() if h in self._cohort}
        dealing = ShareDistribution(
            self._context, party.index, self._keystore.masking.public, self._keystore.peers, b""
        )
        secret, escrow = self._recovery.deal(
            dealing, self._keystore.masking, self._pair_keys, party.entropy
        )
        secrets = [self._seed, secret]
        shares = split(secrets, len(self._held), party.plan.threshold, party.entropy)
        contribution = self._contribution()
        deals = {}
        for holder, x in holders.items():
            seed_share, key_share = (share_to_bytes(share) for share in shares[x - 1])
            deals[holder] = self._deal(
                holder, DistributedShares(seed_share, key_share, contribution)
            )
        commitment = seed_commitment(self._context, party.index, self._seed)
        return self._signed(ShareKeys(self.number, commitment, escrow, deals))

    def _contribution(self) -> bytes:
        """Return our part of the checksum key; in a sparse graph one member has dealt it all."""
        if self._keystore.checksum_secret:
            return bytes(CONTRIBUTION_BYTES)
        return draw(self._party.entropy, CONTRIBUTION_BYTES)

    def _deal(self, holder: int, dealt: DistributedShares) -> bytes:
        route = Route(self._context, self._party.index, holder)
        commitments = dealt.commitments(route)
        if holder == self._party.index:
            deal = commitments + OWN_BOX
            self._own_deal = dealt, deal
            return deal
        return commitments + dealt.seal(
            route, self._keystore.box_secret(holder), self._party.entropy
        )

    def on_shares(self, message: Shares) -> bytes:
        """Check who shared, opens what was dealt and returns the MaskedInput message."""
        plan, index = self._party.plan, self._party.index
        sharers = members_from_bits(message.cohort, plan.members)
        if not sharers <= self._cohort:
            raise RemoteProtocolError("somebody shares who advertised no keys")
        if index not in sharers:
            raise RemoteProtocolError("our own shares were lost")
        if len(sharers) < plan.min_members:
            raise RemoteProtocolError("fewer members share than the plan allows")
        if set(message.deals) != self._held.keys() & sharers:
            raise RemoteProtocolError("the shares are not those of our sharing neighbours")
        if len(message.deals) < plan.threshold:
            raise RemoteProtocolError("fewer neighbours share than the threshold")
        self._sharers = sharers
        self._dealt = {dealer: self._open(dealer, deal) for dealer, deal in message.deals.items()}
        return self._masked_input()

    def _open(self, dealer: int, deal: bytes) -> DistributedShares:
        if dealer == self._party.index:
            if self._own_deal is None or self._own_deal[1] != deal:
                raise RemoteProtocolError("our deal to ourselves was changed")
            return self._own_deal[0]
        route = Route(self._context, dealer, self._party.index)
        return DistributedShares.unseal(route, self._keystore.box_secret(dealer), deal)

    def _masked_input(self) -> bytes:
        party, vector = self._party, self._vector
        pairs = {peer: key for peer, key in self._pair_keys.items() if peer in self._sharers}
        check, tag = self._masked_tag(pairs)
        if party.plan.norm is not None:
            self._unmasked = vector.copy()
        mask(
            vector,
            member=party.index,
            self_key=self._self_key,
            pairwise_keys=pairs,
            threads=party.threads,
        )
        # The input has gone into the masked vector; nothing of it stays behind.
        self._vector = vector[:0]
        content = party.plan.ring.pack(vector)
        masked = MaskedInput(self.number, check, tag, content)
        if self._layers is not None:
            masked = LayeredInput(self.number, check, tag, content, self._layers.anchor)
        signed, self._input_digest = self._signed_with_digest(masked)
        return signed

    def _masked_tag(self, peers: Iterable[int]) -> tuple[bytes, bytes]:
        index = self._party.index
        secret = self._keystore.checksum_secret
        contributions = (
            {min(self._cohort): secret}
            if secret
            else {dealer: dealt.contribution for dealer, dealt in self._dealt.items()}
        )
        key = self._checksum_key = ChecksumKey(contributions, context=self._context)
        tag = mask_checksum(key.checksum(index, self._vector), self._masks(peers), check=key.check)
        return key.check, checksum_to_bytes(tag)

    def _masks(self, peers: Iterable[int]) -> list[SignedMask]:
        """Return the keys of the self mask and of the masks with these members."""
        index, keys = self._party.index, self._pair_keys
        return [(self._self_key, 1), *((keys[peer], pairwise_sign(index, peer)) for peer in peers)]

    @property
    def _self_key(self) -> bytes:
        return self_mask_key(self._seed, context=self._context, member=self._party.index)

    def on_survivors(self, message: SurvivorSet) -> bytes:
        """Check the survivor set and returns the Consistency message."""
        plan = self._party.plan
        survivors = frozenset(message.survivors)
        if not survivors <= self._sharers:
            raise RemoteProtocolError("somebody survives who shared no keys")
        if self._party.index not in survivors:
            raise RemoteProtocolError("we are told that we dropped out")
        anchor = b"" if self._layers is None else self._layers.anchor
        if message.survivors[self._party.index] != self._input_digest + anchor:
            raise RemoteProtocolError("our masked input was changed")
        if len(survivors) < plan.min_members:
            raise RemoteProtocolError("fewer members survive than the plan allows")
        if len(survivors & self._held.keys()) < plan.threshold:
            raise RemoteProtocolError("fewer neighbours survive than the threshold")
        if self._only is not None and survivors != self._only:
            raise RemoteProtocolError("a repeated round has the survivors of the first, or no sum")
        self.survivors = survivors
        self._promised = {peer: row[DIGEST_BYTES:] for peer, row in message.survivors.items()}
        consistency = consistency_of(self.number, message.survivors, members=plan.members)
        if plan.norm is not None:
            # Projections are known from here on, when all masked inputs are.
            return self._signed(self._proven(RoundNorms(plan.norm, self._context, consistency)))
        self._signed_digest = sha256(encode_body(consistency)).digest()
        return self._signed(consistency)

    def _proven(self, norms: RoundNorms) -> Consistency:
        index, self._norms = self._party.index, norms
        masks = self._masks(self.survivors - {index})
        secret = draw(self._party.entropy, KEY_BYTES)
        vector, self._unmasked = self._unmasked, self._vector
        return norms.proven(index, vector, masks, secret)

    def on_signatures(self, message: Signatures) -> bytes:
        """Check that enough neighbours were told the same, and returns the Unmask message.

        One share a peer: of the seed of a survivor, or of the key of a dropout.
        """
        if not message.signatures.keys() <= self.survivors & self._held.keys():
            raise RemoteProtocolError("somebody signed who is no surviving neighbour")
        if len(message.signatures) < self._party.plan.threshold:
            raise RemoteProtocolError("fewer neighbours signed the survivors than the threshold")
        self._check_signatures(message)
        return self._unmask(message.signatures)

    def _check_signatures(self, message: Signatures) -> None:
        kind: type[MemberMessage] = Consistency
        digests = dict.fromkeys(message.signatures, self._signed_digest)
        norms = self._norms
        if norms is not None and isinstance(message, ProvenSignatures):
            self._proofs = norms.rows(message, self.survivors)
            kind, digests = ProvenConsistency, norms.body_digests(self._proofs)
        for signer, signature in message.signatures.items():
            check_signature(
                kind,
                signature,
                digests[signer],
                context=self._context,
                sender=signer,
                session_key=self._keystore.session_keys[signer],
                identity=self._party.roster.identities[signer],
            )
        if norms is not None:
            norms.check(self._proofs)

    def _unmask(self, signatures: Rows) -> bytes:
        dealt = self._dealt
        survivors = {dealer: dealt[dealer] for dealer in dealt.keys() & self.survivors}
        dropouts = {dealer: dealt[dealer] for dealer in dealt.keys() - self.survivors}
        # What was used once is not there to be given away a second time.
        self._dealt = {}
        seed_shares = {dealer: deal.seed_share for dealer, deal in survivors.items()}
        key_shares = {dealer: deal.key_share for dealer, deal in dropouts.items()}
        # What nobody signed is no promise of that member.
        self._promised = {peer: self._promised[peer] for peer in signatures}
        if self._layers is None:
            return self._signed(Unmask(self.number, seed_shares, key_shares))
        link = self._layers.reveal(self._missing)
        return self._signed(LayeredUnmask(self.number, seed_shares, key_shares, link))

    @property
    def _missing(self) -> int:
        return self._party.plan.members - len(self.survivors)

    def on_sum(self, message: RoundSum) -> RoundResult:
        """Check the sum against its checksum and return it."""
        plan = self._party.plan
        if len(message.total) != plan.vector_bytes:
            raise RemoteProtocolError("the sum has another length than the plan says")
        total, tag = plan.ring.unpack(message.total), message.tag
        opened = self._opened(message.links) if isinstance(message, LayeredSum) else {}
        key = self._checksum_key
        if key is None or not key.fits(total, checksum_from_bytes(tag), self.survivors):
            raise ChecksumFailed("the sum is not that of the survivors' inputs", self.survivors)
        if self._norms is not None and isinstance(message, ProvenSum):
            self._norms.check_sum(self._proofs, total, message.blinding)
        return RoundResult(self.number, total, tuple(sorted(self.survivors)), True, opened, tag)

    def _opened(self, links: Rows) -> dict[int, tuple[bytes, ...]]:
        if not links.keys() <= self._promised.keys():
            raise RemoteProtocolError("noise is taken back that nobody promised")
        first, layers = self._missing + 1, self._party.plan.layers
        return {
            peer: opened(link, first, layers, self._promised[peer]) for peer, link in links.items()
        }

    def _signed(self, message: MemberMessage) -> bytes:
        return self._signed_with_digest(message)[0]

    def _signed_with_digest(self, message: MemberMessage) -> tuple[bytes, bytes]:
        return signed_with_digest(
            message,
            context=self._context,
            sender=self._party.index,
            session_key=self._keystore.encryption.public,
            identity=self._party.identity,
        )
