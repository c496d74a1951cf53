"""What apt's configuration says, and what of it is Debian."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from guesthouse.errors import ConfigError, UserError
from guesthouse.images.sources import Source, configured, deb822, debian, mirror, one_line, stanzas

DEBIAN = 'PRETTY_NAME="Debian GNU/Linux"\nID=debian\nVERSION_CODENAME=trixie\n'
STANZAS = """\
# a comment
Types: deb deb-src
URIs: http://one.invalid/debian http://two.invalid/debian/
Suites: trixie trixie-updates
Components: main contrib
Signed-By: /a.gpg,/b.gpg

Types: deb
URIs: http://off.invalid/debian
Suites: trixie
Components: main
Enabled: no

Types: deb
URIs: http://key.invalid/debian
Suites: trixie
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mDMEabc=
 -----END PGP PUBLIC KEY BLOCK-----
"""


def test_one_line_entries_are_read() -> None:
    text = (
        "# deb http://no.invalid/debian x main\n"
        "deb [ arch=amd64 signed-by=/k.gpg ] http://yes.invalid/debian bookworm main contrib # why\n"
        "deb-src http://src.invalid/debian bookworm main\n"
        "deb cdrom:[Debian]/ bookworm main\n"
        "deb http://flat.invalid/debian ./\n"
        "deb https://other.invalid/debian bookworm contrib\n"
    )
    assert list(one_line(text)) == [Source("http://yes.invalid/debian", "bookworm", ("/k.gpg",))]


def test_stanzas_are_read() -> None:
    found = list(deb822(STANZAS))
    assert [(s.uri, s.suite) for s in found[:4]] == [
        ("http://one.invalid/debian", "trixie"),
        ("http://one.invalid/debian", "trixie-updates"),
        ("http://two.invalid/debian/", "trixie"),
        ("http://two.invalid/debian/", "trixie-updates"),
    ]
    assert found[0].signed_by == ("/a.gpg", "/b.gpg")
    assert len(found) == 5 and "mDMEabc=" in found[4].signed_by[0]


def etc(folder: Path, text: str) -> Path:
    (folder / "sources.list.d").mkdir(parents=True)
    (folder / "sources.list.d" / "debian.sources").write_text(text)
    (folder / "sources.list").write_text("deb http://line.invalid/debian-security trixie-security main\n")
    (folder / "os-release").write_text(DEBIAN)
    return folder


def test_the_main_archive_is_chosen_and_its_suite_is_the_hosts(tmp_path: Path) -> None:
    at = etc(tmp_path / "apt", STANZAS)
    assert configured(at)[0].suite == "trixie-security"
    source, suite = mirror(None, {}, at, at / "os-release")
    assert (source.uri, suite) == ("http://one.invalid/debian", "trixie")


def test_the_setting_goes_before_apt_and_keeps_its_keyring(tmp_path: Path) -> None:
    at = etc(tmp_path / "apt", STANZAS)
    settings = {"GUESTHOUSE_DEBIAN_MIRROR": "https://mine.invalid/d"}
    source, suite = mirror(None, settings, at, at / "os-release")
    assert source == Source("https://mine.invalid/d", "trixie", ("/a.gpg", "/b.gpg")) and suite == "trixie"


def test_another_distribution_is_not_taken_for_debian() -> None:
    others = [Source("http://x.invalid/ubuntu", "noble")]
    assert debian(others, "ID=ubuntu\n") == (None, None)
    assert debian([*others, Source("http://y.invalid/debian", "sid")], "ID=ubuntu\n") == (
        Source("http://y.invalid/debian", "sid"),
        None,
    )


def test_nothing_configured_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(UserError) as refusal:
        mirror(None, {}, tmp_path, tmp_path / "none")
    assert "GUESTHOUSE_DEBIAN_MIRROR" in refusal.value.do


@pytest.mark.parametrize("uri", ["ftp://x/debian", "/a/folder", "file:///x", "http://"])
def test_a_setting_that_is_no_address_is_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="GUESTHOUSE_DEBIAN_MIRROR"):
        mirror(None, {"GUESTHOUSE_DEBIAN_MIRROR": uri}, tmp_path, tmp_path / "none")


def test_no_text_upsets_the_parsers() -> None:
    dice = random.Random(5)
    pieces = [*STANZAS.split(), "\n", "\n\n", " ", "\t", ":", "deb ", "[", "]", "#", "\r\n", "\0", "é", "http://"]
    for _ in range(2000):
        text = "".join(dice.choice(pieces) for _ in range(dice.randrange(40)))
        for source in [*one_line(text), *deb822(text)]:
            assert source.uri.startswith("http") and source.suite
        list(stanzas(text))
