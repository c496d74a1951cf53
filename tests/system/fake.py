"""A processor that leaves with the exits of a script, and remembers what it was answered."""

from types import SimpleNamespace

from guesthouse.engine.vcpu import Budget, Exit, Halted, MemoryRead, PortRead, RegisterRead, RegisterWrite, Stopped


class Scripted:
    """Script items: an exit, a tuple (kind, …) for exits that ask, a callable (called with the vcpu), or a number of
    instructions to run."""

    def __init__(self, script, state):
        self.script, self.state = list(script), state
        self.count, self.answers, self.refused, self.injected = 0, [], 0, []
        self.stopping, self.budgets = False, []
        self.unfinished = True  # it leaves for each interrupt, as its script says

    def run(self, budget=1 << 30):
        self.budgets.append(budget)
        if self.stopping:
            self.stopping = False
            return Stopped()
        while self.script:
            item = self.script.pop(0)
            if isinstance(item, int):
                done = min(item, budget)
                self.count += done
                budget -= done
                if item > done:
                    self.script.insert(0, item - done)
                if budget == 0:
                    return Budget()
            elif isinstance(item, Exit):
                return item
            elif isinstance(item, tuple):
                return self.asking(*item)
            else:
                item(self)
        self.count += budget
        return Budget()

    def asking(self, kind, *fields):
        if kind in (PortRead, MemoryRead):
            return kind(self.answers.append, *fields)
        if kind is RegisterRead:
            return RegisterRead(self.answers.append, *fields, self.refuse)
        assert kind is RegisterWrite
        return RegisterWrite(*fields, self.refuse)

    def refuse(self):
        self.refused += 1

    def call(self, name, argument):
        assert name == "inject"
        self.injected.append(argument)

    def stop(self):
        self.stopping = True

    def close(self):
        """Nothing is left of it."""


def x86_state():
    return SimpleNamespace(intr=0, nmi=0, smi=0, ferr=0, flags=0x202, cpl=0, ticks=0, pace=1024, tsc_offset=0)


HALT = Halted()
