"""Hashes that tell trainings apart, and those that must not."""

import shutil
from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from attiqa.data.photo_folder import PhotoFiles
from attiqa.model.networks import AttributeNet
from attiqa.provenance.identity import (
    array_hash,
    differences,
    network_hash,
    photos_hash,
    qualified_name,
    teacher_record,
)
from attiqa.teachers.teacher import MeasuredTeacher


def test_files_are_known_by_name_size_and_order_wherever_they_are(tmp_path, photo):
    (tmp_path / "here").mkdir()
    for name, size in (("a.png", 64), ("b.png", 96)):
        Image.fromarray(photo[:size, :size]).save(tmp_path / "here" / name)
    a, b = (tmp_path / "here" / name for name in ("a.png", "b.png"))
    expected = photos_hash(PhotoFiles([a, b]))
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    moved = [tmp_path / "there" / name for name in ("a.png", "b.png")]
    assert photos_hash(PhotoFiles(moved)) == expected
    assert photos_hash(PhotoFiles([b, a])) != expected
    shutil.copy(b, moved[0])  # another photograph under the same name
    assert photos_hash(PhotoFiles(moved)) != expected


def test_pixels_are_known_without_names(photo):
    stack = np.stack([photo, photo[::-1] // 2])
    assert photos_hash(stack) == photos_hash(list(stack)) != photos_hash(stack[::-1])


def test_a_network_is_its_weights_and_architecture(tiny):
    torch.manual_seed(0)
    net = AttributeNet(tiny)
    expected = network_hash(net)
    assert network_hash(net.to(memory_format=torch.channels_last)) == expected
    other = AttributeNet(replace(tiny, mean=(0.4, 0.4, 0.4)))
    other.load_state_dict(net.state_dict())
    assert network_hash(other) != expected  # it sees other colours
    assert network_hash(net.bfloat16()) != expected
    with torch.no_grad():
        net.float().last[0].get_parameter("bias").add_(1e-3)
    assert network_hash(net) != expected


def test_arrays_of_other_numbers_or_shape():
    labels = np.arange(6.0)
    assert array_hash(labels) == array_hash(np.arange(12.0)[::2] / 2)
    assert array_hash(labels) != array_hash(labels.reshape(2, 3))
    assert array_hash(labels) != array_hash(np.nextafter(labels, 9))


def test_names_have_no_address():
    assert qualified_name(photos_hash) == "attiqa.provenance.identity.photos_hash"
    assert teacher_record(MeasuredTeacher()) == "measured"
    assert teacher_record(None) is None


def test_differences_name_the_leaf():
    before, now = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1, "c": 4}, "e": 5}
    assert differences(before, now) == [
        "a.c was 2, now 4",
        "d was 3, now None",
        "e was None, now 5",
    ]
