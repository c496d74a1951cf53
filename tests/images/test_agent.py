"""The host's end of the agent, without a guest."""

from __future__ import annotations

import random
import shutil
import subprocess

import pytest

from guesthouse.errors import ConfigError, UserError, WrongState
from guesthouse.images import userland
from guesthouse.images.agent import (
    CHUNK,
    CONTROL,
    DATA,
    ERROR,
    LONGEST,
    WINDOW,
    Agent,
    Exited,
    Output,
    Ready,
    Started,
    Trouble,
    prepare,
    quoted,
)


@pytest.fixture
def agent() -> Agent:
    agent = Agent()
    assert agent.feed(CONTROL, b"ready 1\r\n") == [Ready()]
    return agent


def test_nothing_is_sent_before_the_guest_is_ready() -> None:
    agent = Agent()
    agent.run(["true"])
    agent.resize(24, 80)
    assert agent.outgoing(CONTROL) == b""
    assert agent.feed(CONTROL, b"noise\nrea") == []
    assert agent.feed(CONTROL, b"dy 1\n") == [Ready()]
    assert agent.outgoing(CONTROL) == b"run 1 null set -- 'true'\nsize 24 80\n"


def test_a_run_is_told_in_full(agent: Agent) -> None:
    one = agent.run(["ls", "-l", "it's"], env={"A": "1 2"}, cwd="/tmp")
    assert agent.outgoing(CONTROL) == (
        b"run 1 null cd -- '/tmp' || exit 126; export A='1 2'; set -- 'ls' '-l' 'it'\\''s'\n"
    )
    assert agent.feed(CONTROL, b"start 1 77\n") == [Started(one, 77)]
    assert agent.feed(DATA, b"out") == [Output(one, 1, b"out")]
    assert agent.feed(ERROR, b"err") == [Output(one, 2, b"err")]
    assert agent.busy
    assert agent.feed(CONTROL, b"exit 1 3\n") == [Exited(one, 3)]
    assert not agent.busy and agent.feed(DATA, b"late") == []
    assert agent.run(["ls"]) == 2


def test_one_command_at_a_time(agent: Agent) -> None:
    agent.run(["a"])
    with pytest.raises(WrongState, match="still runs command 1"):
        agent.run(["b"])


def test_output_at_the_terminal_is_the_consoles(agent: Agent) -> None:
    agent.run(["sh"], tty=True)
    assert agent.outgoing(CONTROL) == b"run 1 tty set -- 'sh'\n"
    assert agent.feed(DATA, b"stray") == [] and agent.stdin_room == 0


def test_input_goes_in_chunks_and_ends(agent: Agent) -> None:
    agent.run(["cat"], stdin=True)
    agent.write_stdin(b"ab\0\n")
    agent.close_stdin()
    agent.write_stdin(b"too late")
    assert agent.outgoing(DATA) == b"\nstdin 1\n4\nab\0\n0\n"


def test_input_waits_for_the_guest(agent: Agent) -> None:
    agent.run(["cat"], stdin=True)
    assert agent.stdin_room == WINDOW
    data = bytes(range(256)) * (3 * WINDOW // 256)
    agent.write_stdin(data)
    agent.close_stdin()
    sent = agent.outgoing(DATA)
    assert sent.count(b"%d\n" % CHUNK) == WINDOW // CHUNK and agent.outgoing(DATA) == b""
    assert agent.stdin_room == 0
    rest = b""
    while not rest.endswith(b"\xff0\n"):
        agent.feed(CONTROL, b"more 1 %d\n" % CHUNK)
        fresh = agent.outgoing(DATA)
        assert fresh
        rest = (rest + fresh)[-8:]


def test_what_is_handed_out_respects_the_limit(agent: Agent) -> None:
    agent.run(["a" * 100])
    whole = b""
    while part := agent.outgoing(CONTROL, 16):
        assert len(part) <= 16
        whole += part
    assert whole == b"run 1 null set -- '" + b"a" * 100 + b"'\n"


def test_the_end_of_a_command_ends_its_input(agent: Agent) -> None:
    agent.run(["true"], stdin=True)
    agent.write_stdin(b"x" * 100)
    agent.feed(CONTROL, b"exit 1 0\n")
    agent.write_stdin(b"y")
    assert agent.outgoing(DATA) == b"" and agent.stdin_room == 0
    assert agent.feed(CONTROL, b"more 1 100\n") == []


def test_signals_wait_for_the_start(agent: Agent) -> None:
    agent.run(["sleep", "9"])
    agent.signal("SIGTERM")
    agent.outgoing(CONTROL)
    agent.feed(CONTROL, b"start 1 50\n")
    agent.signal("int")
    assert agent.outgoing(CONTROL) == b"signal 50 TERM\nsignal 50 INT\n"
    with pytest.raises(ConfigError, match="signal"):
        agent.signal("SEGV; reboot")


@pytest.mark.parametrize(
    "argv, env, cwd",
    [([], {}, None), ([""], {}, None), (["a\0b"], {}, None), (["a"], {"A B": ""}, None), (["a"], {}, "x\0")],
)
def test_what_no_command_can_be_is_refused(argv: list[str], env: dict[str, str], cwd: str | None) -> None:
    with pytest.raises(ConfigError):
        prepare(argv, env, cwd)


def test_a_command_line_too_long_is_refused_and_forgotten(agent: Agent) -> None:
    with pytest.raises(UserError, match="bytes"):
        agent.run(["echo", "x" * LONGEST])
    assert not agent.busy and agent.outgoing(CONTROL) == b""


def test_another_version_is_told(agent: Agent) -> None:
    assert isinstance(Agent().feed(CONTROL, b"ready 2\n")[0], Trouble)


def test_no_guest_upsets_the_host(agent: Agent) -> None:
    dice = random.Random(11)
    pieces = [b"exit 1 0", b"start 1 ", b"more 1 5", b"\n", b" ", b"-1", b"9" * 400, b"\xff\0", b"ready 1", b"exit "]
    for _ in range(2000):
        if not agent.busy:
            agent.run(["x"], stdin=True)
        data = b"".join(dice.choice(pieces) for _ in range(4))
        for event in agent.feed(dice.choice([DATA, ERROR, CONTROL]), data):
            assert isinstance(event, Ready | Started | Output | Exited | Trouble)
        assert len(agent._line) <= 256


@pytest.mark.skipif(not shutil.which("busybox"), reason="busybox is not installed")
def test_busyboxs_shell_reads_words_back_as_they_were() -> None:
    dice = random.Random(2)
    words = [bytes(dice.randrange(1, 256) for _ in range(dice.randrange(12))) for _ in range(200)]
    words += [b"", b"'", b"\n", b"a'\nb\\n", b"$(reboot)", b"-n", bytes(range(1, 256))]
    line = b'read -r line; eval "$line"; printf \'%s\\0\' "$@"\n'
    script = b"set -- " + b" ".join(quoted(word) for word in words) + b"\n"
    told = subprocess.run(["busybox", "sh", "-c", line], input=script, capture_output=True, check=True).stdout
    assert told.split(b"\0")[:-1] == words


@pytest.mark.parametrize("script", [userland.INIT, userland.AGENT, userland.PROFILE])
def test_the_guests_scripts_are_sound(script: str) -> None:
    shell = shutil.which("busybox") or shutil.which("bash")
    if not shell:
        pytest.skip("neither busybox nor bash is installed")
    command = [shell, "sh", "-n"] if shell.endswith("busybox") else [shell, "-n"]
    told = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (0, "")
