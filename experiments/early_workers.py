"""Worker processes begin with their imports while the command line is still read."""

from collections.abc import Sequence
from dataclasses import fields
from itertools import pairwise

WITHOUT_WORKERS = ("--dry-run", "--cluster")


def start_workers(settings: type, arguments: Sequence[str], modules: Sequence[str] = ()) -> None:
    """Start the server that rendering processes are forked from, where the command needs them.

    It ends with the command. A misspelt option starts none, and is answered at once.

    Args:
        settings: The dataclass that the command line is read into.
        arguments: The command line as it was typed, without the program.
        modules: What the workers need besides rendering and is slow to import.
    """
    named = {argument.partition("=")[0] for argument in arguments if argument.startswith("-")}
    known = {f"--{field.name}".replace("_", "-") for field in fields(settings)}
    if {name.replace("_", "-") for name in named} - known or named & set(WITHOUT_WORKERS):
        return
    if "--workers=0" in arguments or ("--workers", "0") in pairwise(arguments):
        return
    from isp_env.workers.isolated import start_fork_server

    start_fork_server(["isp_env.batch.warm_start", *modules])
