"""A member, after docs/specification/protocol.md, sections 6 to 8."""

from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from reference.basics import (
    CODES,
    NAMES,
    Checksum,
    Q,
    Refused,
    WrongSum,
    bits,
    body,
    committed_value,
    deal,
    dh,
    drawn_seed,
    inputs_digest,
    kdf,
    labelled,
    members_of,
    need,
    next_link,
    open_layers,
    pair_key,
    prg,
    public,
    seal,
    sign_of,
    signed_numbers,
    tag_mask,
    u32,
    unpack,
    unseal,
    vector_bytes,
    verify,
    words_in,
    words_of,
)


class Client:
    """One member in one session."""

    def __init__(self, setting, index, identity, entropy):
        self.setting, self.plan, self.index = setting, setting.plan, index
        self.identity = Ed25519PrivateKey.from_private_bytes(identity)
        self.entropy, self.state = entropy, "NEW"
        self.encryption, self.masking = entropy(32), entropy(32)
        self.heard, self.last, self.left = set(), -1, setting.plan.rounds
        self.secret = b""

    # Messages.

    def signed(self, name, ctx, data):
        domain = b"securefl/2/" + name
        statement = ctx + u32(self.index) + public(self.encryption) + sha256(data).digest()
        signature = self.identity.sign(bytes([len(domain)]) + domain + statement)
        return bytes([2, CODES[name][0]]) + u32(self.index) + signature + data

    def check(self, name, ctx, member, session_key, digest, signature):
        statement = ctx + u32(member) + session_key + digest
        verify(self.setting.identities[member], signature, name, statement)

    def start(self, number, model):
        self.opening = self.setting.context(number, model)
        keys = {"encryption": public(self.encryption), "masking": public(self.masking)}
        self.state = "ADVERTISED"
        if not self.plan.sparse:
            return self.signed(b"AdvertiseKeys", self.opening, body(b"AdvertiseKeys", **keys))
        self.value = kdf(self.encryption, b"draw value", self.opening)
        self.commitment = committed_value(self.opening, self.index, self.value)
        data = body(b"CommittedKeys", **keys, commitment=self.commitment)
        return self.signed(b"CommittedKeys", self.opening, data)

    def receive(self, data):
        """One message of the coordinator: what to send, and at the end the sum."""
        need(self.state != "ABORTED", "the session is over")
        if data in self.heard:
            return []
        try:
            answer = self.advance(data)
        except WrongSum:
            self.state = "READY"
            self.heard.add(data)
            raise
        except Refused:
            self.state = "ABORTED"
            raise
        self.heard.add(data)
        return answer

    def advance(self, data):
        need(len(data) <= self.plan.limit, "too long")
        need(data[:1] == b"\x02" and len(data) >= 2 and data[1] in NAMES, "no such message")
        name = NAMES[data[1]]
        layered = b"Layered" if self.plan.layers else b""
        due = {
            "ADVERTISED": b"CommittedKeyList" if self.plan.sparse else b"KeyList",
            "REVEALED": b"GraphDraw",
            "SHARED": b"Shares",
            "MASKED": b"LayeredSurvivors" if layered else b"SurvivorSet",
            "SIGNED": b"Signatures",
            "UNMASKED": b"LayeredSum" if layered else b"RoundSum",
        }
        need(due.get(self.state) == name, "not in this state")
        message = unpack(name, data[2:])
        if "round" in message:
            need(message["round"] == self.number, "of another round")
        steps = {
            "ADVERTISED": self.on_keys,
            "REVEALED": self.on_draw,
            "SHARED": self.on_shares,
            "MASKED": self.on_survivors,
            "SIGNED": self.on_signatures,
            "UNMASKED": self.on_sum,
        }
        return steps[self.state](message)

    # The opening.

    def on_keys(self, message):
        plan, rows = self.plan, message["keys"]
        self.cohort = members_of(message["cohort"], plan.members)
        need(self.index in self.cohort, "we are not in the cohort")
        need(len(self.cohort) >= plan.min_members, "a small cohort")
        need(rows.keys() == self.cohort, "keys of exactly the cohort")
        own = public(self.encryption) + public(self.masking)
        need(rows[self.index][:64] == own, "our own keys were changed")
        if plan.sparse:
            need(rows[self.index][128:] == self.commitment, "our own keys were changed")
        for member, row in rows.items():
            keys = {"encryption": row[:32], "masking": row[32:64]}
            name = b"CommittedKeys" if plan.sparse else b"AdvertiseKeys"
            more = {"commitment": row[128:]} if plan.sparse else {}
            digest = sha256(body(name, **keys, **more)).digest()
            self.check(name, self.opening, member, row[:32], digest, row[64:128])
        keys = [key for row in rows.values() for key in (row[:32], row[32:64])]
        need(len(set(keys)) == len(keys), "two keys are the same")
        self.rows = rows
        if not plan.sparse:
            return self.agree()
        dealer, boxes = min(self.cohort), {}
        if self.index == dealer:
            self.secret = kdf(self.encryption, b"checksum secret", self.opening)
            for member in sorted(self.cohort - {dealer}):
                key, bound = self.secret_box(dh(self.encryption, rows[member][:32]), member)
                boxes[member] = seal(key, self.entropy(12), bound, self.secret)
        self.state = "REVEALED"
        data = body(b"Reveal", value=self.value, boxes=boxes)
        return [self.signed(b"Reveal", self.opening, data)]

    def secret_box(self, shared, member):
        route = self.opening + u32(min(self.cohort)) + u32(member)
        return kdf(shared, b"checksum secret box", route), b"securefl/2/checksum secret box" + route

    def on_draw(self, message):
        seed, dealer = drawn_seed(self.opening, self.rows, message["values"]), min(self.cohort)
        need(len(message["box"]) == (0 if self.index == dealer else 60), "no box for the dealer")
        if self.index != dealer:
            key, bound = self.secret_box(dh(self.encryption, self.rows[dealer][:32]), self.index)
            self.secret = unseal(key, bound, message["box"])
        self.plan = self.plan.with_seed(seed)
        return self.agree()

    def agree(self):
        plan = self.plan
        self.held = plan.holders(self.index)
        need(len(self.held.keys() & self.cohort) >= plan.threshold, "too few neighbours")
        self.peers = [j for j in plan.neighbours(self.index) if j in self.cohort]
        self.boxes = {j: dh(self.encryption, self.rows[j][:32]) for j in self.peers}
        self.pairs = {j: dh(self.masking, self.rows[j][32:64]) for j in self.peers}
        self.state = "READY"
        return []

    # A round.

    def begin_round(self, number, model, numbers, link=None, only=None):
        """Enter a round with an input of signed integers."""
        plan, entropy, me = self.plan, self.entropy, u32(self.index)
        assert self.state in {"READY", "SHARED", "MASKED", "SIGNED", "UNMASKED"}
        assert number > self.last
        assert self.left > 0
        assert len(numbers) == plan.dimension
        assert all(abs(x) <= plan.largest_input for x in numbers)
        self.number = self.last = number
        self.left -= 1
        self.only = only
        self.ctx = self.setting.context(number, model, plan)
        self.numbers, self.link = numbers, link
        self.keys = {j: pair_key(s, self.ctx, self.index, j) for j, s in self.pairs.items()}
        self.seed = entropy(32)
        secret, escrow = self.masking, b""
        if plan.rounds > 1:
            secret, nonce = entropy(32), entropy(12)
            bound = self.ctx + me
            plain = b"".join(self.keys[j] for j in self.peers)
            checks = b"".join(
                labelled(b"pair key check", self.ctx, self.keys[j])[:16] for j in self.peers
            )
            box = seal(kdf(secret, b"escrow box", bound), nonce, bound, plain)
            escrow = labelled(b"escrow commitment", bound, secret) + box + checks
        shares = deal([self.seed, secret], len(self.held), plan.threshold, entropy)
        contribution = bytes(32) if plan.sparse else entropy(32)
        deals = {}
        for holder in sorted(self.held.keys() & self.cohort):
            seed_share, key_share = shares[self.held[holder] - 1]
            route = self.ctx + me + u32(holder)
            row = labelled(b"seed share commitment", route, seed_share)
            row += labelled(b"key share commitment", route, key_share)
            plain = seed_share + key_share + contribution
            if holder == self.index:
                self.kept, box = plain, bytes(132)
                self.own_row = row + box
            else:
                key = kdf(self.boxes[holder], b"share box", route)
                box = seal(key, entropy(12), b"securefl/2/share box" + route, plain)
            deals[holder] = row + box
        commitment = labelled(b"seed commitment", self.ctx, me, self.seed)
        data = body(
            b"ShareKeys", round=number, seed_commitment=commitment, escrow=escrow, deals=deals
        )
        self.state = "SHARED"
        return self.signed(b"ShareKeys", self.ctx, data)

    def on_shares(self, message):
        plan, deals = self.plan, message["deals"]
        self.sharers = members_of(message["cohort"], plan.members)
        need(self.sharers <= self.cohort, "a sharer without keys")
        need(self.index in self.sharers, "our shares were lost")
        need(len(self.sharers) >= plan.min_members, "few sharers")
        need(deals.keys() == self.held.keys() & self.sharers, "not the deals of our neighbours")
        need(len(deals) >= plan.threshold, "few neighbours share")
        self.dealt = {dealer: self.open(dealer, row) for dealer, row in deals.items()}
        return [self.masked_input()]

    def open(self, dealer, row):
        if dealer == self.index:
            need(row == self.own_row, "our own deal was changed")
            return self.kept
        route = self.ctx + u32(dealer) + u32(self.index)
        key = kdf(self.boxes[dealer], b"share box", route)
        plain = unseal(key, b"securefl/2/share box" + route, row[64:])
        need(len(plain) == 104, "a box of another length")
        commitments = labelled(b"seed share commitment", route, plain[:36])
        commitments += labelled(b"key share commitment", route, plain[36:72])
        need(commitments == row[:64], "a share that was not committed to")
        words_of(plain[:36])
        words_of(plain[36:72])
        return plain

    def masked_input(self):
        plan = self.plan
        width, modulus = plan.bits, 1 << plan.bits
        masks = [(kdf(self.seed, b"self mask", self.ctx + u32(self.index)), 1)]
        masks += [(k, sign_of(self.index, j)) for j, k in self.keys.items() if j in self.sharers]
        contributions = {dealer: plain[72:] for dealer, plain in self.dealt.items()}
        if plan.sparse:
            contributions = {min(self.cohort): self.secret}
        self.checksum = Checksum(self.ctx, contributions)
        tag = self.checksum.tag(self.index, self.numbers)
        tag += sum(sign * tag_mask(key, self.checksum.check) for key, sign in masks)
        words = [x % modulus for x in self.numbers]
        for key, sign in masks:
            stream = prg(key, plan.dimension, width)
            words = [(w + sign * m) % modulus for w, m in zip(words, stream, strict=True)]
        name, more = b"MaskedInput", {}
        if plan.layers:
            self.links = [self.link]
            for layer in range(plan.layers + 1):
                self.links.append(next_link(self.links[-1], layer))
            name, more = b"LayeredInput", {"anchor": self.links[-1]}
        data = body(
            name,
            round=self.number,
            tag_check=self.checksum.check,
            tag=(tag % Q).to_bytes(12, "big"),
            vector=vector_bytes(words, width),
            **more,
        )
        self.own_input = sha256(data).digest() + more.get("anchor", b"")
        self.state = "MASKED"
        return self.signed(name, self.ctx, data)

    def on_survivors(self, message):
        plan, rows = self.plan, message["survivors"]
        need(rows.keys() <= self.sharers, "a survivor that did not share")
        need(self.index in rows, "we are left out")
        need(rows[self.index] == self.own_input, "our masked input was changed")
        need(len(rows) >= plan.min_members, "few survivors")
        need(len(rows.keys() & self.held.keys()) >= plan.threshold, "few neighbours survive")
        need(self.only is None or rows.keys() == self.only, "a repeat with other survivors")
        self.survivors = rows
        data = body(
            b"Consistency",
            round=self.number,
            survivors=bits(rows, plan.members),
            inputs=inputs_digest(rows),
        )
        self.agreed = sha256(data).digest()
        self.state = "SIGNED"
        return [self.signed(b"Consistency", self.ctx, data)]

    def on_signatures(self, message):
        plan, rows = self.plan, message["signatures"]
        need(rows.keys() <= self.survivors.keys() & self.held.keys(), "no surviving neighbour")
        need(len(rows) >= plan.threshold, "few signatures")
        for member, signature in rows.items():
            key = self.rows[member][:32]
            self.check(b"Consistency", self.ctx, member, key, self.agreed, signature)
        alive = self.survivors.keys()
        shares = {
            "seed_shares": {d: p[:36] for d, p in self.dealt.items() if d in alive},
            "key_shares": {d: p[36:72] for d, p in self.dealt.items() if d not in alive},
        }
        self.dealt, self.signers, name, more = {}, set(rows), b"Unmask", {}
        if plan.layers:
            link = self.links[self.missing + 1]
            name, more = b"LayeredUnmask", {"link": link if self.missing < plan.layers else b""}
        self.state = "UNMASKED"
        return [self.signed(name, self.ctx, body(name, round=self.number, **shares, **more))]

    @property
    def missing(self):
        return self.plan.members - len(self.survivors)

    def on_sum(self, message):
        plan = self.plan
        need(len(message["total"]) == plan.dimension * plan.bits // 8, "another length")
        links = message.get("links", {})
        need(links.keys() <= self.signers, "a link of a member that did not sign")
        opened = {
            member: open_layers(link, self.missing + 1, plan.layers, self.survivors[member][32:])
            for member, link in links.items()
        }
        total, tag = words_in(message["total"], plan.bits), int.from_bytes(message["tag"], "big")
        need(tag < Q, "a tag is below q")
        numbers = signed_numbers(total, plan.bits)
        pads = sum(self.checksum.pad(member) for member in self.survivors)
        if (tag - pads - self.checksum.weigh(numbers)) % Q:
            raise WrongSum(set(self.survivors))
        self.state = "READY"
        return [("sum", self.number, numbers, sorted(self.survivors), opened)]
