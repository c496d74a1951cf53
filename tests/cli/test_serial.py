from __future__ import annotations

import os
import threading

from guesthouse.cli.passing import Outflow
from guesthouse.cli.serial import HELD, AtLeisure


def test_a_peer_that_does_not_read_holds_nobody_up_and_bounds_what_waits() -> None:
    reading, written = threading.Event(), bytearray()

    def write(data: bytes) -> None:
        reading.wait(30)
        written.extend(data)

    peer = AtLeisure(write)
    for _ in range(2 * HELD // 65536):
        peer(bytes(65536))
    assert not written
    reading.set()
    peer(b"")
    assert HELD <= len(written) <= HELD + 65536


def test_what_waits_at_the_end_is_still_written() -> None:
    written = bytearray()
    peer = AtLeisure(written.extend)
    peer(b"the last words")
    peer(b"")
    assert written == b"the last words"


def test_an_output_that_nobody_takes_holds_the_guest_up_until_its_machine_is_to_end() -> None:
    reader, writer = os.pipe()
    ending, done = threading.Event(), threading.Event()

    def write() -> None:
        Outflow(writer, lambda: None, ending.is_set)(bytes(1 << 20))
        done.set()

    threading.Thread(target=write).start()
    assert not done.wait(0.3)
    ending.set()
    assert done.wait(10)
    os.close(reader)
    os.close(writer)
