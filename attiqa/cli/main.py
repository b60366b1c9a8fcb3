"""The command line `attiqa COMMAND ...`.

A command is imported when it has something to do: its help and the refusal of a name that stands
for nothing wait for no PyTorch.
"""

import io
import logging
import sys
from importlib import import_module
from importlib.metadata import version

import tyro
from rich.logging import RichHandler

from attiqa.errors import AttiqaError, did_you_mean

COMMANDS = {
    "score": "score photographs: files and folders of any size to CSV, JSON lines or Parquet",
    "label": "label a folder of unlabelled photographs with a teacher's attribute scores",
    "select-prompts": "find the best antonym prompts of each attribute",
    "pretrain": "teach a network the order of the attributes from the labels",
    "finetune": "fit a pretrained network to mean opinion scores",
    "evaluate": "measure a model by the protocols of the field",
    "reproduce": "compute the paper's tables, one command a table",
    "compare": "compare models, pyiqa's and other programs' too, on the same photographs",
    "export": "write a model as ONNX",
}


def main() -> None:
    """Run one command; exit with 2 where the command line is wrong, 1 where the work failed."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files may be what it cannot encode
            stream.reconfigure(errors="backslashreplace")
    _log()
    name, *arguments = sys.argv[1:] or ["--help"]
    if name == "--version":
        sys.stdout.write(f"attiqa {version('attiqa')}\n")
        sys.exit(0)
    logger = logging.getLogger("attiqa")
    if name not in COMMANDS:
        asked = name in ("-h", "--help")
        if not asked:
            logger.error("no command %r%s", name, did_you_mean(name, COMMANDS))
        lines = (f"  {command:16}{text}" for command, text in COMMANDS.items())
        usage = ("usage: attiqa COMMAND ...; attiqa COMMAND --help; attiqa --version", "", *lines)
        (sys.stdout if asked else sys.stderr).write("\n".join((*usage, "")))
        sys.exit(0 if asked else 2)
    try:
        module = name.replace("-", "_")
        kind = import_module(f"attiqa.cli.settings.{module}").Settings
        try:
            settings = tyro.cli(kind, prog=f"attiqa {name}", args=arguments)
        except ValueError as error:  # of the settings together; tyro tells those of a group
            logger.error(error)
            sys.exit(2)
        settings.check()
        sys.exit(import_module(f"attiqa.cli.{module}").main(settings))
    except AttiqaError as error:
        logger.error(error)
        sys.exit(1)
    except OSError as error:
        if error.strerror is None:  # not the system's
            raise
        where = f"{error.filename}: " if error.filename else ""
        logger.error("%s%s", where, error.strerror)
        sys.exit(1)
    except KeyboardInterrupt:
        logger.error("interrupted")
        sys.exit(130)


def _log() -> None:
    """Log to the terminal above its progress bars; elsewhere to stderr, a message a line."""
    if sys.stdout.isatty():
        handler: logging.Handler = RichHandler(show_path=False)
        handler.setFormatter(logging.Formatter("%(message)s"))
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("attiqa").setLevel(logging.INFO)  # other libraries are for their own readers
