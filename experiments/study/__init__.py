"""A user study of blind pairs (sections 5.1 and 5.2 of the paper): a web page, and its analysis.

    make_study      folders of pictures -> STUDY/index.html, STUDY/pictures, STUDY-key.json
    (participants)  STUDY/index.html -> answers-ID-PARTICIPANT.json, by download
    analyse_study   STUDY-key.json and answers -> report.html, preferences.csv and others

The page names no system: pictures have drawn numbers, and only the key, which stays with the
experimenter, says whose they are.
"""

import logging
from collections.abc import Callable

from rich.logging import RichHandler

from attiqa.errors import AttiqaError
from isp_env.errors import IspEnvError


class StudyError(AttiqaError):
    """Pictures, a key or answers that make no study; the message names the file."""


def status_of(command: Callable[[], None]) -> int:
    """Run a command; return its exit status, 1 after a message where it cannot go on."""
    handlers = [RichHandler(show_path=False, show_time=False)]
    logging.basicConfig(format="%(message)s", handlers=handlers)
    try:
        command()
    except (AttiqaError, IspEnvError, OSError) as error:
        logging.getLogger(__name__).error("%s", error)
        return 1
    except KeyboardInterrupt:
        return 130  # as shells have it
    return 0
