"""The benchmarks' command line, and what it makes of numbers. Nothing is timed here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench import screens, sides, suite
from bench.rows import BOCHS, HOST, OURS, THEIRS, V86, Moment, Part, Row, Run, table, together
from bench.sides import Setup

SETUP = Setup(Path("kernel"), Path("initrd"), "quiet", 256 << 20)


def row(name: str, **times: tuple[float, ...]) -> Row:
    made = Row(name)
    for side, all_of_it in times.items():
        for wall in all_of_it:
            made.add({"ours": OURS, "theirs": THEIRS, "host": HOST}[side], Run(Moment(wall, wall)))
    return made


def test_an_item_or_a_whole_group_is_chosen_by_its_name() -> None:
    options = bench.parser().parse_args(["compute", "--items", "crc,x87"])
    first, second = suite.chosen(options.items)
    assert [item.name for item in first.items] == ["crc"]
    assert second == next(group for group in suite.GROUPS if group.name == "x87")
    assert (options.repeat, options.arch, options.way, options.memory) == (3, ("amd64",), "hot", 512)


@pytest.mark.parametrize("words", [
    ["compute", "--items", "nothing"], ["boot", "--repeat", "0"], ["boot", "--memory", "1G"], ["no"],
    ["compute", "--arch", "vax"]])
def test_a_wrong_argument_is_a_usage_error(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        bench.parser().parse_args(words)
    assert ended.value.code == 2 and words[-1] in capsys.readouterr().err


def test_both_sides_boot_the_same() -> None:
    ours, theirs = sides.guesthouse(SETUP), sides.qemu(SETUP)
    assert {"kernel", "initrd", str(256 << 20), "quiet"} <= set(ours)
    assert {"kernel", "initrd", "256M", "console=ttyS0 quiet", "tcg"} <= set(theirs)


def test_bochs_and_v86_boot_the_same_and_their_guests_clocks_are_not_relied_on() -> None:
    made = sides.commands(SETUP, [BOCHS, V86])
    assert list(made) == [OURS, BOCHS, V86]
    for side in (BOCHS, V86):
        assert {"kernel", "initrd", str(256 << 20), "console=ttyS0 quiet"} <= set(made[side])
    shown = row("crc", ours=(2,), theirs=(4,))
    shown.add(BOCHS, Run(Moment(50, 1)))
    assert any("Bochs 50.000 (25.0)" in line for line in table([Part("integer", [shown])]))


def test_what_a_side_lacks_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert sides.lacks(V86, "amd64") and sides.lacks(BOCHS, "riscv64")
    monkeypatch.setenv("PATH", "")
    assert "bochs" in sides.lacks(BOCHS, "amd64") and "node" in sides.lacks(V86, "i386")
    assert bench.main(["boot", "--alone", "--beside", "Bochs"]) == 2
    assert "Bochs cannot be compared with on amd64" in capsys.readouterr().err


def test_a_speed_is_qemus_median_over_ours_and_a_rate_is_instructions_per_cpu_second() -> None:
    made = Row("crc")
    for wall, cpu, count in ((9, 2, 600), (2, 2, 800), (4, 2, 700)):
        made.add(OURS, Run(Moment(wall, cpu, count)))
    made.add(THEIRS, Run(Moment(2, 1)))
    made.add(THEIRS, Run(Moment(2, 4)))
    assert (made.speed(), made.speed("cpu"), made.rate()) == (0.5, 1.25, 350)
    assert row("crc", ours=(1,)).speed() is None


def test_the_mean_of_speeds_is_geometric_and_all_that_computes_is_taken_together() -> None:
    parts = [Part("integer", [row("a", ours=(1,), theirs=(8,)), row("b", ours=(1,), theirs=(2,))], 1.4, True),
             Part("system", [row("c", ours=(1,), theirs=(100,))], 1)]
    assert parts[0].mean() == pytest.approx(4)
    assert together(parts).mean() == pytest.approx(4)
    shown = "\n".join(table(parts))
    assert "integer, geometric mean: 4.00 (target 1.4)" in shown and "slowest of it: b 2.00" in shown


def test_a_programs_time_is_told_by_the_guest_and_checked_by_the_host() -> None:
    script = ("print('noise'); print('bench crc begins\\x1f100'); print('bench crc ends 00ff 3b9aca00\\x1f350');"
              "print('bench all ends 0 0', flush=True); import time; time.sleep(60)")
    found = sides.programs([sys.executable, "-c", script])
    assert (found["crc"].result, found["crc"].took.count, found["crc"].time) == ("00ff", 250, 1.0)
    assert not found["crc"].clock_is_right()  # the host saw no second pass
    assert Run(Moment(1.01, 1), 1.0).clock_is_right()


def test_a_guest_that_ends_too_early_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="ended before its userland was up"):
        sides.boot([sys.executable, "-c", "print('panic')"])
    with pytest.raises(RuntimeError, match="ended before its programs did"):
        sides.programs([sys.executable, "-c", "print('panic')"])


def test_results_that_differ_and_clocks_that_are_wrong_are_shown() -> None:
    made = Row("crc")
    made.add(OURS, Run(Moment(4, 2), 4.0, "1"))
    made.add(THEIRS, Run(Moment(2, 1), 3.0, "2"))
    assert made.complaints() == ["RESULTS DIFFER", "THE CLOCK OF QEMU"]
    assert "RESULTS DIFFER" in table([Part("integer", [made])])[1]


def test_the_first_process_runs_the_chosen_items_with_their_rounds() -> None:
    from bench.guest.targets import AMD64

    (group,) = suite.chosen(["crc", "sort"])
    made = suite.initramfs(group.items, AMD64, b"busybox")
    assert b"\n/bench/crc 1500\n/bench/sort 200\n" in made and b"/bench/sieve" not in made


def test_a_text_buffer_is_read_out_of_the_monitors_dump() -> None:
    dump = "000b8000: 0x41 0x07 0x3a 0x07\r\n000b8004: 0xb3 0x1f\r\n"
    assert screens.shown(dump) == "A:\N{BOX DRAWINGS LIGHT VERTICAL}"


def test_an_image_that_is_not_there_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GUESTHOUSE_GUESTS", str(tmp_path))
    assert screens.watches(["freedos"]) == [] and "freedos722.img" in capsys.readouterr().err


def test_a_disk_is_read_through_the_bus_that_its_program_is_named_after() -> None:
    from bench import disks

    made = disks.userland(["virtio_4k"], b"busybox", {"00": b"module"})
    assert b"/bench/virtio_4k <> /dev/vda" in made and b"ide_seq" not in made and b"insmod /lib/00.ko" in made
