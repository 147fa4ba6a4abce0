"""What a file of a container image may not do, as rules over its instructions."""

import re
from collections.abc import Callable, Iterator

_SECRET = re.compile(r"(?i)(pass(word|phrase)?|secret|token|key|pin)\w*=")


def instructions(text: str) -> list[tuple[str, str]]:
    """Pairs of an instruction and its words; comments are gone, continued lines are one."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\s*\n", " ", "\n".join(lines))
    found = []
    for line in filter(str.strip, joined.splitlines()):
        word, _, rest = line.strip().partition(" ")
        found.append((word.upper(), rest.strip()))
    return found


def _unpinned(parts: list[tuple[str, str]]) -> Iterator[str]:
    """Every base is a digest, or an earlier stage; a variable is what its default is."""
    defaults = dict(words.split("=", 1) for word, words in parts if word == "ARG" and "=" in words)
    stages: set[str] = set()
    for word, words in parts:
        if word != "FROM":
            continue
        base, *more = words.split()
        variable = re.fullmatch(r"\$\{?(\w+)\}?", base)
        base = defaults.get(variable[1], "") if variable else base
        if base not in stages and not re.search(r"@sha256:[0-9a-f]{64}$", base):
            yield f"base is not pinned by a digest: {words}"
        if len(more) == 2:
            stages.add(more[1])


def _last_stage(parts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    last = max((n for n, (word, _) in enumerate(parts) if word == "FROM"), default=0)
    return parts[last:]


def _user(parts: list[tuple[str, str]]) -> Iterator[str]:
    users = [words for word, words in _last_stage(parts) if word == "USER"]
    # A number: Kubernetes cannot tell whether a name is root.
    if not users or not re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", users[-1]):
        yield "runs as root, or as a user without a number"


def _health(parts: list[tuple[str, str]]) -> Iterator[str]:
    checks = [words for word, words in _last_stage(parts) if word == "HEALTHCHECK"]
    if not checks or checks[-1].upper() == "NONE":
        yield "no health check"


def _entry(parts: list[tuple[str, str]]) -> Iterator[str]:
    entries = [words for word, words in _last_stage(parts) if word == "ENTRYPOINT"]
    if not entries or not entries[-1].startswith("["):
        yield "the entry point is a shell's, which passes no signal on"


def _added(parts: list[tuple[str, str]]) -> Iterator[str]:
    for word, words in parts:
        if word == "ADD":
            yield f"ADD fetches and unpacks: {words}"
        if word == "COPY" and words.split()[0] in {".", "./", "/"}:
            yield f"copies whatever lies beside it: {words}"


def _secrets(parts: list[tuple[str, str]]) -> Iterator[str]:
    for word, words in parts:
        if word in {"ENV", "ARG"} and _SECRET.search(words):
            yield f"a secret in a variable: {words.split('=')[0]}"


def _fetched(parts: list[tuple[str, str]]) -> Iterator[str]:
    for word, words in parts:
        if word != "RUN":
            continue
        if re.search(r"\b(curl|wget)\b", words):
            yield "fetches what no digest names"
        if re.search(r"pip3? install(?!.* -c constraints\.txt)", words):
            yield "installs packages without constraints"
        if re.search(r"\bsudo\b|chmod (-R )?777", words):
            yield "more rights than needed"


RULES: tuple[Callable[[list[tuple[str, str]]], Iterator[str]], ...] = (
    _unpinned,
    _user,
    _health,
    _entry,
    _added,
    _secrets,
    _fetched,
)


def lint(text: str) -> list[str]:
    """What is wrong with a Containerfile, in words."""
    parts = instructions(text)
    return [said for rule in RULES for said in rule(parts)]
