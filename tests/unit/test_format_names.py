"""Names that stand in files, messages and signatures do not follow the names of classes."""

import pkgutil
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import fields
from importlib import import_module

import pytest

import securefl
import securefl_cli
from securefl.config.task_registry import TASKS, declaration
from securefl.errors import SecureflError
from securefl.federation.member.refusing import RefusingMember
from securefl.federation.messages import decode
from securefl.federation.messages.base import MessageError
from securefl.federation.services.facts_file import open_facts
from securefl.federation.services.public_facts import make_facts
from securefl.federation.transport.exchange import _INPUT_ERRORS
from securefl.tasks.common.facts_tree import format_name
from securefl.tasks.recommendation.rating_task import RatingFacts
from securefl_protocols.wire.kinds import COORDINATOR_MESSAGES, MEMBER_MESSAGES
from securefl_protocols.wire.messages import MaskedInput
from securefl_protocols.wire.signed_statements import signature_domain

ERRORS = {
    "AbortedError",
    "AgreementError",
    "BadPartError",
    "MissingExtraError",
    "OtherRunError",
    "TooLargeError",
    "BundleError",
    "ConfigError",
    "DataChangedError",
    "DataError",
    "DatabaseError",
    "DeadlineExceeded",
    "EngineError",
    "ForkError",
    "InputError",
    "KeyFileError",
    "LedgerError",
    "LogError",
    "MemberFailedError",
    "MemberInputError",
    "MessageError",
    "NotMetError",
    "NoteError",
    "RefusedError",
    "RefusedQuestionError",
    "RejectedModelError",
    "RejectedSumError",
    "RoundFailedError",
    "RunDirectoryError",
    "SecureflError",
    "StaleStateError",
    "StorageFullError",
    "TimeLimitError",
    "UndefinedEpsilonError",
    "UnwritableError",
    "UnwrittenError",
    "UnsupportedEventError",
    "UnsupportedLayerError",
    "UnverifiedModelError",
    "UnverifiedRoundError",
}
FACTS = {
    "BlendFacts": ("products", "levels", "end", "parts"),
    "ChurnFacts": ("begin", "end", "products", "category", "event_products"),
    "DemandFacts": ("steps", "words", "members", "promotions"),
    "EaseFacts": ("products", "levels", "end", "rows"),
    "FeatureFacts": ("products", "levels", "end", "features"),
    "PricingFacts": ("weeks", "words", "members"),
    "PricedFacts": ("weeks", "words", "members", "prices"),
    "RankingFacts": ("products", "levels", "end"),
    "RatingFacts": ("customers", "products"),
    "TransferFacts": ("products", "levels", "end", "features", "target"),
    "Vocabulary": ("keys", "products", "index"),
}
MESSAGES = {
    1: "AdvertiseKeys",
    2: "ShareKeys",
    3: "MaskedInput",
    4: "Consistency",
    5: "Unmask",
    6: "LayeredInput",
    7: "LayeredUnmask",
    10: "ProvenConsistency",
    74: "ProvenSignatures",
    75: "ProvenSum",
    8: "CommittedKeys",
    9: "Reveal",
    65: "KeyList",
    66: "Shares",
    67: "SurvivorSet",
    68: "Signatures",
    69: "RoundSum",
    70: "LayeredSurvivors",
    71: "LayeredSum",
    72: "CommittedKeyList",
    73: "GraphDraw",
}


def facts_classes():
    places = {place for task in TASKS for place in declaration(task).facts}
    return [getattr(import_module(place.split(":")[0]), place.split(":")[1]) for place in places]


def error_classes():
    for package in (securefl, securefl_cli):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):  # which would run
                # Flower is in an environment of its own.
                with suppress(ModuleNotFoundError) if ".flower" in module.name else nullcontext():
                    import_module(module.name)
    known, new = set(), [SecureflError]
    while new:
        known |= set(new)
        new = [child for kind in new for child in kind.__subclasses__() if child not in known]
    return {kind for kind in known if kind.__module__.startswith("securefl")}


def test_every_error_has_its_own_wire_name():
    """An inherited name would make two errors one on the wire."""
    named = [vars(kind).get("wire_name") for kind in error_classes()]
    assert None not in named, [k for k in error_classes() if "wire_name" not in vars(k)]
    assert sorted(named) == sorted(ERRORS)
    assert {
        "ConfigError",
        "DataError",
        "DatabaseError",
        "InputError",
        "RunDirectoryError",
        "StorageFullError",
        "UnwritableError",
        "UnwrittenError",
    } == _INPUT_ERRORS


def test_every_facts_class_has_its_own_format_name():
    """Names and parts are in the facts file, whose digest names the run."""
    found = {format_name(kind): tuple(f.name for f in fields(kind)) for kind in facts_classes()}
    assert found == FACTS


def test_facts_without_a_name_are_refused():
    """A subclass does not pass for its parent."""

    class Sub(RatingFacts):
        pass

    with pytest.raises(TypeError, match="Sub has no format_name of its own"):
        format_name(Sub)


def test_every_protocol_message_has_its_own_name():
    """The name is part of the domain of a signature."""
    kinds = MEMBER_MESSAGES | COORDINATOR_MESSAGES
    assert {code: vars(kind).get("NAME") for code, kind in kinds.items()} == MESSAGES


@contextmanager
def renamed(kind):
    """A class under another name, as after a move or a clean-up."""
    name = kind.__name__
    kind.__name__ = kind.__qualname__ = "Renamed"
    try:
        yield
    finally:
        kind.__name__ = kind.__qualname__ = name


def test_facts_of_a_renamed_class_are_the_same(tmp_path, small_config):
    """Byte for byte, under the digest that names the run; and they are read again."""
    config = small_config("ratings")
    before = make_facts(config, tmp_path / "before.facts")
    with renamed(RatingFacts):
        after = make_facts(config, tmp_path / "after.facts")
        assert isinstance(open_facts(tmp_path / "before.facts").content, RatingFacts)
    assert b"RatingFacts" in (tmp_path / "after.facts").read_bytes()
    assert after.digest == before.digest


def test_failure_of_a_renamed_error_is_the_same():
    """The coordinator learns the error's name and not that of its class."""
    member = RefusingMember(ledger=None, refusal=None)
    with renamed(MessageError):
        (reply,) = member.handle(b"no message")
    assert decode(reply).error == "MessageError"


def test_signature_domain_of_a_renamed_message_is_the_same():
    """Members with a renamed class verify what others signed."""
    with renamed(MaskedInput):
        assert signature_domain(MaskedInput) == b"securefl/2/MaskedInput"
