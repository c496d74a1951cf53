"""A small Debian archive made by the test and served from this host, with hooks to break it in every way."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import lzma
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

APPLETS = sorted(["[", "[[", "sh", "cat", "mount", *(f"tool{n:02}" for n in range(60))])
BUSYBOX = b"\x7fELF" + bytes(100) + "\0".join([*APPLETS, "", "/var/log"]).encode()
KERNEL = bytes(0x202) + b"HdrS" + bytes(1000)
MODULES = {
    "drivers/virtio/virtio.ko": b"\x7fELF\0depends=\0name=virtio\0",
    "drivers/virtio/virtio_ring.ko": b"\x7fELF\0depends=\0name=virtio_ring\0",
    "drivers/virtio/virtio_mmio.ko.xz": lzma.compress(
        b"\x7fELF\0alias=of:N*T*Cvirtio,mmio\0depends=virtio,virtio_ring\0"
    ),
    "drivers/char/hw_random/virtio-rng.ko": b"\x7fELF\0alias=virtio:d00000004v*\0depends=virtio_ring\0",
    "drivers/net/virtio_net.ko": b"\x7fELF\0depends=virtio\0",
}


def tar(files: dict[str, bytes]) -> bytes:
    """A tar archive as dpkg-deb makes them: names start with ./"""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def ar(members: dict[str, bytes]) -> bytes:
    """An ar archive."""
    out = b"!<arch>\n"
    for name, data in members.items():
        out += b"%-16s%-12d%-6d%-6d%-8s%-10d`\n" % (name.encode(), 0, 0, 0, b"100644", len(data))
        out += data + b"\n" * (len(data) % 2)
    return out


def deb(files: dict[str, bytes], form: str = "xz") -> bytes:
    """A Debian package."""
    data = tar(files)
    packed = {"xz": lzma.compress, "gz": gzip.compress, "": bytes}[form](data)
    name = f"data.tar.{form}".rstrip(".")
    return ar({"debian-binary": b"2.0\n", "control.tar.xz": lzma.compress(tar({})), name: packed})


class Archive:
    """What is served, by path; `broken` replaces an answer; `asked` lists the paths in order."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.broken: dict[str, Callable[[http.server.BaseHTTPRequestHandler, bytes], None]] = {}
        self.asked: list[str] = []
        self.url = ""
        self.suite("stable", "6.1.0-1")

    def suite(self, suite: str, version: str, busybox: str = "1:1.37.0-6", arch: str = "amd64") -> None:
        """A suite with one kernel and busybox."""
        kernel = deb(
            {f"boot/vmlinuz-{version}-cloud-amd64": KERNEL + version.encode()}
            | {f"usr/lib/modules/{version}/kernel/{path}": data for path, data in MODULES.items()}
        )
        real = f"linux-image-{version}-cloud-amd64"
        packages = {
            "linux-image-cloud-amd64": (version, deb({}), f"{real} (= {version})"),
            real: (version, kernel, "kmod"),
            "busybox-static": (busybox, deb({"usr/bin/busybox": BUSYBOX}), ""),
            "busybox": (busybox, b"", ""),
        }
        self.index(suite, "".join(self.stanza(name, *what) for name, what in packages.items()), arch)

    def stanza(self, name: str, version: str, data: bytes, depends: str) -> str:
        """Puts a package into the pool and describes it."""
        path = f"pool/main/{name}_{version.partition(':')[2] or version}_amd64.deb"
        self.files[path] = data
        sum_ = hashlib.sha256(data).hexdigest()
        return (
            f"Package: {name}\nVersion: {version}\nDepends: {depends}\nFilename: {path}\n"
            f"Size: {len(data)}\nSHA256: {sum_}\nDescription: one\n two\n\n"
        )

    def index(self, suite: str, packages: str, arch: str = "amd64", by_hash: bool = False) -> None:
        """The suite's Packages and Release."""
        packed, path = lzma.compress(packages.encode()), f"main/binary-{arch}/Packages.xz"
        sum_ = hashlib.sha256(packed).hexdigest()
        self.files[f"dists/{suite}/{path}"] = packed
        release = (
            f"Suite: {suite}\nCodename: trixie\nAcquire-By-Hash: {'yes' if by_hash else 'no'}\n"
            f"SHA256:\n {sum_} {len(packed)} {path}\n"
        )
        self.files[f"dists/{suite}/Release"] = release.encode()
        self.files[f"dists/{suite}/InRelease"] = (
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n"
            f"{release}-----BEGIN PGP SIGNATURE-----\n\nnone\n-----END PGP SIGNATURE-----\n"
        ).encode()


def handler_of(archive: Archive) -> type[http.server.BaseHTTPRequestHandler]:
    """Answers from the archive's table."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.lstrip("/").removeprefix("debian/").replace("%2B", "+")
            archive.asked.append(path)
            data = archive.files.get(path)
            if path in archive.broken:
                archive.broken[path](self, data or b"")
            elif data is None:
                self.send_error(404)
            else:
                answer(self, data)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def answer(handler: http.server.BaseHTTPRequestHandler, data: bytes, length: int | None = None) -> None:
    """A plain answer, whose stated length may be a lie."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(data) if length is None else length))
    handler.end_headers()
    handler.wfile.write(data)


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    """A served archive, with the environment free of settings of the one who runs the tests."""
    made = Archive()
    for name in ("http_proxy", "HTTP_PROXY", "GUESTHOUSE_DEBIAN_MIRROR", "GUESTHOUSE_DEBIAN_SUITE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GUESTHOUSE_DEBIAN_KEYRING", "none")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler_of(made))
    made.url = f"http://127.0.0.1:{server.server_port}/debian"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def truncated() -> Callable[[http.server.BaseHTTPRequestHandler, bytes], None]:
    """An answer that breaks off half-way."""
    return lambda handler, data: answer(handler, data[: len(data) // 2], len(data))


@pytest.fixture
def other() -> Callable[[http.server.BaseHTTPRequestHandler, bytes], None]:
    """An answer of the right length with another content."""
    return lambda handler, data: answer(handler, bytes([data[0] ^ 1]) + data[1:])


@pytest.fixture
def longer() -> Callable[[http.server.BaseHTTPRequestHandler, bytes], None]:
    """An answer with bytes too many."""
    return lambda handler, data: answer(handler, data + b"more")


@pytest.fixture
def package(tmp_path: Path) -> Callable[..., Path]:
    """Writes a package: the files and the compression, or raw bytes."""

    def write(what: dict[str, bytes] | bytes, form: str = "xz") -> Path:
        path = tmp_path / "some_1.0_amd64.deb"
        path.write_bytes(what if isinstance(what, bytes) else deb(what, form))
        return path

    return write
