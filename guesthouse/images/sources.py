"""Where the host's apt gets Debian from: one-line entries and deb822 stanzas, after sources.list(5).

Only http and https, only binary packages with the component main. Not modelled: mirror lists, apt's proxy
settings (urllib takes those of the environment), [check-valid-until=no] and its like.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from guesthouse.errors import ConfigError, UserError

MIRROR, SUITE = "GUESTHOUSE_DEBIAN_MIRROR", "GUESTHOUSE_DEBIAN_SUITE"
OFFSHOOT = re.compile(r"[-/](security|updates|backports|backports-sloppy|proposed-updates|debug)(/updates)?$")


@dataclass(frozen=True)
class Source:
    """One archive and one suite of it; `signed_by` is a path of a keyring or the text of a key."""

    uri: str
    suite: str
    signed_by: tuple[str, ...] = ()


def configured(etc: Path = Path("/etc/apt")) -> list[Source]:
    """All usable sources, in apt's own order."""
    found: list[Source] = []
    folder = etc / "sources.list.d"
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    for file in [etc / "sources.list", *files]:
        try:
            text = file.read_text(errors="replace")
        except OSError:
            continue  # absent, or not ours to read
        if file.suffix == ".list":
            found += one_line(text)
        elif file.suffix == ".sources":
            found += deb822(text)
    return found


def debian(sources: list[Source], os_release: str = "") -> tuple[Source | None, str | None]:
    """The source that is Debian's main archive, and its suite if this host is a Debian of that suite."""
    fields = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', os_release, re.M))
    main = [s for s in sources if not OFFSHOOT.search(s.suite)]
    likely = [s for s in main if s.uri.rstrip("/").endswith("/debian")] or main
    if fields.get("ID") != "debian":
        likely = [s for s in likely if s.uri.rstrip("/").endswith("/debian")]  # others' suites are not Debian's
    if not likely:
        return None, None
    return likely[0], likely[0].suite if fields.get("ID") == "debian" else None


def mirror(
    setting: str | None = None,
    environ: Mapping[str, str] = os.environ,
    etc: Path = Path("/etc/apt"),
    os_release: Path = Path("/etc/os-release"),
) -> tuple[Source, str | None]:
    """The archive to use (the setting first, then apt's), and the host's suite if it is a Debian."""
    try:
        release = os_release.read_text(errors="replace")
    except OSError:
        release = ""
    source, suite = debian(configured(etc), release)
    uri = setting or environ.get(MIRROR)
    if uri:
        if not re.match(r"https?://[^/\s]+", uri):
            raise ConfigError(
                "parameter mirror" if setting else f"environment variable {MIRROR}",
                "the mirror",
                uri,
                "the http or https address of a Debian archive, the folder that holds `dists`",
            )
        return Source(uri, suite or "stable", source.signed_by if source else ()), suite
    if source is None:
        raise UserError(
            "This host's apt has no Debian archive with http or https configured, so there is nowhere"
            " to fetch Debian from.",
            f"Set {MIRROR} to the address of a Debian archive (the folder that holds `dists`).",
        )
    return source, suite


def one_line(text: str) -> Iterator[Source]:
    """`deb [ option=value ... ] uri suite component ...`, one per line."""
    for line in text.splitlines():
        entry = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)((?:\s+[^\s#]+)*)", line)
        if entry and "main" in entry[4].split():
            signed = re.findall(r"signed-by=(\S+)", entry[1] or "", re.I)
            yield from _usable([entry[2]], [entry[3]], tuple(",".join(signed).split(",")) if signed else ())


def deb822(text: str) -> Iterator[Source]:
    """Stanzas of `Types`, `URIs`, `Suites`, `Components`, `Signed-By`."""
    for stanza in stanzas(text):
        words = {key: value.split() for key, value in stanza.items()}
        wanted = "deb" in words.get("types", ()) and "main" in words.get("components", ())
        if not wanted or words.get("enabled", ["yes"])[:1] in (
            ["no"],
            ["false"],
            ["0"],
            ["off"],
            ["without"],
        ):
            continue
        signed = stanza.get("signed-by", "")
        keys = (signed,) if "BEGIN PGP" in signed else tuple(re.split(r"[,\s]+", signed.strip())) if signed else ()
        yield from _usable(words.get("uris", []), words.get("suites", []), keys)


def _usable(uris: list[str], suites: list[str], signed: tuple[str, ...]) -> Iterator[Source]:
    for uri in uris:
        for suite in suites:
            if re.match(r"https?://[^/\s]+", uri) and not suite.endswith("/"):
                yield Source(uri, suite, signed)


def stanzas(text: str) -> Iterator[dict[str, str]]:
    """The paragraphs of a Debian control file (deb822(5)), keys in lower case, comments left out."""
    for paragraph in re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n")):
        fields: dict[str, str] = {}
        key = ""
        for line in paragraph.splitlines():
            if line[:1] == "#":
                continue
            if line[:1] in (" ", "\t"):
                if key:
                    fields[key] += "\n" + line[1:]
            elif ":" in line:
                key, _, value = line.partition(":")
                key = key.strip().lower()
                fields[key] = value.strip()
        if fields:
            yield fields
