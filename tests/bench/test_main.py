"""The benchmarks' command line, and what it makes of numbers. Nothing is timed here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench import screens, sides
from bench.sides import Moment, Setup

SETUP = Setup(Path("kernel"), Path("initrd"), "quiet", 256 << 20)


def test_everything_is_measured_unless_a_part_is_chosen() -> None:
    options = bench.parser().parse_args([])
    assert (options.only, options.rounds, options.memory, options.build) == (bench.NAMES, 3, 512, False)
    assert bench.parser().parse_args(["--only", "crc,boot"]).only == ("boot", "crc")


@pytest.mark.parametrize("words", [["--only", "nothing"], ["--rounds", "0"], ["--memory", "1G"], ["--no"]])
def test_a_wrong_argument_is_a_usage_error(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        bench.parser().parse_args(words)
    assert ended.value.code == 2 and words[-1] in capsys.readouterr().err


def test_both_sides_boot_the_same() -> None:
    ours, theirs = sides.guesthouse(SETUP), sides.qemu("qemu", SETUP)
    assert {"kernel", "initrd", str(256 << 20), "quiet"} <= set(ours)
    assert {"kernel", "initrd", "256M", "console=ttyS0 quiet", "tcg"} <= set(theirs)


def test_a_ratio_is_of_medians_and_a_rate_is_instructions_per_cpu_second() -> None:
    ours = [Moment(9, 2, 600), Moment(2, 2, 800), Moment(4, 2, 700)]
    row = bench.Row("crc", ours, [Moment(2, 1), Moment(2, 4)])
    assert (row.ratio("wall"), row.ratio("cpu"), row.rate()) == (2, 0.8, 350)
    assert bench.Row("crc", [Moment(1, 1)]).ratio("wall") is None


def test_a_loops_time_is_that_between_its_two_lines() -> None:
    script = ("print('noise'); print('bench crc begins\\x1f100'); print('bench crc ends 00ff\\x1f350');"
              "print('bench all ends 0', flush=True); import time; time.sleep(60)")
    (found,) = sides.loops([sys.executable, "-c", script])
    assert (found.name, found.result, found.took.count) == ("crc", "00ff", 250)
    assert 0 <= found.took.wall < 60


def test_a_guest_that_ends_too_early_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="ended before its userland was up"):
        sides.boot([sys.executable, "-c", "print('panic')"])
    with pytest.raises(RuntimeError, match="ended before its loops did"):
        sides.loops([sys.executable, "-c", "print('panic')"])


def test_results_that_differ_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [bench.Row("crc", [Moment(4, 2, 800_000_000)], [Moment(2, 1)], {"1", "2"}),
            bench.Row("boot", [Moment(4, 2)])]
    bench.show({"cpu": "some"}, rows, {"start, s": [0.25]})
    shown = capsys.readouterr().out.splitlines()
    (line,) = [line for line in shown if line.startswith("crc")]
    assert "2.00" in line and "400" in line and "DIFFER" in line
    assert any(line.startswith("boot") and " nan " in line for line in shown) and "0.250" in shown[-1]


def test_a_text_buffer_is_read_out_of_the_monitors_dump() -> None:
    dump = "000b8000: 0x41 0x07 0x3a 0x07\r\n000b8004: 0xb3 0x1f\r\n"
    assert screens.shown(dump) == "A:\N{BOX DRAWINGS LIGHT VERTICAL}"


def test_an_image_that_is_not_there_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GUESTHOUSE_GUESTS", str(tmp_path))
    assert bench.watches(["freedos"]) == [] and "freedos722.img" in capsys.readouterr().err


def test_a_disk_is_read_through_the_bus_that_its_program_is_named_after() -> None:
    from bench import disks

    made = disks.userland(["virtio_4k"], b"busybox", {"00": b"module"})
    assert b"/bench/virtio_4k < /dev/vda" in made and b"ide_seq" not in made and b"insmod /lib/00.ko" in made
