"""The Hugging Face hub: whether it can be reached, asked once and for seconds.

Its own client tries a download again and again, for minutes, before it says that there is no
network.
"""

PATIENCE = 5.0
"""Seconds after which an answer is not waited for."""


def why_unreachable() -> str:
    """Say why the hub cannot be reached; empty where it answers, whatever it answers.

    Proxies, `HF_ENDPOINT` and `HF_HUB_OFFLINE` count as in every download.
    """
    from huggingface_hub import constants  # slow to import: not for what is here
    from huggingface_hub.utils import get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=PATIENCE)
    except Exception as error:  # of its client, which another version may exchange
        return f"{constants.ENDPOINT}: {str(error) or type(error).__name__}"
    return ""
