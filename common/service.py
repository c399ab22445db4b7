"""What every process does alike: settings, logging, signals, scheduling, heartbeat, hang watchdog, exit codes."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import functools
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from common import config
from common.errors import ConfigError
from common.fleet import FLEET
from common.guard import Guard
from common.heartbeat import DUMP_SIGNAL, Heartbeat
from common.placement import Placement
from common.private import UMASK, make_private
from common.pulse import Pulse
from common.settings import Settings
from common.stats import Stats, stats_path, write_json

if TYPE_CHECKING:
    from common.bus import Bus

HANG_S = 3.5  # a loop that has not come round for so long is ended
MARGIN_S = 0.5  # that others leave to the watchdog, which judges them all
LAST_RESORT_S = 15.0  # over its limit a hung loop ends itself, should no watchdog have done it
BEAT_S = 0.2  # five newlines a second to supervisord: they wake its loop, so that it sees a death at once
REPORT_S = 1.0
EXIT_STOPPED, EXIT_FAILED, EXIT_CONFIG = 0, 1, 2
PR_SET_PDEATHSIG = 1

log = logging.getLogger(__name__)


class Service:
    """One running process; its `main` gets this.

    Attributes:
        name: As users see it: `capture:door`, `infer:0`, `track`.
        family: Row of the fleet table.
        argument: Camera, or index of the worker, or empty.
        settings: Of the node.
        stats: Counters of this process.
        placement: Its cores and policy.
    """

    def __init__(self, family: str, argument: str, settings: Settings) -> None:
        self.family, self.argument, self.settings = family, argument, settings
        self.name = f"{family}:{argument}" if argument else family
        self.stats = Stats()
        self.runtime_dir = make_private(Path(settings.runtime_dir))
        self.state_dir = make_private(Path(settings.state_dir))
        self.placement = Placement(family, self.name, settings)
        self._stop = False
        self._hang_s = HANG_S
        self._started_ns = time.monotonic_ns()
        self._beat_at = self._report_at = 0.0
        self._state: tuple[str, str] = ("starting", "")
        self._pulses: list[Pulse] = []
        self._heart = Heartbeat(self.runtime_dir, self.name)
        self._pipe = config.supervised() and family != "watchdog"  # the watchdog's stdout is a protocol
        self._guard = Guard(self.runtime_dir, os.getppid(), self._note_watchdog) if self._pipe else None
        if self._pipe:
            os.set_blocking(1, False)

    @functools.cached_property
    def bus(self) -> Bus:
        """Its sockets; a process without any is spared the libraries behind them, 12 MB."""
        from common.bus import Bus

        return Bus(self.runtime_dir, self.stats, self.placement.bus_priority, self.placement.bus_cores)

    @property
    def stopping(self) -> bool:
        """True once the process was asked to end."""
        return self._stop

    def stop(self) -> None:
        """Ask the main loop to end."""
        self._stop = True

    def beat(self, state: str = "running", reason: str = "") -> None:
        """Prove that the main loop goes round; call it at least every 0.2 s.

        Args:
            state: `running`, `starting` or `waiting`.
            reason: What it waits for, or what is degraded, in words.
        """
        now = time.monotonic()
        changed = (state, reason) != self._state
        if changed:
            log.info("state=%s reason=%s", state, reason or "none")
            self._state = (state, reason)
        if now >= self._beat_at:
            self._beat_at = now + BEAT_S
            self._wake_supervisor()
        if changed or now >= self._report_at:
            self._report_at = now + REPORT_S
            self._arm()
            self._report()
            self._look_after_the_watchers()
            self._look_after_threads()

    def pulse(self, name: str) -> Pulse:
        """Pulse of a helper thread, which wraps its work in `with pulse.work():` and may not wait in there for ever."""
        made = Pulse(name, HANG_S)
        self._pulses.append(made)
        return made

    @contextlib.contextmanager
    def grace(self, seconds: float) -> Iterator[None]:
        """Allow the loop to be silent for longer inside, for a call that is known to be slow."""
        before, self._hang_s = self._hang_s, seconds
        self._arm()
        self._report()
        try:
            yield
        finally:
            self._hang_s = before
            self._arm()
            self._report()  # the watchdog goes by the limit in the report

    def close_bus(self) -> None:
        """Close its sockets, if there are any."""
        if "bus" in vars(self):
            self.bus.close()

    def end_heartbeat(self) -> None:
        """The loop has ended in order: nobody is to miss it."""
        self._heart.close()

    def _arm(self) -> None:
        """Set the timer that comes last: the watchdog knows who is only starved of a core, a timer does not."""
        faulthandler.dump_traceback_later(self._hang_s + LAST_RESORT_S, exit=True)

    def _look_after_the_watchers(self) -> None:
        done = self._guard.look(MARGIN_S) if self._guard is not None else ""
        if done:
            log.warning("%s", done)
            self.stats.count("watchers_helped")

    def _note_watchdog(self, done: str) -> None:
        record_exit(self.runtime_dir, "watchdog", EXIT_FAILED, f"{self.name} {done}")

    def _look_after_threads(self) -> None:
        for pulse in self._pulses:
            hung_s = pulse.hung_s()
            if hung_s:
                reason = f"its thread {pulse.name!r} hung for {hung_s:.1f} s, it ended itself"
                log.error("%s; stacks follow", reason)
                faulthandler.dump_traceback(all_threads=True)
                record_exit(self.runtime_dir, self.name, EXIT_FAILED, reason)
                os._exit(EXIT_FAILED)

    def _report(self) -> None:
        self._heart.beat(self._hang_s)
        now = time.monotonic_ns()
        report = {
            "name": self.name,
            "pid": os.getpid(),
            "state": self._state[0],
            "reason": self._state[1],
            "started_ns": self._started_ns,
            "beat_ns": now,
            "hang_s": self._hang_s,
            **self.stats.report(),
        }
        try:
            write_json(stats_path(self.runtime_dir, self.name), report)
        except OSError as error:
            self.stats.drop("report")
            log.debug("report not written error=%s", error)

    def _wake_supervisor(self) -> None:
        if self._pipe:
            try:
                os.write(1, b"\n")
            except BlockingIOError:
                self.stats.drop("heartbeat")  # the supervisor is stopped; never wait for it
            except BrokenPipeError:
                self._stop = True


def run(family: str, main: Callable[[Service], None]) -> NoReturn:
    """Run a service as a process: set up, call `main`, and exit with the code that the supervisor understands.

    Exits with 0 after a wished end, 1 after a failure, 2 for wrong settings (never restarted).
    """
    name, runtime_dir = family, None
    try:
        os.umask(UMASK)
        argument = _argument(family)
        name = f"{family}:{argument}" if argument else family
        settings = config.for_service()
        runtime_dir = Path(settings.runtime_dir)
        _set_up_logging(name, settings.log_level)
        _check_argument(family, argument, settings)
        _follow_parent()
        code, reason = _run(Service(family, argument, settings), main)
    except ConfigError as error:
        logging.getLogger().error("%s", error)
        code, reason = EXIT_CONFIG, str(error)
    except Exception as error:
        logging.getLogger().exception("failed")
        code, reason = EXIT_FAILED, f"{type(error).__name__}: {error}"
    if runtime_dir is not None:
        record_exit(runtime_dir, name, code, reason)
    sys.stderr.flush()
    os._exit(code)  # threads of drivers must not keep a finished process alive


def record_exit(runtime_dir: Path, name: str, code: int, reason: str) -> None:
    """Leave a note of how a process ended, for the watchdog and for people."""
    with contextlib.suppress(OSError):
        write_json(
            runtime_dir / "exits" / f"{name}.json",
            {"pid": os.getpid(), "code": code, "reason": reason, "at_ns": time.monotonic_ns()},
        )


def _run(service: Service, main: Callable[[Service], None]) -> tuple[int, str]:
    def ask(_signal: int, _frame: FrameType | None) -> None:
        service.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    faulthandler.enable()
    faulthandler.register(DUMP_SIGNAL)  # stacks of all threads to the log, also of a loop that hangs in C
    service.placement.apply()
    service.beat("starting")
    gc.collect()
    gc.freeze()
    log.info("started pid=%d", os.getpid())
    try:
        main(service)
    finally:
        faulthandler.dump_traceback_later(HANG_S, exit=True)  # closing may hang too
        service.close_bus()
        stats_path(service.runtime_dir, service.name).unlink(missing_ok=True)
        service.end_heartbeat()
        faulthandler.cancel_dump_traceback_later()
    log.info("stopped")
    return EXIT_STOPPED, "stopped"


def _argument(family: str) -> str:
    wanted = {"one": 0, "per camera": 1, "per worker": 1}[FLEET[family].scaling]
    arguments = sys.argv[1:]
    if len(arguments) != wanted:
        what = {"one": "no argument", "per camera": "the name of a camera", "per worker": "the index of the worker"}
        raise ConfigError(f"services.{family} takes {what[FLEET[family].scaling]}, got {arguments}")
    return arguments[0] if arguments else ""


def _check_argument(family: str, argument: str, settings: Settings) -> None:
    match FLEET[family].scaling:
        case "per camera" if argument not in settings.cameras:
            raise ConfigError(f"no camera {argument!r}; known: {', '.join(settings.cameras)}")
        case "per worker" if not (argument.isdecimal() and int(argument) < settings.infer.max_workers):
            raise ConfigError(f"no worker {argument!r}; 0 to {settings.infer.max_workers - 1} (infer.max_workers)")


def _set_up_logging(name: str, level: str) -> None:
    logging.basicConfig(
        level=level.upper(),
        stream=sys.stderr,
        format=f"%(asctime)s.%(msecs)03d %(levelname)s {name} %(name)s: %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
        force=True,
    )


def _follow_parent() -> None:
    """End when the supervisor ends."""
    if not config.supervised():
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    try:
        parent = Path(f"/proc/{os.getppid()}/cmdline").read_bytes()
    except OSError:
        parent = b""
    if b"supervisor" not in parent:  # it died before the request above
        os.kill(os.getpid(), signal.SIGTERM)
