"""The catalogue against a small archive of the test's own: the good case, and each way in which it can go wrong."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from guesthouse.errors import ImageError, NoSuchThing, NotSupportedHere, UserError
from guesthouse.images import files, sources
from guesthouse.images.catalogue import Catalogue, cache_folder
from tests.conftest import Popen

KERNEL_DEB = "pool/main/linux-image-6.1.0-1-cloud-amd64_6.1.0-1_amd64.deb"
PACKAGES = "dists/stable/main/binary-amd64/Packages.xz"


@pytest.fixture
def catalogue(archive: Any, tmp_path: Path) -> Catalogue:
    return Catalogue(tmp_path / "cache", mirror=archive.url, suite="stable")


def everything(folder: Path) -> list[str]:
    """All files of a cache but the locks."""
    return sorted(p.name for p in folder.rglob("*") if p.is_file() and not p.name.endswith(".lock"))


def test_a_guest_is_fetched_checked_and_told_about(catalogue: Catalogue) -> None:
    guest = catalogue.get("debian", "amd64")
    assert guest.kernel.read_bytes()[0x202:0x206] == b"HdrS" and guest.form == "bzImage"
    assert guest.initrd.read_bytes()[:6] == b"070701"
    assert (guest.version, guest.suite, guest.signature) == (
        "6.1.0-1-cloud-amd64",
        "stable",
        "not checked: no keyring is present",
    )
    assert guest.sha256["initrd.cpio"] == hashlib.sha256(guest.initrd.read_bytes()).hexdigest()
    assert json.loads(json.dumps(guest.as_json()))["kernel"] == str(guest.kernel)


def test_a_second_run_asks_nothing_of_the_network(catalogue: Catalogue, archive: Any) -> None:
    first = catalogue.get("debian", "amd64")
    archive.asked.clear()
    assert Catalogue(catalogue.folder.parent).get("debian", "amd64") == first
    assert [g.name for g in catalogue.list()] == ["debian"]
    assert archive.asked == []


def test_a_pull_of_the_same_fetches_the_index_alone(catalogue: Catalogue, archive: Any) -> None:
    catalogue.pull("debian", "amd64")
    archive.asked.clear()
    catalogue.pull("debian", "amd64")
    assert not [path for path in archive.asked if path.startswith("pool")]


def test_a_pull_of_a_newer_kernel_replaces_the_older_one(catalogue: Catalogue, archive: Any) -> None:
    catalogue.get("debian")
    archive.suite("stable", "6.1.0-2")
    assert catalogue.get("debian").version == "6.1.0-1-cloud-amd64"
    assert catalogue.pull("debian").version == "6.1.0-2-cloud-amd64"
    assert [n for n in everything(catalogue.folder) if n.startswith("vmlinuz")] == ["vmlinuz-6.1.0-2-cloud-amd64"]


def test_what_was_deleted_is_gone(catalogue: Catalogue) -> None:
    catalogue.get("debian")
    assert catalogue.delete("debian") == ("debian/amd64",)
    assert catalogue.list() == [] and everything(catalogue.folder) == []
    with pytest.raises(NoSuchThing):
        catalogue.delete("debian")


def test_unknown_images_and_architectures_are_named_with_what_there_is(catalogue: Catalogue) -> None:
    with pytest.raises(NoSuchThing, match="no image called plan9") as refusal:
        catalogue.get("plan9")
    assert refusal.value.exit_status == 3 and "debian" in refusal.value.do
    with pytest.raises(UserError, match="no debian for vax") as wrong:
        catalogue.get("debian", "vax")
    assert wrong.value.exit_status == 2 and "riscv64" in wrong.value.do


@pytest.mark.parametrize(
    "path, how",
    [(path, how) for path in (KERNEL_DEB, PACKAGES) for how in ("truncated", "other", "longer")]
    + [("dists/stable/InRelease", "truncated")],
)
def test_a_download_that_is_not_what_was_signed_leaves_nothing(
    catalogue: Catalogue, archive: Any, path: str, how: str, request: pytest.FixtureRequest
) -> None:
    archive.broken[path] = request.getfixturevalue(how)
    with pytest.raises(UserError, match="broke off|signed index|longer than") as refusal:
        catalogue.get("debian")
    assert refusal.value.do and path.rsplit("/", 1)[-1] in refusal.value.what
    assert everything(catalogue.folder) == []
    archive.broken.clear()
    assert catalogue.get("debian").kernel.is_file()


def test_no_network_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("http_proxy", raising=False)
    with pytest.raises(UserError, match="cannot be reached") as refusal:
        Catalogue(tmp_path, mirror="http://127.0.0.1:9/debian").get("debian")
    assert "network" in refusal.value.do


def test_no_mirror_names_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="nowhere to fetch") as refusal:
        sources.mirror(None, {}, tmp_path, tmp_path / "os-release")
    assert sources.MIRROR in refusal.value.do


def test_a_server_error_is_a_sentence(catalogue: Catalogue, archive: Any) -> None:
    archive.broken[KERNEL_DEB] = lambda handler, data: handler.send_error(503)
    with pytest.raises(UserError, match="answered 503"):
        catalogue.get("debian")


def test_an_answer_that_is_not_http_is_a_sentence(catalogue: Catalogue, archive: Any) -> None:
    archive.broken[KERNEL_DEB] = lambda handler, data: handler.wfile.write(b"what?\r\n\r\n")
    with pytest.raises(UserError, match="broke off"):
        catalogue.get("debian")


def test_a_suite_or_a_kernel_that_is_missing_is_named(catalogue: Catalogue, archive: Any, tmp_path: Path) -> None:
    with pytest.raises(NoSuchThing, match="404"):
        Catalogue(tmp_path, archive.url, "buzz").get("debian")
    with pytest.raises(NoSuchThing, match="no packages for riscv64"):
        catalogue.get("debian", "riscv64")
    archive.index("stable", archive.stanza("busybox-static", "1:1.37", b"x", ""))
    with pytest.raises(NoSuchThing, match="has no linux-image-cloud-amd64"):
        catalogue.get("debian")


def test_a_busybox_too_old_for_our_scripts_is_refused(catalogue: Catalogue, archive: Any) -> None:
    archive.suite("stable", "6.1.0-1", busybox="1:1.30.1-6")
    with pytest.raises(NotSupportedHere, match="too old"):
        catalogue.get("debian")


def test_a_kernel_package_without_a_kernel_is_refused(catalogue: Catalogue, archive: Any) -> None:
    packages = archive.stanza("linux-image-cloud-amd64", "1", b"", "linux-image-1-cloud-amd64")
    packages += archive.stanza("linux-image-1-cloud-amd64", "1", archive.files[KERNEL_DEB][:40] + b"rubbish", "")
    archive.index("stable", packages + archive.stanza("busybox-static", "1:1.37", b"x", ""))
    with pytest.raises(ImageError, match="not a usable Debian package"):
        catalogue.get("debian")
    assert catalogue.list() == []


@pytest.mark.parametrize("harm", ["change", "cut", "remove"])
def test_a_damaged_cache_is_noticed_and_made_good(catalogue: Catalogue, archive: Any, harm: str) -> None:
    warned: list[str] = []
    catalogue.warn = warned.append
    guest = catalogue.get("debian")
    good = guest.kernel.read_bytes()
    if harm == "remove":
        guest.kernel.unlink()
    else:
        guest.kernel.write_bytes(good[:-1] if harm == "cut" else b"X" + good[1:])
    archive.asked.clear()
    warned.clear()
    assert catalogue.get("debian").kernel.read_bytes() == good
    assert archive.asked and "damaged" in warned[0]


@pytest.mark.parametrize(
    "record", [b"", b"{}", b"[]", b"null", b'{"format": 99}', b"\xff", b'{"format":1,"files":[1]}']
)
def test_a_record_that_is_none_is_not_trusted(catalogue: Catalogue, record: bytes) -> None:
    guest = catalogue.get("debian")
    (guest.kernel.parent.parent / "entry.json").write_bytes(record)
    assert catalogue.list() == []
    assert catalogue.get("debian") == catalogue.list()[0]


def test_an_initramfs_that_was_changed_is_built_again_without_network(catalogue: Catalogue, archive: Any) -> None:
    good = catalogue.get("debian").initrd.read_bytes()
    catalogue.list()[0].initrd.write_bytes(b"other")
    archive.asked.clear()
    assert catalogue.get("debian").initrd.read_bytes() == good
    assert archive.asked == []


def test_a_full_disk_is_a_sentence_and_leaves_nothing(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="no room left") as refusal:
        catalogue.get("debian")
    assert "GUESTHOUSE_CACHE" in refusal.value.do
    assert everything(catalogue.folder) == []


def test_a_cache_that_cannot_be_written_is_a_sentence(archive: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot be written") as refusal:
        Catalogue(tmp_path / "file", archive.url, "stable").get("debian")
    assert "GUESTHOUSE_CACHE" in refusal.value.do


def test_an_interrupt_leaves_nothing_half_written(catalogue: Catalogue, archive: Any) -> None:
    def interrupt(what: str, done: int, total: int) -> None:
        if what.endswith(".deb"):
            raise KeyboardInterrupt

    catalogue.progress = interrupt
    with pytest.raises(KeyboardInterrupt):
        catalogue.get("debian")
    assert everything(catalogue.folder) == []


def test_progress_counts_up_to_the_size(catalogue: Catalogue, archive: Any) -> None:
    seen: dict[str, tuple[int, int]] = {}
    catalogue.progress = lambda what, done, total: seen.update({what: (done, total)})
    catalogue.get("debian")
    size = len(archive.files[KERNEL_DEB])
    assert seen[KERNEL_DEB.rsplit("/", 1)[-1]] == (size, size)
    assert "unpacking the kernel" in seen


def test_two_processes_at_once_fetch_it_once(archive: Any, tmp_path: Path, popen: Popen) -> None:
    code = (
        "import sys; from pathlib import Path; from guesthouse.images.catalogue import Catalogue;"
        "print(Catalogue(Path(sys.argv[1]), sys.argv[2], 'stable').get('debian').sha256)"
    )
    command = [sys.executable, "-c", code, str(tmp_path), archive.url]
    both = [popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    told = [process.communicate()[0] for process in both]
    assert told[0] == told[1] != b""
    assert archive.asked.count(KERNEL_DEB) == 1


def test_the_cache_is_where_the_user_wants_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/u")
    monkeypatch.delenv("GUESTHOUSE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == Path("/home/u/.cache/guesthouse")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "guesthouse"
    monkeypatch.setenv("GUESTHOUSE_CACHE", "/elsewhere")
    assert cache_folder() == Path("/elsewhere")


@pytest.mark.boot
@pytest.mark.parametrize("arch", ["amd64"])
def test_the_real_archive_has_a_guest(arch: str, tmp_path: Path) -> None:
    try:
        sources.mirror()
        guest = Catalogue(tmp_path).get("debian", arch)
    except UserError as lack:
        if re.search("nowhere to fetch|cannot be reached", lack.what):
            pytest.skip(f"no Debian mirror here: {lack.what}")
        raise
    assert guest.form == "bzImage" and guest.size > 5_000_000
    assert Catalogue(tmp_path, mirror="http://127.0.0.1:9/none").get("debian", arch) == guest


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "file"
    files.put(target, b"old")
    with pytest.raises(ZeroDivisionError), files.whole(target) as stream:
        stream.write(b"new")
        raise ZeroDivisionError
    assert target.read_bytes() == b"old" and list(tmp_path.iterdir()) == [target]
