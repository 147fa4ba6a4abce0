"""One round as the coordinator sees it: what it takes from members, and what it tells them."""

import hmac
from collections.abc import Iterable, Mapping, Set

from securefl_protocols.noise.layers import opened
from securefl_protocols.primitives.errors import (
    ChecksumFailed,
    LocalProtocolError,
    RemoteProtocolError,
    TooFewSurvivors,
)
from securefl_protocols.primitives.prg import SignedMask
from securefl_protocols.primitives.ring import RingVector
from securefl_protocols.session.checksum import checksum_to_bytes, mask_checksum
from securefl_protocols.session.dropouts import DropoutReason, Refused
from securefl_protocols.session.masked_sums import MaskedSum, MaskedSums
from securefl_protocols.session.masking import pairwise_sign, self_mask_key, unmask
from securefl_protocols.session.norms import RoundNorms, blinding_bytes, blinding_of
from securefl_protocols.session.plan import SessionPlan
from securefl_protocols.session.recovery import Recovery, ShareDistribution
from securefl_protocols.session.shares import (
    KEY_SHARE_LABEL,
    OWN_BOX,
    SEED_SHARE_LABEL,
    Route,
    seed_commitment,
    share_commitment,
)
from securefl_protocols.session.unmasking import rebuild, revealed_shares
from securefl_protocols.wire.codec import encode_coordinator
from securefl_protocols.wire.context import DIGEST_BYTES
from securefl_protocols.wire.fields import Rows
from securefl_protocols.wire.messages import (
    AdvertiseKeys,
    Consistency,
    LayeredInput,
    LayeredSum,
    LayeredSurvivors,
    LayeredUnmask,
    MaskedInput,
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
from securefl_protocols.wire.roster import members_to_bits
from securefl_protocols.wire.signed_statements import consistency_of


class ServerRound:
    """What the coordinator knows in one round.

    Attributes:
        number: Number of the round.
        context: 32 bytes, the context of the round as the coordinator computes it.
        sharers: Who shared keys; known when that step has ended.
        survivors: Whose masked inputs are in the sum; known when that step has ended.
        links: By survivor, the link that opens its needless noise layers.
    """

    def __init__(
        self,
        plan: SessionPlan,
        recovery: Recovery,
        keys: Mapping[int, AdvertiseKeys],
        *,
        number: int,
        context: bytes,
    ) -> None:
        """Begin a round among the members that advertised keys.

        Args:
            plan: The plan of the session.
            recovery: How the masks of dropouts are removed.
            keys: The keys that each member of the cohort advertised.
            number: Number of the round.
            context: 32 bytes, the context of the round.
        """
        self.number, self.context = number, context
        self.sharers: frozenset[int] = frozenset()
        self.survivors: frozenset[int] = frozenset()
        self._plan, self._recovery, self._keys = plan, recovery, keys
        self._shared: dict[int, ShareKeys] = {}
        self._inputs = MaskedSums(plan)
        self._digests: dict[int, bytes] = {}
        self._anchors: dict[int, bytes] = {}
        self.links: dict[int, bytes] = {}
        self._consistency = Consistency(number, b"", b"")
        self._signatures: dict[int, bytes] = {}
        self._proofs: dict[int, bytes] = {}
        self._blinding = b""
        self._unmasked: dict[int, Unmask] = {}

    def take_shares(self, member: int, message: ShareKeys) -> None:
        """Take what a member deals.

        Raises:
            Refused: It deals to others than its holders, or leaves the wrong escrow.
        """
        if message.deals.keys() != self._plan.holders(member).keys() & self._keys.keys():
            raise Refused(DropoutReason.MALFORMED, "the deals are not to the member's holders")
        if member in message.deals and message.deals[member][2 * DIGEST_BYTES :] != OWN_BOX:
            raise Refused(DropoutReason.MALFORMED, "a member seals nothing to itself")
        neighbours = self._neighbours(member)
        if len(message.escrow) != self._recovery.escrow_bytes(len(neighbours)):
            raise Refused(DropoutReason.MALFORMED, "the escrow has another length")
        self._shared[member] = message

    def take_input(self, member: int, message: MaskedInput, digest: bytes) -> None:
        """Add a masked input to the sum.

        Args:
            member: Whose it is.
            message: The masked input.
            digest: SHA-256 of its body.

        Raises:
            Refused: It has another length than the plan says.
        """
        self._inputs.add(member, message)
        self._digests[member] = digest
        if isinstance(message, LayeredInput):
            self._anchors[member] = message.anchor

    def agreeing(self) -> frozenset[int]:
        """Return those whose masked inputs can be summed: most of them, with one tag key."""
        return frozenset(self._inputs.largest().members)

    def take_consistency(self, member: int, message: Consistency, signature: bytes) -> None:
        """Take a signature over the survivors and their masked inputs.

        Raises:
            Refused: Others were signed, or the norm proof is not good.
        """
        signed = Consistency(message.round, message.survivors, message.inputs)
        if signed != self._consistency:
            raise Refused(DropoutReason.MALFORMED, "other survivors or inputs were signed")
        if isinstance(message, ProvenConsistency):
            try:
                self._norms.check({member: message.proof})
            except RemoteProtocolError as error:
                raise Refused(DropoutReason.BAD_NORM, str(error)) from error
            self._proofs[member] = message.proof
        self._signatures[member] = signature

    def take_unmask(self, member: int, message: Unmask) -> None:
        """Take the shares that a member reveals, each compared with its commitment.

        Raises:
            Refused: A share is missing, too much, or not the one committed to.
        """
        held = self._plan.holders(member).keys() & self.sharers
        if message.seed_shares.keys() != held & self.survivors:
            raise Refused(DropoutReason.MALFORMED, "the seed shares are not those of survivors")
        if message.key_shares.keys() != held - self.survivors:
            raise Refused(DropoutReason.MALFORMED, "the key shares are not those of dropouts")
        self._check_shares(member, message.seed_shares, SEED_SHARE_LABEL, 0)
        self._check_shares(member, message.key_shares, KEY_SHARE_LABEL, DIGEST_BYTES)
        if isinstance(message, LayeredUnmask) and message.link:
            self._check_link(member, message.link)
            self.links[member] = message.link
        self._unmasked[member] = message

    def _check_shares(self, holder: int, shares: Rows, label: bytes, start: int) -> None:
        for dealer, share in shares.items():
            promised = self._shared[dealer].deals[holder][start : start + DIGEST_BYTES]
            route = Route(self.context, dealer, holder)
            if not hmac.compare_digest(share_commitment(label, route, share), promised):
                raise Refused(DropoutReason.BAD_SHARE, f"a bad share of member {dealer}'s secret")

    def _check_link(self, member: int, link: bytes) -> None:
        try:
            self._open_layers(member, link)
        except RemoteProtocolError as error:
            raise Refused(DropoutReason.BAD_LINK, str(error)) from error

    def _open_layers(self, member: int, link: bytes) -> tuple[bytes, ...]:
        missing = self._plan.members - len(self.survivors)
        return opened(link, missing + 1, self._plan.layers, self._anchors[member])

    def opened(self) -> dict[int, tuple[bytes, ...]]:
        """Return the keys of the noise layers that survivors take back, each of its own."""
        return {member: self._open_layers(member, link) for member, link in self.links.items()}

    def deliver_shares(self, sharers: Set[int]) -> dict[int, bytes]:
        """Return for each sharer what its neighbours dealt to it."""
        self.sharers = frozenset(sharers)
        bits = members_to_bits(sharers, self._plan.members)
        return {
            member: encode_coordinator(Shares(self.number, bits, self._deals_to(member)))
            for member in sharers
        }

    def _deals_to(self, member: int) -> dict[int, bytes]:
        dealers = self._plan.holders(member).keys() & self.sharers
        return {dealer: self._shared[dealer].deals[member] for dealer in dealers}

    def announce_survivors(self, survivors: Set[int]) -> bytes:
        """Return the survivor set, the same bytes for everybody."""
        self.survivors = frozenset(survivors)
        rows = {
            member: self._digests[member] + self._anchors.get(member, b"") for member in survivors
        }
        self._consistency = consistency_of(self.number, rows, members=self._plan.members)
        kind = LayeredSurvivors if self._plan.layers else SurvivorSet
        return encode_coordinator(kind(self.number, rows))

    def deliver_signatures(self, member: int) -> bytes:
        """Return the signatures of a member's neighbours over the survivor set."""
        signers = self._plan.holders(member).keys() & self._signatures.keys()
        signatures = {signer: self._signatures[signer] for signer in signers}
        if self._plan.norm is not None:
            proofs = b"".join(self._proofs[signer] for signer in sorted(signers))
            return encode_coordinator(ProvenSignatures(self.number, signatures, proofs))
        return encode_coordinator(Signatures(self.number, signatures))

    def check_proved(self, signed: Set[int]) -> None:
        """Check, where norms are proved, that all survivors did it.

        Raises:
            TooFewSurvivors: An input is in the sum whose norm is not proved.
        """
        missing = self.survivors - signed
        if self._plan.norm is not None and missing:
            named = ", ".join(map(str, sorted(missing)))
            raise TooFewSurvivors(f"no sum: the norms of members {named} are not proved")

    @property
    def _norms(self) -> RoundNorms:
        if self._plan.norm is None:
            raise LocalProtocolError("no norms are proved in this session")
        return RoundNorms(self._plan.norm, self.context, self._consistency)

    def announce_sum(self, total: RingVector, checksum: bytes) -> bytes:
        """Return the sum with its checksum, the same bytes for all, with the links if any."""
        content = bytes(self._plan.ring.pack(total))
        if self._plan.layers:
            return encode_coordinator(LayeredSum(self.number, checksum, content, self.links))
        if self._plan.norm is not None:
            return encode_coordinator(ProvenSum(self.number, checksum, content, self._blinding))
        return encode_coordinator(RoundSum(self.number, checksum, content))

    def unmasked(self, threads: int) -> tuple[RingVector, bytes]:
        """Rebuild the secrets and removes the masks that do not cancel.

        Returns:
            The sum, shape [d], and the sum of the tags as bytes.

        Raises:
            TooFewSurvivors: Too few shares were revealed.
            RemoteProtocolError: A dealer's shares are good and its secret is not; or the sum is not
                that of the inputs whose norms were proved.
            DisputedPair: A dropout and a survivor promised different mask keys.
        """
        dropouts = self.sharers - self.survivors
        seeds = self._rebuilt(self.survivors, {h: u.seed_shares for h, u in self._unmasked.items()})
        keys = self._rebuilt(dropouts, {h: u.key_shares for h, u in self._unmasked.items()})
        self_keys = [self._self_key(member, seed) for member, seed in seeds.items()]
        pairwise = {
            (survivor, dropout): pair
            for dropout, secret in keys.items()
            for survivor, pair in self._pair_keys(dropout, secret).items()
        }
        masked = self._inputs.largest()
        unmask(masked.total, self_keys=self_keys, pairwise_keys=pairwise, threads=threads)
        total = self._plan.ring.reduce(masked.total)
        if self._plan.norm is not None:
            self._check_norms(total, self_keys)
        return total, self._unmasked_tag(masked, self_keys, pairwise)

    def _check_norms(self, total: RingVector, self_keys: Iterable[bytes]) -> None:
        masks: list[SignedMask] = [(key, 1) for key in self_keys]
        self._blinding = blinding_bytes(blinding_of(masks, self._consistency.inputs))
        # The members check it too; here it makes a replay fail, and says why.
        try:
            self._norms.check_sum(self._proofs, total, self._blinding)
        except ChecksumFailed as error:
            raise RemoteProtocolError(str(error)) from None

    def _unmasked_tag(
        self,
        masked: MaskedSum,
        self_keys: Iterable[bytes],
        pairwise: Mapping[tuple[int, int], bytes],
    ) -> bytes:
        masks: list[SignedMask] = [(key, -1) for key in self_keys]
        for (survivor, dropout), key in pairwise.items():
            masks.append((key, pairwise_sign(dropout, survivor)))
        return checksum_to_bytes(mask_checksum(masked.tag, masks, check=masked.check))

    def _rebuilt(self, dealers: Set[int], unmasked: Mapping[int, Rows]) -> dict[int, bytes]:
        return rebuild(self._plan, revealed_shares(sorted(dealers), unmasked))

    def _self_key(self, member: int, seed: bytes) -> bytes:
        commitment = seed_commitment(self.context, member, seed)
        if not hmac.compare_digest(commitment, self._shared[member].seed_commitment):
            raise RemoteProtocolError("the rebuilt seed is not the one committed to", member)
        return self_mask_key(seed, context=self.context, member=member)

    def _pair_keys(self, dropout: int, secret: bytes) -> dict[int, bytes]:
        survivors = [n for n in self._neighbours(dropout) if n in self.survivors]
        dealings = {member: self._dealing(member) for member in survivors}
        return self._recovery.pair_keys(self._dealing(dropout), secret, dealings)

    def _dealing(self, member: int) -> ShareDistribution:
        escrow, masking = self._shared[member].escrow, self._keys[member].masking
        return ShareDistribution(self.context, member, masking, self._neighbours(member), escrow)

    def _neighbours(self, member: int) -> tuple[int, ...]:
        return tuple(n for n in self._plan.neighbours(member) if n in self._keys)
