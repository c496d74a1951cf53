import re
from pathlib import Path

import pytest

import guesthouse
from guesthouse.errors import ConfigError
from guesthouse.trace import SWITCHES, Counters, Switch, Trace, switch, switch_page, value


@pytest.fixture
def lines():
    return []


def test_what_is_off_is_none():
    assert Trace.off().on("uart") is None
    assert Trace.parse("riscv").on("uart") is None


def test_an_event_is_one_line_with_its_count_its_name_and_its_details(lines):
    emit = Trace.parse("uart", count=lambda: 42, write=lines.append).on("uart")
    emit("write", offset=3, value=0x80, note="two words", data=b"\n")
    assert lines == ["42 uart.write offset=3 value=0x80 note='two words' data=b'\\n'"]


@pytest.mark.parametrize("text, source, event, told", [
    ("uart", "uart", "rx", True),
    ("uart", "uart2", "rx", False),
    ("riscv", "riscv.decode", "op", True),
    ("riscv.*", "riscv.decode", "op", True),
    ("riscv.decode", "riscv.fault", "page", False),
    ("uart.rx", "uart", "rx", True),
    ("uart.rx", "uart", "tx", False),
    ("*.rx", "uart", "rx", True),
    ("*", "anything", "at_all", True),
    ("pic,uart", "uart", "rx", True),
])
def test_names_cover_what_they_match_and_what_is_below(lines, text, source, event, told):
    emit = Trace.parse(text, write=lines.append).on(source)
    if emit:
        emit(event)
    assert bool(lines) == told


def test_events_before_the_start_are_not_told(lines):
    count = [999]
    emit = Trace.parse("uart@1000", count=lambda: count[0], write=lines.append).on("uart")
    emit("early")
    count[0] = 1000
    emit("late")
    assert lines == ["1000 uart.late"]


def test_names_of_what_is_not_there_are_known_once_all_have_asked():
    trace = Trace.parse("uart*,nosuch,lapic.x,riscv.*,[a")
    for source in ("uart0", "lapic", "exit"):
        trace.on(source)
    assert trace.unheard() == ["nosuch", "riscv.*", "[a"]


@pytest.mark.parametrize("text", ["uart@", "uart@soon", "@5", "uart@-1", "uart@²"])
def test_a_wrong_trace_expression_is_the_users_mistake(text):
    with pytest.raises(ConfigError, match="--trace"):
        Trace.parse(text)


def test_each_switch_has_a_default_of_its_type_and_a_sentence():
    assert len({s.name for s in SWITCHES}) == len(SWITCHES)
    for s in SWITCHES:
        assert type(s.default) is s.kind and s.help.endswith("."), s.name


def test_the_environment_overrules_a_default():
    assert value("way", {}) == ""
    assert value("way", {"GUESTHOUSE_WAY": "plain"}) == "plain"
    assert value("stats", {"GUESTHOUSE_STATS": "1"}) is True
    assert value("stats", {"GUESTHOUSE_STATS": "off"}) is False
    assert Switch("depth", int, 2, "").parse("3") == 3


@pytest.mark.parametrize("name, text", [("way", "fast"), ("stats", "perhaps")])
def test_a_wrong_value_names_the_variable_and_what_is_allowed(name, text):
    with pytest.raises(ConfigError, match=f"GUESTHOUSE_{name.upper()}.*must be"):
        value(name, {switch(name).variable: text})


@pytest.mark.parametrize("text", ["-1", "²", "", "1.5"])
def test_a_number_is_digits(text):
    with pytest.raises(ConfigError, match="GUESTHOUSE_DEPTH.*whole number"):
        Switch("depth", int, 2, "").parse(text)


def test_each_switch_is_read_somewhere_and_each_variable_is_a_switch():
    package = Path(guesthouse.__file__).parent
    text = "\n".join(p.read_text() for p in package.rglob("*.py") if p.name != "trace.py")
    told = set(re.findall(r"\bGUESTHOUSE_[A-Z_]+", text))
    told |= {switch(name).variable for name in re.findall(r'\bvalue\("(\w+)"', text)}
    assert told == {s.variable for s in SWITCHES}


def test_the_page_has_a_row_for_each_switch():
    assert all(f"`{s.variable}`" in switch_page() for s in SWITCHES)


def test_counters_count_by_name_and_add_up():
    a, b = Counters(), Counters()
    a.add("exits.port")
    a.add("exits.port", 2)
    b.add("exits.port")
    b.set("instructions", 10)
    a.merge(b)
    assert a.items() == [("exits.port", 4), ("instructions", 10)] and a["never"] == 0
