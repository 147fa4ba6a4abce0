"""Fragments of the changelog are of a section, and become part of it."""

import importlib.util

import pytest

from support.paths import ROOT


@pytest.fixture(scope="module")
def tool():
    place = ROOT / "packaging" / "changelog.py"
    spec = importlib.util.spec_from_file_location("changelog_tool", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_fragment_is_of_a_section(tool):
    assert set(tool.fragments(ROOT / "changes")) <= set(tool.SECTIONS)


def test_fragment_of_no_section_is_refused(tool, tmp_path):
    (tmp_path / "masks.better.md").write_text("Better.\n")
    with pytest.raises(ValueError, match=r"masks\.better\.md"):
        tool.fragments(tmp_path)


def test_fragments_stand_first_under_unreleased(tool, tmp_path):
    """In the order of the sections, one paragraph an item, lists as they are."""
    (tmp_path / "b.fixed.md").write_text("One\nthing.\n")
    (tmp_path / "a.added.md").write_text("- Two.\n- Three.\n")
    text = tool.collected("# Changelog\n\n## Unreleased\n\n## 1\n", tool.fragments(tmp_path))
    added, fixed = "\n### Added\n\n- Two.\n- Three.\n", "\n### Fixed\n\n- One\n  thing.\n"
    assert text == f"# Changelog\n\n## Unreleased\n{added}{fixed}\n## 1\n"
