"""The page: complete in itself, safe against names, readable for everybody."""

import dataclasses
import itertools
import re
from html.parser import HTMLParser

import pytest

from securefl.audit.report.page import assemble, render
from support.hostile_text import HOSTILE, laced, unseen

VOID = {"meta", "link", "br", "img", "input", "hr", "path", "use", "rect"}


class Outline(HTMLParser):
    """Tags in order, and whether they nest."""

    def __init__(self):
        super().__init__()
        self.open = []
        self.found = []
        self.badly_nested = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.badly_nested.append(tag)


@pytest.fixture
def outline(page):
    parser = Outline()
    parser.feed(page)
    return parser


def test_every_element_is_closed_where_it_was_opened(outline):
    assert not outline.badly_nested
    assert not outline.open


def test_nothing_is_loaded_and_nothing_runs(page, outline):
    tags = {tag for tag, _ in outline.found}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed"}
    for tag, attributes in outline.found:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("href", "src", "xlink:href"):
            assert attributes.get(name, "#").startswith("#"), (tag, attributes)
    loaded = [url for url in re.findall(r"url\(([^)]*)\)", page) if not url.startswith("#")]
    assert not loaded


def test_a_retailer_whose_name_is_markup_stays_text(page):
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_landmarks_headings_and_names(outline):
    tags = [tag for tag, _ in outline.found]
    assert [tags.count(tag) for tag in ("header", "main", "footer", "nav", "h1")] == [1] * 5
    levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    ids = [attributes["id"] for _, attributes in outline.found if "id" in attributes]
    for tag, attributes in outline.found:
        if tag == "section":
            assert attributes["aria-labelledby"] in ids
        if tag == "figure":
            assert len(attributes["aria-label"]) > 20
        if tag == "th":
            assert attributes["scope"] in {"col", "row"}
        if tag == "a":
            assert attributes["href"][1:] in ids


def test_ids_are_given_once(outline):
    ids = [attributes["id"] for _, attributes in outline.found if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_pictures_take_their_colours_from_the_page(page):
    drawn = "".join(re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL))
    assert "var(--series-1)" in drawn
    assert not re.findall(r"#0[0-9]0[0-9]0[0-9]\b", drawn)


def test_the_same_run_gives_the_same_page(page, render_again):
    assert render_again() == page


def _luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(first, second):
    """WCAG 2.2, definition of contrast ratio."""
    low, high = sorted((_luminance(first), _luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1, 2], ids=["light", "dark", "print"])
def test_text_and_marks_stand_out_in_every_scheme(page, scheme):
    blocks = re.findall(r":root \{(.*?)\}", page, flags=re.DOTALL)
    assert len(blocks) == 3
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[scheme]))
    for ground in (colours["paper"], colours["panel"]):
        for name in ("ink", "muted", "accent", "good", "warn", "bad"):
            assert _contrast(colours[name], ground) >= 4.5, name
        for number in range(1, 7):
            assert _contrast(colours[f"series-{number}"], ground) >= 2.9, number


def test_the_worst_verdict_is_said_in_words(page):
    assert "provably wrong" in page
    for words in ("✓ pass", "! doubtful", "✗ fail"):
        assert words in page
    assert "because &lt;b&gt;fail&lt;/b&gt;" in page


def test_a_run_without_a_ledger_or_a_budget_says_so(result, records):
    page = render(assemble(result(private=False), records, None))
    assert "wrote no ledger" in page
    assert "Nothing was done for it in this run" in page


def test_what_the_protection_costs_is_shown_beside(result, records):
    page = render(assemble(result(), records, None, result(private=False)))
    assert "What the protection costs" in page
    assert "secure, ε = 2.00" in page
    assert "secure, no differential privacy" in page


def test_no_hostile_name_acts_on_the_page(result, records, proof):
    """No escape, no markup, no formula and no line break of a name: in cells, charts and labels."""
    names = {"north": HOSTILE, "south": f"{HOSTILE}2"}
    run = result()
    members = tuple(
        dataclasses.replace(member, name=name)
        for member, name in zip(run.members, names.values(), strict=True)
    )
    private = tuple(
        dataclasses.replace(member, name=name)
        for member, name in zip(run.privacy.members, names.values(), strict=True)
    )
    privacy = dataclasses.replace(run.privacy, members=private)
    changed = dataclasses.replace(run, members=members, privacy=privacy, run_dir=HOSTILE)
    rounds = [
        dataclasses.replace(r, cohort=tuple(names.values()), survivors=tuple(names.values()))
        for r in records
    ]
    audit = laced(proof.audit, keep={"verdict"})
    paths = {name: [(1, 1.0), (3, 2.0)] for name in names.values()}
    page = render(assemble(changed, rounds, dataclasses.replace(proof, audit=audit, paths=paths)))
    assert not unseen(page)
    assert "<b>" not in page
    assert "Verdict  PASS\n" not in page
    assert r"x\x1b[2K\x1b[1A[bold red]\u202egnp" in page
    parser = Outline()
    parser.feed(page)
    assert not parser.badly_nested
