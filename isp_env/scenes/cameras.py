"""Colour responses of real cameras, and what they record as white in a light."""

import torch
from jaxtyping import Float
from torch import Tensor

from isp_env.color.rgb import XYZ_FROM_REC709, planckian_normal, planckian_uv

# DNG ColorMatrix for D65 (tag 50722), times 10,000, as published by Adobe and in dcraw
COLOR_MATRICES = {
    "Canon EOS 350D": (6018, -617, -965, -8645, 15881, 2975, -1530, 1719, 7642),
    "Canon EOS 5D Mark II": (4716, 603, -830, -7798, 15474, 2480, -1496, 1937, 6651),
    "Canon EOS 6D": (7034, -804, -1014, -4420, 12564, 2058, -851, 1994, 5758),
    "Canon EOS 7D": (6844, -996, -856, -3876, 11761, 2396, -593, 1772, 6198),
    "Canon EOS 20D": (6599, -537, -891, -8071, 15783, 2424, -1983, 2234, 7462),
    "Canon EOS 80D": (7457, -671, -937, -4849, 12495, 2643, -1213, 2354, 5492),
    "Nikon D70": (7732, -2422, -789, -8238, 15884, 2498, -859, 783, 7330),
    "Nikon D90": (7309, -1403, -519, -8474, 16008, 2622, -2434, 2826, 8064),
    "Nikon D700": (8139, -2171, -663, -8747, 16541, 2295, -1925, 2008, 8093),
    "Nikon D750": (9020, -2890, -715, -4535, 12436, 2348, -934, 1919, 7086),
    "Nikon D800": (7866, -2108, -555, -4869, 12483, 2681, -1176, 2069, 7501),
    "Nikon D7000": (8198, -2239, -724, -4871, 12389, 2798, -1043, 2050, 7181),
    "Nikon D7100": (8322, -3112, -1047, -6367, 14342, 2179, -988, 1638, 6394),
    "Fujifilm X-T1": (8458, -2451, -855, -4597, 12447, 2407, -1475, 2482, 6526),
}


def color_matrices() -> Float[Tensor, "c 3 3"]:
    """Return XYZ to camera RGB of every camera."""
    return torch.tensor(list(COLOR_MATRICES.values()), dtype=torch.float32).view(-1, 3, 3) / 1e4


def rec709_from_camera(xyz_to_camera: Float[Tensor, "b 3 3"]) -> Float[Tensor, "b 3 3"]:
    """Return white-balanced camera RGB to linear Rec. 709 (see `color.rgb.camera_to_rec709`)."""
    camera = xyz_to_camera @ xyz_to_camera.new_tensor(XYZ_FROM_REC709)
    return torch.linalg.inv(camera / camera.sum(dim=2, keepdim=True))


def camera_neutral(
    xyz_to_camera: Float[Tensor, "b 3 3"], kelvin: Float[Tensor, " b"], duv: Float[Tensor, " b"]
) -> Float[Tensor, "b 3"]:
    """Return the camera RGB of a grey surface in a light, G = 1 (DNG AsShotNeutral, tag 50728).

    Args:
        xyz_to_camera: Of each camera.
        kelvin: Colour temperature of the light, 1,000 to 15,000 K.
        duv: Its distance from the Planckian locus in CIE 1960 (u, v); positive is greener.
    """
    mired = 1e6 / kelvin
    u, v = (planckian_uv(mired) + duv[:, None] * planckian_normal(mired)).unbind(1)
    x = 3 * u / (2 * v)
    z = (4 - u - 10 * v) / (2 * v)
    seen = torch.einsum("bij,bj->bi", xyz_to_camera, torch.stack([x, torch.ones_like(x), z], 1))
    return seen / seen[:, 1:2]
