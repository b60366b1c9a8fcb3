"""Devices by name, refused where this machine has none of them."""

import torch

from attiqa.errors import SettingsError


def require_device(name: str) -> torch.device:
    """Return a device that works.

    Raises:
        SettingsError: This machine has no such device, or PyTorch here none of its kind.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(
            f"device: {name} cannot be used here: {str(error).splitlines()[0]}; "
            f"PyTorch {torch.__version__} sees {torch.cuda.device_count()} CUDA devices"
        ) from error
    return device
