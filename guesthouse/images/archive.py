"""A client of a Debian archive: the signed Release, the Packages it vouches for, the packages those vouch
for.

After the Debian repository format (wiki.debian.org/DebianRepository/Format) and deb822(5). The signature is
gpgv's business. Not modelled: Packages diffs, components other than main, versions held back by apt's pins.
"""

from __future__ import annotations

import base64
import lzma
import re
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from guesthouse.errors import ImageError, NoSuchThing, UserError
from guesthouse.images import fetch
from guesthouse.images.files import Expected, Progress, host_trouble, silent, unheard
from guesthouse.images.sources import Source, stanzas

KEYRING = "GUESTHOUSE_DEBIAN_KEYRING"
KEYRINGS = (
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
)
RELEASE_LIMIT, INDEX_LIMIT = 1 << 24, 1 << 29
UNCHECKED = "not checked"


@dataclass(frozen=True)
class Release:
    """What a suite's Release file says; `signature` tells who vouched for it."""

    fields: dict[str, str]
    files: dict[str, Expected]
    signature: str


@dataclass(frozen=True)
class Package:
    """One stanza of Packages."""

    name: str
    version: str
    filename: str
    expected: Expected
    depends: str = ""


@dataclass
class Archive:
    """One suite of one archive. `keyring` is the user's: a path, or "none" to do without."""

    source: Source
    keyring: str | None = None
    progress: Progress = silent
    warn: Callable[[str], None] = unheard

    def url(self, path: str) -> str:
        """The address of a file of the archive."""
        return f"{self.source.uri.rstrip('/')}/{path}"

    def release(self) -> Release:
        """The suite's Release, its signature checked as far as this host can."""
        folder = f"dists/{self.source.suite}"
        signature: bytes | None = None
        try:
            data = fetch.to_memory(self.url(f"{folder}/InRelease"), RELEASE_LIMIT, progress=self.progress)
        except NoSuchThing:
            data = fetch.to_memory(self.url(f"{folder}/Release"), RELEASE_LIMIT, progress=self.progress)
            try:
                signature = fetch.to_memory(self.url(f"{folder}/Release.gpg"), RELEASE_LIMIT)
            except NoSuchThing:
                signature = b""
        text, signer = self._signed(data, signature)
        release = _release(text.decode(errors="replace"), signer, self.url(folder))
        self._judge(release)
        return release

    def packages(self, release: Release, arch: str, names: Iterable[str] = (), match: str = "") -> list[Package]:
        """The stanzas of main for these names, or whose name fits the pattern."""
        path = f"main/binary-{arch}/Packages"
        form = next((f for f in (".xz", ".gz", "") if path + f in release.files), None)
        if form is None:
            raise NoSuchThing(
                f"The suite {self.source.suite} of {self.source.uri} has no packages for {arch}.",
                "Use a suite that has them (for riscv64: trixie or later).",
            )
        data = self._index(release, f"{path}{form}")
        return list(_packages(_inflated(data, form, path + form), names, match))

    def _index(self, release: Release, path: str) -> bytes:
        expected = release.files[path]
        if expected.size > INDEX_LIMIT:
            raise UserError(
                f"{self.url(path)} is said to have {expected.size} bytes, which no index has.",
                "The mirror is broken: use another one.",
            )
        folder = f"dists/{self.source.suite}/"
        if release.fields.get("acquire-by-hash") == "yes":
            by_hash = f"{folder}{path.rsplit('/', 1)[0]}/by-hash/SHA256/{expected.sha256}"
            try:
                return fetch.to_memory(self.url(by_hash), 0, expected, self._called(path))
            except NoSuchThing:
                pass  # not every mirror keeps them
        return fetch.to_memory(self.url(folder + path), 0, expected, self._called(path))

    def _called(self, path: str) -> Progress:
        return lambda _, done, total: self.progress(path.rsplit("/", 1)[-1], done, total)

    def _judge(self, release: Release) -> None:
        names = (release.fields.get("suite"), release.fields.get("codename"))
        if self.source.suite not in names and self.source.suite.split("/")[0] not in names:
            other = " / ".join(map(str, names))
            raise UserError(
                f"{self.source.uri} answers for the suite {self.source.suite} with {other}.",
                "The mirror is broken: use another one.",
            )
        try:
            until = parsedate_to_datetime(release.fields.get("valid-until", ""))
        except ValueError:
            return
        if until < datetime.now(UTC):
            self.warn(
                f"The index of {self.source.suite} was meant to be used until {until:%Y-%m-%d}: newer packages"
                " may exist."
            )

    def _signed(self, data: bytes, signature: bytes | None) -> tuple[bytes, str]:
        """The signed text alone (nothing around it counts), and who signed."""
        rings = self._keyrings()
        gpgv = shutil.which("gpgv")
        if not rings or not gpgv:
            lack = "no keyring is present" if gpgv else "gpgv is not installed"
            self.warn(
                f"The signature of {self.source.uri} ({self.source.suite}) was not checked: {lack}."
                " Checksums are checked all the same."
            )
            return (data if signature is not None else _between_armour(data)), f"{UNCHECKED}: {lack}"
        if signature == b"":
            raise UserError(
                f"{self.source.uri} ({self.source.suite}) is not signed.",
                f"Use a mirror that is, or set {KEYRING}=none to do without.",
            )
        return verified(gpgv, rings, data, signature, f"{self.source.uri} ({self.source.suite})")

    def _keyrings(self) -> list[bytes]:
        if self.keyring == "none":
            return []
        if self.keyring:
            with host_trouble(Path(self.keyring)):
                return [binary_key(Path(self.keyring).read_bytes())]
        keys = [k for k in self.source.signed_by if "BEGIN PGP" in k]
        paths = [k for k in self.source.signed_by if k.startswith("/")] or list(KEYRINGS if not keys else ())
        files = [Path(p).read_bytes() for p in paths if Path(p).is_file()]
        return [binary_key(k) for k in [*(key.encode() for key in keys), *files]]


def verified(gpgv: str, rings: list[bytes], data: bytes, signature: bytes | None, name: str) -> tuple[bytes, str]:
    """Runs gpgv, which hands back exactly what was signed."""
    with tempfile.TemporaryDirectory(prefix="guesthouse-") as folder:
        at = Path(folder)
        (at / "data").write_bytes(data)
        (at / "signature").write_bytes(signature or b"")
        command = [gpgv, "--homedir", folder, "--status-fd", "1"]
        for number, ring in enumerate(rings):
            (at / f"ring{number}").write_bytes(ring)
            command += ["--keyring", str(at / f"ring{number}")]
        command += (
            ["--output", str(at / "text"), str(at / "data")]
            if signature is None
            else [str(at / "signature"), str(at / "data")]
        )
        told = subprocess.run(command, capture_output=True, check=False, timeout=60).stdout.decode(errors="replace")
        good = re.findall(r"^\[GNUPG:\] GOODSIG \S+ (.*)$", told, re.M)
        if not good or "] BADSIG " in told:
            why = "it does not fit" if "] BADSIG " in told else "no key of the keyring made it"
            raise UserError(
                f"The signature of {name} is not good: {why}.",
                "Update the package"
                f" debian-archive-keyring, or name another keyring with {KEYRING}, or use another mirror.",
            )
        return ((at / "text").read_bytes() if signature is None else data), good[0]


def binary_key(key: bytes) -> bytes:
    """A keyring as gpgv reads it: without armour (RFC 9580, 6)."""
    bodies = re.findall(rb"-----BEGIN PGP PUBLIC KEY BLOCK-----(.*?)-----END PGP PUBLIC KEY", key, re.S)
    if not bodies:
        return key
    parts = []
    for body in bodies:
        lines = [line.strip() for line in body.splitlines()]
        kept = [line for line in lines if line not in (b"", b".") and b":" not in line and line[:1] != b"="]
        parts.append(base64.b64decode(b"".join(kept)))
    return b"".join(parts)


def _between_armour(data: bytes) -> bytes:
    found = re.search(
        rb"-----BEGIN PGP SIGNED MESSAGE-----\r?\n(?:[^\r\n]+\r?\n)*\r?\n(.*?)-----BEGIN PGP SIGNATURE",
        data,
        re.S,
    )
    return re.sub(rb"^- ", b"", found[1], flags=re.M) if found else data


def _release(text: str, signature: str, name: str) -> Release:
    fields = next(stanzas(text), {})
    files = {}
    for line in fields.get("sha256", "").splitlines():
        words = line.split()
        if len(words) == 3 and re.fullmatch("[0-9a-f]{64}", words[0]) and re.fullmatch("[0-9]{1,15}", words[1]):
            files[words[2]] = Expected(int(words[1]), words[0])
    if not files:
        raise ImageError(name, "Debian suite", 0, "a Release with SHA256 sums", "Check the mirror's address.")
    return Release(fields, files, signature)


def _inflated(data: bytes, form: str, name: str) -> bytes:
    if not form:
        return data
    try:
        if form == ".xz":
            text = lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(data, INDEX_LIMIT)
        else:
            text = zlib.decompressobj(31).decompress(data, INDEX_LIMIT)
    except (lzma.LZMAError, zlib.error, EOFError) as trouble:
        raise ImageError(name, f"{form[1:]} file", 0, f"sound data ({trouble})") from trouble
    return text


def _packages(text: bytes, names: Iterable[str], match: str) -> Iterator[Package]:
    wanted = "|".join([*(re.escape(name) for name in names), *([match] if match else [])])
    for found in re.finditer(rb"^Package: (?:%s)$" % wanted.encode(), text, re.M):
        end = text.find(b"\n\n", found.end())
        stanza = next(stanzas(text[found.start() : end if end >= 0 else None].decode(errors="replace")))
        size, sha256 = stanza.get("size", ""), stanza.get("sha256", "")
        path = stanza.get("filename", "")
        if not re.fullmatch("[0-9]{1,15}", size) or not re.fullmatch("[0-9a-f]{64}", sha256) or ".." in path:
            raise ImageError("Packages", "index", found.start(), "a stanza with Filename, Size and SHA256")
        yield Package(
            stanza["package"],
            stanza.get("version", ""),
            path,
            Expected(int(size), sha256),
            stanza.get("depends", ""),
        )
