"""Signatures and indexes of an archive."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from guesthouse.errors import ImageError, UserError
from guesthouse.images.archive import KEYRING, Archive, binary_key
from guesthouse.images.catalogue import Catalogue
from guesthouse.images.sources import Source

GPG = shutil.which("gpg")
signing = pytest.mark.skipif(not (GPG and shutil.which("gpgv")), reason="gpg and gpgv are not both installed")


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Signs as gpg does, with a key made for this run, which has two users: `sign(arguments, data)`."""
    home = tmp_path_factory.mktemp("gpg")

    def gpg(*arguments: str, data: bytes = b"") -> bytes:
        command = [str(GPG), "--homedir", str(home), "--batch", "--quiet", "--passphrase", "", *arguments]
        return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout

    for user in ("ours", "theirs"):
        gpg("--pinentry-mode", "loopback", "--quick-generate-key", user, "ed25519", "sign")
    return gpg


def sign(archive: Any, signer: Any, user: str = "ours") -> None:
    release = archive.files["dists/stable/Release"]
    archive.files["dists/stable/InRelease"] = signer("-u", user, "--clearsign", data=release)


@pytest.fixture
def ring(signer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "ours.gpg"
    path.write_bytes(signer("--export", "ours"))
    monkeypatch.setenv(KEYRING, str(path))
    return path


@signing
def test_a_good_signature_is_named(archive: Any, signer: Any, ring: Path, tmp_path: Path) -> None:
    sign(archive, signer)
    warned: list[str] = []
    guest = Catalogue(tmp_path, archive.url, "stable", warn=warned.append).get("debian")
    assert guest.signature == "ours" and not warned


@signing
def test_an_armoured_keyring_serves_too(archive: Any, signer: Any, ring: Path, tmp_path: Path) -> None:
    sign(archive, signer)
    armoured = signer("--armor", "--export", "ours")
    assert binary_key(armoured) == ring.read_bytes()
    ring.write_bytes(armoured)
    assert Catalogue(tmp_path, archive.url, "stable").get("debian").signature == "ours"


@signing
def test_the_key_in_apts_own_source_serves(archive: Any, signer: Any, tmp_path: Path) -> None:
    sign(archive, signer)
    key = signer("--armor", "--export", "ours").decode()
    assert Archive(Source(archive.url, "stable", (key,))).release().signature == "ours"


@signing
@pytest.mark.parametrize("harm", ["another signer", "changed", "around it", "unsigned"])
def test_a_bad_signature_is_refused(archive: Any, signer: Any, ring: Path, tmp_path: Path, harm: str) -> None:
    sign(archive, signer, "theirs" if harm == "another signer" else "ours")
    signed = archive.files["dists/stable/InRelease"]
    forged = re.sub(rb"^ [0-9a-f]{64}", b" " + b"0" * 64, signed, flags=re.M)
    if harm == "changed":
        archive.files["dists/stable/InRelease"] = forged
    elif harm == "around it":  # a forged index before the signed one must not count
        archive.files["dists/stable/InRelease"] = b"Suite: stable\nSHA256:\n " + b"0" * 64 + b" 1 x\n\n" + signed
    elif harm == "unsigned":
        del archive.files["dists/stable/InRelease"]
    if harm == "around it":
        assert "main/binary-amd64/Packages.xz" in Archive(Source(archive.url, "stable"), str(ring)).release().files
        return
    with pytest.raises(UserError, match="is not good|is not signed") as refusal:
        Catalogue(tmp_path, archive.url, "stable").get("debian")
    assert KEYRING in refusal.value.do


@signing
def test_a_detached_signature_serves_where_there_is_no_other(archive: Any, signer: Any, ring: Path) -> None:
    release = archive.files["dists/stable/Release"]
    del archive.files["dists/stable/InRelease"]
    archive.files["dists/stable/Release.gpg"] = signer("-u", "ours", "--detach-sign", "--armor", data=release)
    assert Archive(Source(archive.url, "stable"), str(ring)).release().signature == "ours"
    archive.files["dists/stable/Release"] = release + b"\n"
    with pytest.raises(UserError, match="it does not fit"):
        Archive(Source(archive.url, "stable"), str(ring)).release()


def test_without_a_keyring_there_is_a_warning(archive: Any, tmp_path: Path) -> None:
    warned: list[str] = []
    Catalogue(tmp_path, archive.url, "stable", warn=warned.append).get("debian")
    assert len(warned) == 1 and "no keyring is present" in warned[0]


def test_without_gpgv_there_is_a_warning(archive: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = tmp_path / "ring"
    ring.write_bytes(b"key")
    monkeypatch.setenv(KEYRING, str(ring))
    monkeypatch.setenv("PATH", str(tmp_path))
    warned: list[str] = []
    Catalogue(tmp_path, archive.url, "stable", warn=warned.append).get("debian")
    assert len(warned) == 1 and "gpgv is not installed" in warned[0]


def test_a_keyring_that_is_not_there_is_a_sentence(archive: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none.gpg"):
        Archive(Source(archive.url, "stable"), str(tmp_path / "none.gpg")).release()


def test_an_index_that_has_expired_is_a_warning(archive: Any) -> None:
    release = archive.files["dists/stable/InRelease"]
    late = release.replace(b"Codename", b"Valid-Until: Sat, 01 Jan 2000 00:00:00 UTC\nCodename")
    archive.files["dists/stable/InRelease"] = late
    warned: list[str] = []
    Archive(Source(archive.url, "stable"), "none", warn=warned.append).release()
    assert "2000-01-01" in warned[-1]


def test_another_suite_than_asked_for_is_refused(archive: Any) -> None:
    archive.files["dists/bookworm/InRelease"] = archive.files["dists/stable/InRelease"]
    with pytest.raises(UserError, match="answers for the suite bookworm with stable / trixie"):
        Archive(Source(archive.url, "bookworm"), "none").release()


def test_by_hash_is_asked_first(archive: Any) -> None:
    archive.index("stable", archive.stanza("a", "1", b"x", ""), by_hash=True)
    client = Archive(Source(archive.url, "stable"), "none")
    release = client.release()
    assert [p.name for p in client.packages(release, "amd64", ["a"])] == ["a"]
    assert "/by-hash/SHA256/" in archive.asked[-2] and archive.asked[-1].endswith("Packages.xz")


def test_a_page_that_is_no_release_is_refused(archive: Any) -> None:
    archive.files["dists/stable/InRelease"] = b"<html>log in to the network</html>"
    with pytest.raises(ImageError, match="a Release with SHA256 sums"):
        Archive(Source(archive.url, "stable"), "none").release()


def test_no_index_upsets_the_client(archive: Any) -> None:
    dice = random.Random(7)
    good = archive.stanza("linux-image-cloud-amd64", "1", b"x", "y")
    client = Archive(Source(archive.url, "stable"), "none")
    for _ in range(40):
        text = bytearray(good.encode() * 2)
        for _ in range(dice.randrange(1, 6)):
            text[dice.randrange(len(text))] = dice.randrange(1, 127)
        archive.index("stable", text.decode("latin-1"))
        try:
            client.packages(client.release(), "amd64", ["linux-image-cloud-amd64"])
        except ImageError as refusal:
            assert "Filename, Size and SHA256" in str(refusal)
