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
from rich import print
from rich.logging import RichHandler

from attiqa.errors import AttiqaError

COMMANDS = {
    "score": "score photographs: files and folders of any size to CSV, JSON lines or Parquet",
    "label": "label a folder of unlabelled photographs with a teacher's attribute scores",
    "select-prompts": "find the best antonym prompts of each attribute",
    "pretrain": "teach a network the order of the attributes from the labels",
    "finetune": "fit a pretrained network to mean opinion scores",
    "evaluate": "measure a model by the protocols of the field",
    "reproduce": "compute the paper's tables, one command a table",
    "export": "write a model as ONNX",
}


def main() -> None:
    """Run one command; exit with 2 where the command line is wrong, 1 where the work failed."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files may be what it cannot encode
            stream.reconfigure(errors="backslashreplace")
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler()])
    name, *arguments = sys.argv[1:] or ["--help"]
    if name == "--version":
        sys.stdout.write(f"attiqa {version('attiqa')}\n")
        sys.exit(0)
    if name not in COMMANDS:
        lines = (f"  {command:16}{text}" for command, text in COMMANDS.items())
        print("\n".join(("usage: attiqa COMMAND ...; attiqa COMMAND --help", "", *lines)))
        sys.exit(0 if name in ("-h", "--help") else 2)
    logger = logging.getLogger("attiqa")
    try:
        module = name.replace("-", "_")
        kind = import_module(f"attiqa.cli.settings.{module}").Settings
        settings = tyro.cli(kind, prog=f"attiqa {name}", args=arguments)
        settings.check()
        sys.exit(import_module(f"attiqa.cli.{module}").main(settings))
    except AttiqaError as error:
        logger.error(error)
        sys.exit(1)
    except KeyboardInterrupt:
        logger.error("interrupted")
        sys.exit(130)
