"""Renders supervisord.conf from the fleet table."""

from __future__ import annotations

import dataclasses
import os
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from common.errors import ConfigError
from common.fleet import FLEET, Member, members
from common.settings import Settings

ROOT = Path(__file__).resolve().parents[2]  # holds the packages `services`, `common` and `tools`
STOP_S = 6  # a service that is asked to end ends itself after 4 s at the latest (its hang watchdog)
LOG_BYTES = 1_000_000
LOG_BACKUPS = 2
COMMITTED = "supervisord.conf"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rendering depends on.

    Attributes:
        node: Name of the node.
        cameras: Names of its cameras.
        workers: How many infer processes.
        max_workers: How many there may be.
        families: Which services run at all.
        runtime_dir: For socket and pid file.
        log_dir: For log files.
        directory: Where the services run; relative paths in camera sources begin here.
        environment: For the services.
        user: Whom supervisord shall be; empty for whoever starts it.
    """

    node: str
    cameras: tuple[str, ...]
    workers: int
    max_workers: int
    families: tuple[str, ...]
    runtime_dir: str
    log_dir: str
    directory: str
    environment: dict[str, str]
    user: str = ""


def plan_for(settings: Settings, directory: Path, environment: dict[str, str]) -> Plan:
    """The plan of a node for `vedette up`.

    Args:
        settings: Checked settings.
        directory: Where the services shall run.
        environment: What hands the settings on.
    """
    places = {"PATH": f"{Path(sys.executable).parent}:%(ENV_PATH)s", "PYTHONSAFEPATH": "1"}
    if str(ROOT) != sysconfig.get_path("purelib"):
        places["PYTHONPATH"] = str(ROOT)
    return Plan(
        node=settings.node,
        cameras=tuple(settings.cameras),
        workers=settings.infer.workers,
        max_workers=settings.infer.max_workers,
        families=families(settings),
        runtime_dir=settings.runtime_dir,
        log_dir=str(Path(settings.state_dir) / "logs"),
        directory=str(directory),
        environment={**places, **environment},
        user="root" if os.getuid() == 0 else "",
    )


def committed_plan(settings: Settings) -> Plan:
    """The plan of the file in the repository: everything relative to it, for a plain `supervisord -c`."""
    here = "%(here)s"
    return Plan(
        node=settings.node,
        cameras=tuple(settings.cameras),
        workers=settings.infer.workers,
        max_workers=settings.infer.max_workers,
        families=families(settings),
        runtime_dir=f"{here}/deploy/run",
        log_dir=f"{here}/deploy/run",
        directory=here,
        environment={
            "PATH": f"{here}/.venv/bin:%(ENV_PATH)s",
            "PYTHONPATH": here,
            "PYTHONSAFEPATH": "1",
            "VEDETTE_CONFIG": f"{here}/vedette.yml",
            "VEDETTE__RUNTIME_DIR": f"{here}/deploy/run",
        },
    )


def plan_members(plan: Plan) -> list[Member]:
    """The processes of a plan, in start order."""
    rows = members(plan.cameras, plan.workers, plan.families)
    return [member for member in rows if member.process.family in plan.families]


def families(settings: Settings) -> tuple[str, ...]:
    """The services of a node: a replay tells nobody and shows nothing."""
    without = {"publish", "view", "screen"} if settings.replay else set() if settings.view.enabled else {"view"}
    wanted = [name for name, row in FLEET.items() if not row.optional or name in settings.optional]
    return tuple(family for family in wanted if family not in without)


def render(plan: Plan) -> str:
    """Text of supervisord.conf.

    Raises:
        ConfigError: A path that the file's format cannot hold.
    """
    plan = _escaped(plan)
    lines = [
        "; Made by `vedette conf` from common/fleet.py; not edited by hand.",
        "",
        *_section("supervisord", _supervisord(plan)),
        *_section("unix_http_server", {"file": f"{plan.runtime_dir}/supervisor.sock", "chmod": "0700"}),
        *_section(
            "rpcinterface:supervisor",
            {"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"},
        ),
        *_section("supervisorctl", {"serverurl": f"unix://{plan.runtime_dir}/supervisor.sock"}),
    ]
    for member in plan_members(plan):
        lines += _member(member, plan)
    return "\n".join(lines).rstrip() + "\n"


def _supervisord(plan: Plan) -> dict[str, str]:
    environment = ",".join(f'{name}="{value}"' for name, value in sorted(plan.environment.items()))
    return {
        "identifier": plan.node,
        "nodaemon": "true",
        "directory": plan.directory,
        "logfile": f"{plan.log_dir}/supervisord.log",
        "logfile_maxbytes": str(LOG_BYTES),
        "logfile_backups": str(LOG_BACKUPS),
        "pidfile": f"{plan.runtime_dir}/supervisord.pid",
        "umask": "077",
        "environment": environment,
        **({"user": plan.user} if plan.user else {}),
    }


def _member(member: Member, plan: Plan) -> list[str]:
    """Section of one process. Its stdout carries heartbeats (or the listener's protocol), never text: no log file."""
    listens = member.process.family == "watchdog"
    command = f"env python3 -m {member.process.module} {member.argument}".rstrip()
    keys = {
        "command": command,
        "priority": str(member.process.priority),
        **({"events": "PROCESS_STATE", "buffer_size": "1000"} if listens else {}),
        "autorestart": "unexpected",
        "exitcodes": "2",
        # at 0 what is killed soon after its start is started again at once, not after seconds; the watchdog holds back
        # what fails again and again, and supervisord the watchdog
        "startsecs": "1" if listens else "0",
        "stopwaitsecs": str(STOP_S),
        "stdout_logfile": "NONE",
        "stderr_logfile": f"{plan.log_dir}/{member.program}.log",
        "stderr_logfile_maxbytes": str(LOG_BYTES),
        "stderr_logfile_backups": str(LOG_BACKUPS),
    }
    return _section(f"{'eventlistener' if listens else 'program'}:{member.program}", keys)


def _section(name: str, keys: dict[str, str]) -> list[str]:
    return [f"[{name}]", *(f"{key}={value}" for key, value in keys.items()), ""]


def _escaped(plan: Plan) -> Plan:
    """The plan with `%` doubled where it is not one of the format's own expressions."""

    def text(value: str) -> str:
        if any(mark in value for mark in ('"', "\n", "\r", " ;")):
            raise ConfigError(f"path {value!r}: no quotation mark, line end or ' ;' allowed here")
        for own in ("%(here)s", "%(ENV_PATH)s"):
            value = value.replace(own, own.replace("%", "\0"))
        return value.replace("%", "%%").replace("\0", "%")

    return dataclasses.replace(
        plan,
        runtime_dir=text(plan.runtime_dir),
        log_dir=text(plan.log_dir),
        directory=text(plan.directory),
        environment={name: text(value) for name, value in plan.environment.items()},
    )
