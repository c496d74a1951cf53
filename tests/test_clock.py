import pytest

from guesthouse.clock import FEWEST, SECOND, Clock, RealClock, VirtualClock


@pytest.fixture
def fired():
    return []


def test_time_never_goes_backwards():
    clock = Clock()
    clock.advance_to(10)
    clock.advance_to(5)
    assert clock.now() == 10


def test_a_timer_fires_once_when_its_time_has_come(fired):
    clock = Clock()
    timer = clock.timer(lambda: fired.append(clock.now()))
    timer.set(100)
    clock.advance_to(99)
    clock.fire_due()
    assert fired == [] and clock.next_deadline() == 100
    clock.advance_to(130)
    clock.fire_due()
    clock.fire_due()
    assert fired == [130] and clock.next_deadline() is None


def test_equal_deadlines_fire_in_the_order_of_creation_not_of_setting(fired):
    clock = Clock()
    first, second = (clock.timer(lambda n=n: fired.append(n)) for n in (1, 2))
    second.set(5)
    first.set(5)
    clock.advance_to(5)
    clock.fire_due()
    assert fired == [1, 2]


def test_earlier_deadlines_fire_first(fired):
    clock = Clock()
    late, early = (clock.timer(lambda n=n: fired.append(n)) for n in ("late", "early"))
    late.set(6)
    early.set(5)
    clock.advance_to(10)
    clock.fire_due()
    assert fired == ["early", "late"]


def test_a_cancelled_or_moved_timer_forgets_its_old_deadline(fired):
    clock = Clock()
    timer = clock.timer(lambda: fired.append(clock.now()))
    timer.set(5)
    timer.set(20)
    timer.set(5)
    timer.set(20)
    clock.advance_to(10)
    clock.fire_due()
    assert fired == [] and clock.next_deadline() == 20
    timer.cancel()
    assert clock.next_deadline() is None


def test_a_timer_set_twice_to_the_same_time_fires_once(fired):
    clock = Clock()
    timer = clock.timer(lambda: fired.append(1))
    for at in (5, 6, 5):
        timer.set(at)
    clock.advance_to(9)
    clock.fire_due()
    clock.fire_due()
    assert fired == [1]


def test_a_timer_that_is_moved_again_and_again_leaves_no_heap_behind(fired):
    clock = Clock()
    timers = [clock.timer(lambda n=n: fired.append(n)) for n in range(3)]
    for at in range(5000, 1000, -1):
        for timer in timers:
            timer.set(at)
    assert len(clock._waiting) < 100 and clock.next_deadline() == 1001
    clock.advance_to(6000)
    clock.fire_due()
    assert fired == [0, 1, 2]


def test_a_callback_that_always_wants_to_be_called_again_does_not_hold_the_board(fired):
    clock = Clock()

    def again():
        fired.append(1)
        timer.set(clock.now())

    timer = clock.timer(again)
    timer.set(0)
    clock.fire_due()
    assert len(fired) == 1 and clock.next_deadline() == 0
    clock.fire_due()
    assert len(fired) == 2


def test_a_callback_may_cancel_or_move_a_timer_that_is_due_in_the_same_round(fired):
    clock = Clock()
    timers = []

    def first():
        timers[1].cancel()
        timers[2].set(7)

    timers += [clock.timer(first), clock.timer(lambda: fired.append(1)), clock.timer(lambda: fired.append(2))]
    for timer in timers:
        timer.set(5)
    clock.advance_to(10)
    clock.fire_due()
    clock.fire_due()
    assert fired == [2] and clock.next_deadline() is None


def test_virtual_time_is_the_instruction_count():
    clock = VirtualClock(instructions_per_second=500_000_000)
    clock.sample(1000)
    assert clock.now() == 2000


@pytest.mark.parametrize("rate", [1_000_000_000, 333_333_333, 7])
@pytest.mark.parametrize("deadline", [1, 999, 1_000_003])
def test_a_budget_ends_exactly_when_the_deadline_is_due(rate, deadline):
    clock = VirtualClock(rate)
    clock.timer(lambda: None).set(deadline)
    n = clock.budget(0, 1 << 60)
    clock.sample(n - 1)
    assert clock.now() < deadline or n == 1
    clock.sample(n)
    assert clock.now() >= deadline


def test_a_budget_in_real_time_goes_to_the_deadline_at_the_rate_that_was_measured():
    clock = RealClock(host=lambda: 0)
    clock.timer(lambda: None).set(1_000_000)
    assert clock.budget(0, 1 << 20) == 1 << 20
    clock.tell_rate(80_000_000)
    assert clock.budget(0, 1 << 20) == 85_000 and clock.budget(0, 5000) == 5000
    clock.tell_rate(1000)
    assert clock.budget(0, 1 << 20) == FEWEST


def test_idle_virtual_time_jumps_to_the_next_deadline_and_runs_on_from_there():
    clock = VirtualClock()
    clock.timer(lambda: None).set(5000)
    clock.sample(100)
    assert clock.skip_idle(100) == 0 and clock.now() == 5000
    clock.sample(150)
    assert clock.now() == 5050


def test_without_a_deadline_idling_has_no_end():
    assert VirtualClock().skip_idle(0) == -1


def test_real_time_is_scaled_and_does_not_pass_while_paused():
    host = [0]
    clock = RealClock(lambda: host[0], scale=2.0)
    host[0] = 100
    clock.sample(0)
    assert clock.now() == 200
    clock.pause()
    host[0] = SECOND
    clock.resume()
    host[0] += 10
    clock.sample(0)
    assert clock.now() == 220


def test_a_real_clock_says_how_long_the_host_may_sleep():
    host = [0]
    clock = RealClock(lambda: host[0])
    clock.timer(lambda: None).set(300)
    host[0] = 100
    assert clock.skip_idle(0) == 200
    host[0] = 400
    assert clock.skip_idle(0) == 0


def test_a_restored_clock_goes_on_where_it_was_saved():
    clock, copy = VirtualClock(), VirtualClock()
    clock.timer(lambda: None).set(5000)
    clock.skip_idle(100)
    copy.restore(clock.save())
    copy.sample(150)
    clock.sample(150)
    assert copy.now() == clock.now() == 5050
