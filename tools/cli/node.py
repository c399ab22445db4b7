"""Commands about the running node: up, down, conf, status, restart, scale, run."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from common.errors import ConfigError

if TYPE_CHECKING:
    from common.settings import Settings

JsonFlag = Annotated[bool, typer.Option("--json", help="For scripts.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (up, down, conf, status, restart, scale, run):
        app.command()(command)


def load_settings(context: typer.Context) -> Settings:
    """Settings of the file that was named, or found."""
    from common.config import load

    file: Path | None = context.obj
    return load(file)


def working_directory(context: typer.Context) -> Path:
    """Where the services run: beside the settings file, so that relative paths in it mean what they say."""
    from common.config import find

    file: Path | None = context.obj
    return (file or find()).resolve().parent


def up(
    context: typer.Context,
    daemon: Annotated[bool, typer.Option("-d", "--daemon", help="Run in the background.")] = False,
) -> None:
    """Start the node: check the settings, then run supervisord in the foreground (Ctrl-C ends it)."""
    from tools.models.ready import pull_if_missing
    from tools.supervisor import node

    settings, directory = load_settings(context), working_directory(context)
    pull_if_missing(settings)
    if not daemon:
        node.run_in_foreground(settings, directory)
    child = node.start_in_background(settings, directory)
    typer.echo(f"node {settings.node} is up, supervisord {child.pid}; see `vedette status`, end with `vedette down`")


def down(context: typer.Context) -> None:
    """End the node, and remove what it left in shared memory, also when it was killed."""
    from tools.supervisor import node

    settings = load_settings(context)
    typer.echo(f"node {settings.node} {'has ended' if node.stop(settings) else 'was down already'}")


def conf(
    context: typer.Context,
    committed: Annotated[
        bool, typer.Option("--committed", help="As it stands in the repository, with relative paths.")
    ] = False,
) -> None:
    """Print the supervisord.conf that `up` would use."""
    from common.config import RESOLVED
    from tools.supervisor.conf import committed_plan, plan_for, render

    settings = load_settings(context)
    if committed:
        typer.echo(render(committed_plan(settings)), nl=False)
        return
    environment = {RESOLVED: str(Path(settings.runtime_dir) / "settings.json")}
    typer.echo(render(plan_for(settings, working_directory(context), environment)), nl=False)


def status(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Show processes and cameras, whether the node is up or not."""
    from tools.cli.output import print_json
    from tools.supervisor.status import node_status

    state = node_status(load_settings(context))
    if as_json:
        print_json(state)
        return
    from rich.console import Console

    console = Console()
    for part in status_tables(state):
        console.print(part)


def status_tables(state: dict[str, Any]) -> list[Any]:
    """Tables of processes and cameras."""
    from tools.cli.output import number, table

    title = f"{state['node']} is {state['state']}, {state['total_pss_mb']:.0f} MB"
    columns = ("process", "pid", "state", "restarts", "cpu %", "PSS MB", "remarks")
    processes = table(*columns, right=("pid", "restarts", "cpu %", "PSS MB"), title=title)
    for row in state["processes"]:
        remarks = row["reason"] or (f"last end: {row['last_end']}" if row["last_end"] else "")
        processes.add_row(
            row["name"],
            str(row["pid"] or "-"),
            row["state"] if row["doing"] in {"", "running"} else row["doing"],
            str(row["restarts"]),
            number(row["cpu_percent"]),
            number(row["pss_mb"]),
            remarks,
        )
    cameras = table("camera", "status", "fps", "faces", "remarks", right=("fps", "faces"))
    for row in state["cameras"]:
        cameras.add_row(row["name"], row["status"], number(row["fps"]), str(row["faces"]), row["reason"])
    return [processes, cameras]


def restart(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A process (`infer:0`), or a family (`infer`).")],
) -> None:
    """Restart one process, or each of its family; the others go on."""
    from common.supervisor import Supervisor
    from tools.supervisor.node import running_members

    settings = load_settings(context)
    known = running_members(settings)
    chosen = [member for member in known if name in {member, member.split(":")[0], member.replace(":", "-", 1)}]
    if not chosen:
        near = difflib.get_close_matches(name, known, 1, 0.4)
        raise ConfigError(f"no process {name!r}; {f'did you mean {near[0]!r}?' if near else ', '.join(known)}")
    supervisor = Supervisor(settings.runtime_dir)
    for member in chosen:
        supervisor.restart(member.replace(":", "-", 1))
        typer.echo(f"{member} was restarted")


def scale(
    context: typer.Context,
    family: Annotated[str, typer.Argument(help="`infer` is the one that scales.")],
    count: Annotated[int, typer.Argument(help="How many processes.")],
) -> None:
    """Run so many workers, until the next `up`; no other process is restarted."""
    from tools.supervisor import node

    if family != "infer":
        raise ConfigError(f"scale {family}: only infer scales; cameras are in the settings")
    settings = load_settings(context)
    changes = node.scale(settings, count)
    typer.echo(
        f"{count} workers ({', '.join(changes) or 'as before'}); until the next `up`, keep it with infer.workers"
    )


def run(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A process, as `capture:door`.")],
) -> None:
    """Run one service in the foreground; it joins the other processes of the node."""
    from tools.supervisor.single import run_single

    run_single(load_settings(context), working_directory(context), name)
