"""The coordinator, after docs/specification/protocol.md, sections 6 to 8."""

from hashlib import sha256

from reference.basics import (
    CODES,
    NAMES,
    Q,
    Refused,
    bits,
    body,
    committed_value,
    dh,
    drawn_seed,
    inputs_digest,
    kdf,
    labelled,
    need,
    open_layers,
    pair_key,
    prg,
    public,
    rebuild,
    sign_of,
    signed_numbers,
    tag_mask,
    u32,
    unpack,
    unseal,
    vector_bytes,
    verify,
    words_in,
)

STEPS = ["ADVERTISE", "REVEAL", "SHARE", "MASK", "CONSISTENCY", "UNMASK"]


class NoSum(Exception):
    """The round is over without a sum."""


class Server:
    """The coordinator of one session. It has no secrets."""

    def __init__(self, setting, number, model):
        self.setting, self.plan = setting, setting.plan
        self.opening = self.ctx = setting.context(number, model)
        self.step, self.expected = "ADVERTISE", set(range(setting.plan.members))
        self.banned, self.taken = set(), {"ADVERTISE": {}}
        self.bytes = {"ADVERTISE": {}}
        self.left = setting.plan.rounds

    def begin_round(self, number, model, only=None):
        assert self.step == "IDLE"
        self.number, self.only = number, only
        self.ctx = self.setting.context(number, model, self.plan)
        self.left -= 1
        self.enter("SHARE", set(self.rows))

    def enter(self, step, members):
        self.step, self.expected = step, members - self.banned
        self.taken[step], self.bytes[step] = {}, {}

    def receive(self, sender, data):
        """Take one message; False where its sender is left out."""
        if sender in self.banned:
            return False
        if any(messages.get(sender) == data for messages in self.bytes.values()):
            return True
        try:
            self.take(sender, data)
        except Refused:
            self.banned.add(sender)
            self.expected.discard(sender)
            return False
        return True

    def take(self, sender, data):
        plan = self.plan
        need(70 <= len(data) <= plan.limit and data[0] == 2, "no message")
        need(NAMES.get(data[1], b"KeyList") and data[1] < 64, "no message of a member")
        name, content = NAMES[data[1]], data[70:]
        need(data[2:6] == u32(sender), "another sender")
        message = unpack(name, content)
        layered = b"Layered" if plan.layers else b""
        due = {
            "ADVERTISE": b"CommittedKeys" if plan.sparse else b"AdvertiseKeys",
            "REVEAL": b"Reveal",
            "SHARE": b"ShareKeys",
            "MASK": b"LayeredInput" if layered else b"MaskedInput",
            "CONSISTENCY": b"Consistency",
            "UNMASK": b"LayeredUnmask" if layered else b"Unmask",
        }
        need(due.get(self.step) == name, "not in this step")
        need(message.get("round", 0) == (self.number if "round" in message else 0), "round")
        need(sender in self.expected and sender not in self.taken[self.step], "not expected")
        key = message["encryption"] if self.step == "ADVERTISE" else self.rows[sender][:32]
        statement = self.ctx + u32(sender) + key + sha256(content).digest()
        verify(self.setting.identities[sender], data[6:70], name, statement)
        getattr(self, f"take_{self.step.lower()}")(sender, message, content)
        self.taken[self.step][sender] = message | {"signature": data[6:70]}
        self.bytes[self.step][sender] = data

    def take_advertise(self, sender, message, _):
        keys = {message["encryption"], message["masking"]}
        known = {m[k] for m in self.taken["ADVERTISE"].values() for k in ("encryption", "masking")}
        need(len(keys) == 2 and not keys & known, "keys that are not new")
        for key in keys:
            dh(bytes(31) + b"\x40", key)

    def take_reveal(self, sender, message, _):
        others = self.rows.keys() - {sender} if sender == min(self.rows) else set()
        need(message["boxes"].keys() == others, "boxes of the dealer alone")
        expected = committed_value(self.opening, sender, message["value"])
        need(self.rows[sender][128:] == expected, "another value")

    def neighbours(self, member):
        return [j for j in self.plan.neighbours(member) if j in self.rows]

    def take_share(self, sender, message, _):
        holders = self.plan.holders(sender).keys() & self.rows.keys()
        need(message["deals"].keys() == holders, "deals to the holders")
        if sender in holders:
            need(message["deals"][sender][64:] == bytes(132), "nothing is sealed to oneself")
        length = 60 + 48 * len(self.neighbours(sender)) if self.plan.rounds > 1 else 0
        need(len(message["escrow"]) == length, "an escrow of another length")

    def take_mask(self, sender, message, content):
        need(len(message["vector"]) == self.plan.dimension * self.plan.bits // 8, "length")
        need(int.from_bytes(message["tag"], "big") < Q, "a tag is below q")
        message["row"] = sha256(content).digest() + message.get("anchor", b"")

    def take_consistency(self, sender, message, content):
        need(content == self.agreed, "other survivors")

    def take_unmask(self, sender, message, _):
        held = self.plan.holders(sender).keys() & self.sharers
        need(message["seed_shares"].keys() == held & self.survivors, "seed shares")
        need(message["key_shares"].keys() == held - self.survivors, "key shares")
        for field, label, at in (
            ("seed_shares", b"seed share commitment", 0),
            ("key_shares", b"key share commitment", 32),
        ):
            for dealer, share in message[field].items():
                route = self.ctx + u32(dealer) + u32(sender)
                row = self.taken["SHARE"][dealer]["deals"][sender]
                need(labelled(label, route, share) == row[at : at + 32], "another share")
        if message.get("link"):
            self.layers_of(sender, message["link"])

    def layers_of(self, member, link):
        anchor, missing = self.taken["MASK"][member]["anchor"], self.plan.members
        first = missing - len(self.survivors) + 1
        return open_layers(link, first, self.plan.layers, anchor)

    # The ends of the steps.

    def end_step(self):
        answered = set(self.taken[self.step])
        try:
            return getattr(self, f"end_{self.step.lower()}")(answered)
        except NoSum:
            opening = self.step in {"ADVERTISE", "REVEAL"}
            self.step = "CLOSED" if opening or not self.left else "IDLE"
            raise

    def enough(self, left, owners, least=True):
        if least and len(left) < self.plan.min_members:
            raise NoSum("few members")
        for owner in owners:
            if len(self.plan.holders(owner).keys() & left) < self.plan.threshold:
                raise NoSum("few holders")

    def end_advertise(self, cohort):
        self.enough(cohort, set() if self.plan.sparse else cohort)
        self.rows = {
            member: m["encryption"] + m["masking"] + m["signature"] + m.get("commitment", b"")
            for member, m in self.taken["ADVERTISE"].items()
        }
        name = b"CommittedKeyList" if self.plan.sparse else b"KeyList"
        if self.plan.sparse:
            self.enter("REVEAL", cohort)
        else:
            self.step = "IDLE"
        return self.told(cohort, name, cohort=bits(cohort, self.plan.members), keys=self.rows)

    def end_reveal(self, revealed):
        if revealed != self.rows.keys():
            raise NoSum("a value is missing")
        values = {member: m["value"] for member, m in self.taken["REVEAL"].items()}
        boxes = self.taken["REVEAL"][min(self.rows)]["boxes"]
        self.plan = self.plan.with_seed(drawn_seed(self.opening, self.rows, values))
        self.enough(revealed, revealed)
        self.step = "IDLE"
        return {
            member: self.told([member], b"GraphDraw", values=values, box=boxes.get(member, b""))[
                member
            ]
            for member in revealed
        }

    def told(self, members, name, **fields):
        data = bytes([2, CODES[name][0]]) + body(name, **fields)
        return dict.fromkeys(members, data)

    def end_share(self, sharers):
        self.enough(sharers, sharers)
        self.sharers, told = sharers, {}
        for member in sharers:
            dealers = self.plan.holders(member).keys() & sharers
            told |= self.told(
                [member],
                b"Shares",
                round=self.number,
                cohort=bits(sharers, self.plan.members),
                deals={d: self.taken["SHARE"][d]["deals"][member] for d in dealers},
            )
        self.enter("MASK", sharers)
        return told

    def end_mask(self, answered):
        groups = {}
        for member in answered:
            check = self.taken["MASK"][member]["tag_check"]
            groups.setdefault(check, set()).add(member)
        largest = max(groups.values(), key=lambda g: (len(g), -min(g)), default=set())
        self.survivors = largest
        self.enough(largest, self.sharers)
        if self.only is not None and largest != self.only:
            raise NoSum("a repeat with other survivors")
        rows = {member: self.taken["MASK"][member]["row"] for member in largest}
        self.agreed = body(
            b"Consistency",
            round=self.number,
            survivors=bits(largest, self.plan.members),
            inputs=inputs_digest(rows),
        )
        self.enter("CONSISTENCY", largest)
        name = b"LayeredSurvivors" if self.plan.layers else b"SurvivorSet"
        return self.told(largest, name, round=self.number, survivors=rows)

    def end_consistency(self, signed):
        self.enough(signed, self.sharers, least=False)
        told = {}
        for member in signed:
            signers = self.plan.holders(member).keys() & signed
            rows = {s: self.taken["CONSISTENCY"][s]["signature"] for s in signers}
            told |= self.told([member], b"Signatures", round=self.number, signatures=rows)
        self.enter("UNMASK", signed)
        return told

    def end_unmask(self, answered):
        self.enough(answered, self.sharers, least=False)
        plan, width, modulus = self.plan, self.plan.bits, 1 << self.plan.bits
        inputs = {m: self.taken["MASK"][m] for m in self.survivors}
        columns = [words_in(m["vector"], width) for m in inputs.values()]
        total = [sum(column) % modulus for column in zip(*columns, strict=True)]
        tag = sum(int.from_bytes(m["tag"], "big") for m in inputs.values())
        check = next(iter(inputs.values()))["tag_check"]
        for key, sign in self.masks_left():
            stream = prg(key, plan.dimension, width)
            total = [(w + sign * m) % modulus for w, m in zip(total, stream, strict=True)]
            tag += sign * tag_mask(key, check)
        links = {m: u["link"] for m, u in self.taken["UNMASK"].items() if u.get("link")}
        self.sum = signed_numbers(total, width)
        self.step = "IDLE" if self.left else "CLOSED"
        name, more = (b"LayeredSum", {"links": links}) if plan.layers else (b"RoundSum", {})
        return self.told(
            answered,
            name,
            round=self.number,
            tag=(tag % Q).to_bytes(12, "big"),
            total=vector_bytes(total, width),
            **more,
        )

    def masks_left(self):
        """Every mask that does not cancel, with the sign that removes it."""
        masks = []
        for member in sorted(self.survivors):
            seed = self.rebuilt(member, "seed_shares")
            promised = self.taken["SHARE"][member]["seed_commitment"]
            need(
                labelled(b"seed commitment", self.ctx, u32(member), seed) == promised,
                "another seed",
            )
            masks.append((kdf(seed, b"self mask", self.ctx + u32(member)), -1))
        for dropout in sorted(self.sharers - self.survivors):
            keys = self.pair_keys(dropout, self.rebuilt(dropout, "key_shares"))
            masks += [(key, sign_of(dropout, survivor)) for survivor, key in keys.items()]
        return masks

    def rebuilt(self, dealer, field):
        holders = self.plan.holders(dealer)
        shares = {
            holders[m]: u[field][dealer]
            for m, u in self.taken["UNMASK"].items()
            if dealer in u[field]
        }
        return rebuild({x: shares[x] for x in sorted(shares)[: self.plan.threshold]})

    def pair_keys(self, dropout, secret):
        """The dropout's mask key with each surviving neighbour."""
        peers = self.neighbours(dropout)
        alive = [j for j in peers if j in self.survivors]
        if self.plan.rounds == 1:
            need(public(secret) == self.rows[dropout][32:64], "another key")
            return {
                j: pair_key(dh(secret, self.rows[j][32:64]), self.ctx, dropout, j) for j in alive
            }
        escrow, bound = self.taken["SHARE"][dropout]["escrow"], self.ctx + u32(dropout)
        need(labelled(b"escrow commitment", bound, secret) == escrow[:32], "another key")
        box = escrow[32 : 60 + 32 * len(peers)]
        plain = unseal(kdf(secret, b"escrow box", bound), bound, box)
        keys = {j: plain[32 * i : 32 * i + 32] for i, j in enumerate(peers)}
        for j in alive:
            theirs = self.neighbours(j)
            checks = self.taken["SHARE"][j]["escrow"][60 + 32 * len(theirs) :]
            at = 16 * theirs.index(dropout)
            found = labelled(b"pair key check", self.ctx, keys[j])[:16]
            need(checks[at : at + 16] == found, "a disputed key")
        return {j: keys[j] for j in alive}


__all__ = ["NoSum", "Server", "vector_bytes"]
