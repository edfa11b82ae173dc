"""`make up`: the whole product on this machine, its data kept."""

from __future__ import annotations

import hashlib
import os
import shlex
from typing import TYPE_CHECKING, Final

from dev.processes import Console, run_to_end, run_until_asked
from dev.procfile import RELEASE, read_procfile
from dev.provider import servers
from dev.site import ROOT, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from dev.provider import Servers

_FLOWER_PORT: Final = 5555


def up(data: Path) -> int:
    """Run the Procfile on durable servers, embedded ones below `data`, until asked to end; the exit code."""
    commands = read_procfile(ROOT)
    release = commands.pop(RELEASE, None)
    console = Console.on_stdout(max(map(len, [*commands, RELEASE])))
    console.say("dev", "starting the servers")
    data.mkdir(parents=True, exist_ok=True)
    with servers(throwaway=False, data=data, migrate=False) as made:
        env = {"FLOWER_PORT": str(free_port(_FLOWER_PORT)), **made.site.full_env()}
        if release is not None and (code := run_to_end(RELEASE, release, env, ROOT, console)):
            return code
        _load_demo_once(made, data, console)
        _announce(env, made, data, console)
        return run_until_asked(commands, env, ROOT, console, _embedded(made))


def _embedded(made: Servers) -> dict[str, Callable[[], bool]]:
    """Return what tells of each server of our own whether it has died, by its name and where it says why."""
    servers = {"PostgreSQL": made.postgres, "Valkey": made.valkey}
    return {f"{name} (log: {server.log})": server.has_died for name, server in servers.items() if server}


def _load_demo_once(made: Servers, data: Path, console: Console) -> None:
    """Load the demo org the first time; what the user makes of it afterwards stays."""
    where = "embedded" if made.postgres else hashlib.sha256(made.site.urls.app.encode()).hexdigest()[:16]
    mark = data / f"demo-loaded-{where}"
    if not mark.exists():
        console.say("dev", "loading the demo org")
        made.site.cmis("demo", "load")
        mark.touch()


def _announce(env: Mapping[str, str], made: Servers, data: Path, console: Console) -> None:
    """Write the variables for other terminals, and say what is where."""
    file = data / "env"
    names = [*made.env(), "FLOWER_PORT"]
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        stream.writelines(f"export {name}={shlex.quote(env[name])}\n" for name in names)
    console.say("dev", f"Flower: http://127.0.0.1:{env['FLOWER_PORT']}  (log in as {env['FLOWER_BASIC_AUTH']})")
    console.say(
        "dev",
        f"in another terminal: . {shlex.quote(str(file))}; cmis health; cmis --help    Ctrl-C here ends everything",
    )
