"""A callable in a process of its own: what it returns and raises, how it is stopped, and that nobody else is hurt."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Timer
from typing import TYPE_CHECKING, Any

import pytest

from dev.launch import is_running, wait_until
from engine.callables.base import Call, Registered, step
from engine.callables.keeper import KEEPER
from engine.callables.outcome import Died, Outcome, Raised, Returned, Stopped, TimedOut
from engine.callables.process import run_apart
from tests.integration.callables import samples

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SOON = 5.0
"""Seconds within which what is killed is gone, on a busy machine."""


def call(**params: Any) -> Call:
    return Call(org_id="org", instance_id="instance", step_id="step", attempt=2, params=params, context={"lead": 7})


def run(
    registered: Registered, timeout: float | None = 60, stopped: Callable[[], bool] = lambda: False, **params: Any
) -> Outcome:
    return run_apart(registered, call(**params), timeout=timeout, stopped=stopped)


def pids(file: Path) -> list[int]:
    assert wait_until(file.exists, 30)
    found: list[int] = json.loads(file.read_text(encoding="ascii"))
    return found


def gone(found: list[int]) -> bool:
    return wait_until(lambda: not any(map(is_running, found)), SOON)


def test_a_callable_is_called_with_all_that_it_is_told_and_its_output_comes_back() -> None:
    assert run(samples.echo, timeout=9.5, campaigns=[1, 2]) == Returned(
        {
            "org_id": "org",
            "instance_id": "instance",
            "step_id": "step",
            "attempt": 2,
            "params": {"campaigns": [1, 2]},
            "context": {"lead": 7},
            "deadline": 9.5,
            "key": "instance:step",
        }
    )


def test_each_call_has_a_process_of_its_own_that_knows_nothing_of_the_worker_or_of_the_last_call() -> None:
    ours, theirs = socket.socketpair()  # as a connection to the database would be, even one that an exec would keep
    os.set_inheritable(ours.fileno(), True)  # noqa: FBT003
    with ours, theirs:
        KEEPER.close()
        first, second = (run(samples.surroundings, remember=text) for text in ("a", "b"))
    assert isinstance(first, Returned)
    assert isinstance(second, Returned)
    assert first.output["pid"] not in {os.getpid(), second.output["pid"]}
    assert first.output["group"] == first.output["pid"]
    assert (first.output["remembered"], second.output["remembered"]) == (["a"], ["b"])
    assert first.output["chance"] != second.output["chance"]
    opened = first.output["opened"]
    assert [target for target in opened.values() if target.startswith("socket:")] == []
    assert sorted(opened) == ["0", "1", "2", *sorted(set(opened) - {"0", "1", "2"})]
    assert len(opened) == 4  # and the pipe for the result
    assert first.output["blocked"] == []
    assert set(first.output["ignored"]) <= {signal.SIGPIPE, signal.SIGXFSZ}  # as Python has them
    assert (first.output["main"], first.output["oom"], first.output["loaded"]) == (True, "1000", [])


@pytest.mark.parametrize(
    ("error", "code", "kind", "name", "base", "message"),
    [
        ("quota", "QUOTA", "permanent", "QuotaError", "PermanentError", "no calls left today"),
        ("busy", "TRANSIENT", "transient", "TransientError", "CmisError", "busy"),
        ("slow", "TRANSIENT", "transient", "SlowServerError", "ConnectionError", "no answer"),
        ("bug", "INTERNAL_ERROR", "bug", "KeyError", "LookupError", "'campaign'"),
        ("exit", "INTERNAL_ERROR", "bug", "SystemExit", "BaseException", "3"),
        ("mute", "INTERNAL_ERROR", "bug", "MuteError", "Exception", "MuteError"),
        ("long", "INTERNAL_ERROR", "bug", "ValueError", "Exception", "\ufffd\ufffd" + "x" * 1998),
    ],
)
def test_what_a_callable_raises_comes_back_with_its_code_and_the_names_of_its_class_and_bases(
    error: str, code: str, kind: str, name: str, base: str, message: str
) -> None:
    raised = run(samples.fail, error=error)
    assert isinstance(raised, Raised)
    assert (raised.code, raised.kind, raised.name, raised.message) == (code, kind, name, message)
    assert raised.names[0] == name
    assert base in raised.names


@pytest.mark.parametrize(
    ("output", "code", "said"),
    [
        ("list", "OUTPUT_INVALID", "returned a list (return a mapping, or None)"),
        ("object", "OUTPUT_INVALID", "object is not JSON serializable"),
        ("nan", "OUTPUT_INVALID", "output.ratio: is not a finite number"),
        ("nul", "OUTPUT_INVALID", "output.text: holds a character"),
        ("surrogate", "OUTPUT_INVALID", "holds a character"),
        ("deep", "OUTPUT_INVALID", "nest at most 16 levels"),
        ("looped", "OUTPUT_INVALID", "Circular reference"),
        ("large", "OUTPUT_TOO_LARGE", "262155 bytes of JSON (return at most 262144"),
    ],
)
def test_an_output_that_no_step_can_keep_fails_for_good_and_says_why(output: str, code: str, said: str) -> None:
    raised = run(samples.output, output=output)
    assert isinstance(raised, Raised)
    assert (raised.code, raised.kind) == (code, "permanent")
    assert said in raised.message


def test_outputs_up_to_the_bound_come_back_as_json_has_them() -> None:
    largest = run(samples.output, output="largest")
    assert isinstance(largest, Returned)
    assert len(json.dumps(largest.output, separators=(",", ":"))) == 256 * 1024
    assert run(samples.output, output="loose") == Returned({"pair": [1, 2], "3": True})
    assert run(samples.output, output="nothing") == Returned({})


def test_params_of_the_largest_size_reach_the_callable() -> None:
    returned = run(samples.surroundings, remember="x" * 250_000)
    assert isinstance(returned, Returned)


@pytest.mark.parametrize("endless", [samples.spin, samples.sleep], ids=lambda one: one.name)
def test_a_timeout_stops_a_busy_loop_and_a_sleep_in_c(endless: Registered, tmp_path: Path) -> None:
    file = tmp_path / "pids"
    began = time.monotonic()
    assert run(endless, timeout=1.0, file=str(file)) == TimedOut(1.0)
    assert 1.0 <= time.monotonic() - began < 1.0 + SOON
    assert gone(pids(file))


@pytest.mark.parametrize("ends", ["timeout", "return", "die"])
def test_nothing_that_a_callable_started_outlives_it_however_it_ends(ends: str, tmp_path: Path) -> None:
    file = tmp_path / "pids"
    outcome = run(samples.brood, timeout=3.0 if ends == "timeout" else 60.0, file=str(file), ends=ends)
    assert outcome == {"return": Returned({"left": 3}), "die": Died(exit=7), "timeout": TimedOut(3.0)}[ends]
    found = pids(file)
    assert len(found) == 4
    assert not any(map(is_running, found))  # at once: the outcome is told after the end of all


def test_a_thread_that_goes_on_does_not_keep_the_call() -> None:
    assert run(samples.threads) == Returned({})


def test_what_is_not_wanted_any_more_is_killed_before_we_say_so(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    assert run(samples.brood, timeout=None, stopped=file.exists, file=str(file)) == Stopped()
    assert not any(map(is_running, pids(file)))


def test_a_call_that_is_not_wanted_from_the_start_does_not_begin(tmp_path: Path) -> None:
    assert run(samples.spin, stopped=lambda: True, file=str(tmp_path / "pids")) == Stopped()
    assert not (tmp_path / "pids").exists()


@pytest.mark.parametrize(
    ("how", "died", "said"),
    [
        ("exit", Died(exit=0), "its process ended with exit code 0 before it returned"),
        ("status", Died(exit=42), "its process ended with exit code 42 before it returned"),
        ("group", Died(signal=9), "killed by SIGKILL (out of memory, or by somebody)"),
        ("segfault", Died(signal=11), "killed by SIGSEGV"),
        ("closed", Died(exit=5), "exit code 5"),
        ("babble", Died(), "its process ended before it returned"),
        ("nonsense", Died(), "its process ended before it returned"),
        ("flood", Died(), "its process ended before it returned"),
    ],
)
def test_a_process_that_dies_or_babbles_fails_its_call_and_nothing_else(how: str, died: Died, said: str) -> None:
    outcome = run(samples.die, how=how)
    assert outcome == died
    assert isinstance(outcome, Died)
    assert said in outcome.message
    assert (outcome.code, outcome.kind) == ("DIED", "transient")
    assert isinstance(run(samples.echo), Returned)


def test_what_a_callable_writes_goes_to_the_log_line_by_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert run(samples.talk) == Returned({})
    said = [record.getMessage().partition("attempt 2: ")[2] for record in caplog.records]
    assert said == [
        "to stdout",
        "to stderr  [31m",
        "INFO package: to the log of step",
        "\ufffd raw",
        "the end",
    ]
    assert caplog.records[0].getMessage().startswith("test.talk, step step of instance instance, attempt 2")


def test_of_much_that_is_written_the_beginning_and_the_end_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert run(samples.talk, bytes=10_000_000) == Returned({})
    said = [record.getMessage().partition("attempt 2: ")[2] for record in caplog.records]
    assert sum(map(len, said)) < 17_000
    assert (said[0], said[-1]) == ("to stdout", "the end")
    [gap] = [line for line in said if "bytes are left out" in line]
    assert 9_900_000 < int(gap.split()[1]) < 10_000_000


def test_a_bugs_traceback_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    run(samples.fail, error="bug")
    said = caplog.text
    assert "Traceback (most recent call last)" in said
    assert "KeyError: 'campaign'" in said


def test_calls_of_many_threads_run_at_once_and_each_gets_its_own_outcome() -> None:
    stop = Event()
    Timer(2.0, stop.set).start()
    with ThreadPoolExecutor(12) as pool:
        endless = [pool.submit(run, samples.spin, 1.0) for _ in range(3)]
        unwanted = [pool.submit(run, samples.sleep, None, stop.is_set) for _ in range(3)]
        brief = [pool.submit(run, samples.echo, number=number) for number in range(30)]
    assert [one.result() for one in endless] == [TimedOut(1.0)] * 3
    assert [one.result() for one in unwanted] == [Stopped()] * 3
    outputs = [one.result() for one in brief]
    assert [one for one in outputs if not isinstance(one, Returned)] == []
    assert [one.output["params"]["number"] for one in outputs if isinstance(one, Returned)] == list(range(30))


def test_a_keeper_that_was_killed_is_replaced_and_what_it_watched_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, samples.spin, None, file=str(file))
        found = pids(file)
        assert KEEPER._process is not None
        os.kill(KEEPER._process.pid, signal.SIGKILL)
        assert running.result(30) in {Died(), Stopped()}
    assert gone(found)
    assert isinstance(run(samples.echo), Returned)


def test_a_keeper_that_hangs_is_replaced_by_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(run(samples.echo), Returned)
    assert KEEPER._process is not None
    stuck = KEEPER._process.pid
    os.kill(stuck, signal.SIGSTOP)
    with monkeypatch.context() as hasty:
        hasty.setattr("engine.callables.process.BEGIN_SECONDS", 0.5)
        assert run(samples.echo) == Died()
    assert isinstance(run(samples.echo), Returned)
    assert KEEPER._process.pid != stuck


def test_a_forked_process_has_a_keeper_of_its_own(tmp_path: Path) -> None:
    assert isinstance(run(samples.echo), Returned)
    assert KEEPER._process is not None
    before = KEEPER._process.pid
    file = tmp_path / "keeper"
    child = os.fork()
    if child == 0:
        try:
            ok = isinstance(run(samples.echo), Returned) and KEEPER._process is not None
            file.write_text(f"{ok} {KEEPER._process and KEEPER._process.pid}", encoding="ascii")
            KEEPER.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    said, keeper = file.read_text(encoding="ascii").split()
    assert said == "True"
    assert int(keeper) != before
    assert gone([int(keeper)])
    assert isinstance(run(samples.echo), Returned)
    assert KEEPER._process.pid == before


def test_the_time_is_kept_where_the_worker_is_stopped_too(tmp_path: Path) -> None:
    file, told = tmp_path / "pids", tmp_path / "outcome"
    child = os.fork()
    if child == 0:
        try:
            outcome = run(samples.sleep, timeout=3.0, file=str(file))
            told.write_text(repr(outcome), encoding="ascii")
            KEEPER.close()
        finally:
            os._exit(0)
    found = pids(file)
    os.kill(child, signal.SIGSTOP)
    assert gone(found)
    assert not told.exists()
    os.kill(child, signal.SIGCONT)
    os.waitpid(child, 0)
    assert told.read_text(encoding="ascii") == repr(TimedOut(3.0))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise LookupError('no licence')", "no licence"),
        ("import nothing_of_that_name", "No module named 'nothing_of_that_name'"),
        ("import os; os._exit(3)", "its process ended before it returned"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "its process ended before it returned"),
    ],
)
def test_a_module_that_cannot_be_imported_fails_its_own_calls_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, said: str
) -> None:
    (tmp_path / "brings_trouble.py").write_text(source, encoding="ascii")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(absent, "__module__", "brings_trouble")
    KEEPER.close()
    for _ in range(2):
        outcome = run(Registered("test.absent", absent))
        assert isinstance(outcome, Raised | Died)
        assert outcome.message == said
    assert isinstance(run(samples.echo), Returned)
    KEEPER.close()


def absent(_call: Call) -> None:
    """Stand in for a function whose module cannot be imported elsewhere."""


def test_a_callable_that_is_not_where_it_was_fails_and_says_so() -> None:
    moved = Registered("test.moved", samples.echo.function)
    raised = run(moved)
    assert isinstance(raised, Raised)
    assert raised.message.endswith("samples:echo is not the callable test.moved here")


@step("test.here")
def beside_the_tests(_call: Call) -> dict[str, Any]:
    """Stand in a module that imports a test framework: any module will do."""
    return {"here": True}


def test_a_callable_of_any_module_can_be_run_apart() -> None:
    assert run(beside_the_tests) == Returned({"here": True})
