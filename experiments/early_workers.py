"""Worker processes begin with their imports while the command line is still read."""

from collections.abc import Sequence
from itertools import pairwise

WITHOUT_WORKERS = ("-h", "--help", "--version", "--dry-run", "--cluster")


def start_workers(arguments: Sequence[str], modules: Sequence[str] = ()) -> None:
    """Start the server that rendering processes are forked from, where the command needs them.

    A command that is refused after all leaves nothing behind: the server ends with it.

    Args:
        arguments: The command line as it was typed, without the program.
        modules: What the workers need besides rendering and is slow to import.
    """
    named = {argument.partition("=")[0] for argument in arguments}
    if named & set(WITHOUT_WORKERS) or "--workers=0" in arguments:
        return
    if ("--workers", "0") in pairwise(arguments):
        return
    from isp_env.workers.isolated import start_fork_server

    start_fork_server(["isp_env.batch.warm_start", *modules])
