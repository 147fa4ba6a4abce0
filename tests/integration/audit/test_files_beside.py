"""Transcripts beside a bundle, each small enough: refused unread where they are too many."""

import os
from pathlib import Path

import pytest

from securefl.audit.bundle import transcripts
from securefl.audit.bundle.bundle import TranscriptFile
from securefl.audit.bundle.case import AuditContext, Log
from securefl.audit.bundle.transcripts import read_transcript
from securefl_protocols.primitives.errors import RemoteProtocolError
from support.bundle_scenario import NOW, honest


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """A bundle that names files, none of which may be read."""
    bundle = honest(rounds=1, members=3, private=False, masked=False).seal()

    def refuse(path: Path, *_, **__):
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr(transcripts, "read_bytes", refuse)

    def case(*names):
        files = [
            TranscriptFile(round=number, digest="00" * 32, file=name)
            for number, name in enumerate(names, 1)
        ]
        named = bundle.model_copy(update={"transcripts": tuple(files)})
        return AuditContext(Log(named), NOW, tmp_path), files[0]

    return case


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_two_names_of_one_file_are_refused(beside, tmp_path, link):
    (tmp_path / "a").write_bytes(b"x")
    link(tmp_path / "a", tmp_path / "b")
    with pytest.raises(RemoteProtocolError, match="lead to one file"):
        read_transcript(*beside("a", "b"))


def test_sparse_files_have_a_largest_total(beside, tmp_path):
    """65 of the largest that a single one may be; they take no room on the disk."""
    names = [f"t{number}" for number in range(65)]
    for name in names:
        with (tmp_path / name).open("wb") as file:
            file.truncate(1 << 30)
    with pytest.raises(RemoteProtocolError, match="64 GiB together"):
        read_transcript(*beside(*names))


def test_files_within_the_limits_are_read(beside, tmp_path):
    """The control: nothing else keeps a transcript from being read."""
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(AssertionError, match="a was read"):
        read_transcript(*beside("a", "b"))
