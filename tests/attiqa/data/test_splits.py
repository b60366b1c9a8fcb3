import itertools

import numpy as np
import pytest

from attiqa.data.rated_photos import Split, random_split, split_hash
from attiqa.data.splits import hold_out_validation, random_splits, training_subset

NAMES = [f"{index}.jpg" for index in range(1000)]


def parts(split):
    return split.train, split.validation, split.test


def test_split_is_a_seeded_partition():
    split = random_split(100, validation=20, test=30, seed=1)
    assert [len(part) for part in parts(split)] == [50, 20, 30]
    assert sorted(np.concatenate(parts(split))) == list(range(100))
    same, other = random_split(100, 20, 30, seed=1), random_split(100, 20, 30, seed=2)
    assert split_hash(NAMES, split) == split_hash(NAMES, same) != split_hash(NAMES, other)


def test_split_without_training_photographs():
    with pytest.raises(ValueError, match="for training"):
        random_split(50, 20, 30)


def test_split_hash_is_sha256_of_the_names():
    """printf 'a\\nb\\n\\nc\\n\\nd' | sha256sum."""
    split = Split(np.array([0, 1]), np.array([2]), np.array([3]))
    expected = "8486e0fee69b299b9967bdb1de10817a71ce0aebb2d8834443901c64fc8df9ed"
    assert split_hash(["a", "b", "c", "d"], split) == expected


def test_ten_splits_of_80_to_20():
    splits = random_splits(1000)
    assert len(splits) == 10
    for split in splits:
        assert [len(part) for part in parts(split)] == [700, 100, 200]
        assert sorted(np.concatenate(parts(split))) == list(range(1000))
    assert len({split_hash(NAMES, split) for split in splits}) == 10


def test_splits_depend_on_seed_and_repeat_alone():
    hashes = [split_hash(NAMES, split) for split in random_splits(1000, seed=3)]
    assert [split_hash(NAMES, split) for split in random_splits(1000, 4, seed=3)] == hashes[:4]
    assert not set(hashes) & {split_hash(NAMES, split) for split in random_splits(1000, seed=4)}


def test_test_parts_do_not_depend_on_the_validation_share():
    with_it, without = random_splits(1000), random_splits(1000, validation=0.0)
    for one, other in zip(with_it, without, strict=True):
        assert np.array_equal(one.test, other.test)
        assert len(other.train) == 800
        assert len(other.validation) == 0


def test_no_reference_is_in_two_parts():
    groups = [f"I{index // 125:02}" for index in range(81 * 125)]
    for split in random_splits(len(groups), groups=groups):
        shown = [{groups[index] for index in part} for part in parts(split)]
        assert [len(names) for names in shown] == [57, 8, 16]
        assert not any(a & b for a, b in itertools.combinations(shown, 2))
        assert sum(map(len, parts(split))) == len(groups)


@pytest.mark.parametrize(
    "arguments", [{"count": 3}, {"count": 10, "test": 0.95}, {"count": 100, "groups": ["a"] * 100}]
)
def test_too_little_to_divide(arguments):
    with pytest.raises(ValueError, match="cannot be divided"):
        random_splits(**arguments)


def test_groups_of_another_number():
    with pytest.raises(ValueError, match="one label for each of 10, found 3"):
        random_splits(10, groups=["a", "b", "c"])


def test_few_labels_are_nested():
    (split,) = random_splits(1000, repeats=1)
    tenth, fifth = training_subset(split, 0.1), training_subset(split, 0.2)
    assert [len(part) for part in parts(tenth)] == [88, 12, 200]
    assert [len(part) for part in parts(fifth)] == [175, 25, 200]
    assert set(tenth.train) < set(fifth.train) < set(split.train)
    assert set(tenth.validation) < set(fifth.validation) < set(split.validation)
    assert np.array_equal(tenth.test, split.test)
    hashes = [split_hash(NAMES, subset) for subset in (split, tenth, fifth)]
    again, other = training_subset(split, 0.1), training_subset(split, 0.1, seed=1)
    assert len(set(hashes)) == 3
    assert split_hash(NAMES, again) == hashes[1] != split_hash(NAMES, other)


def test_few_labels_without_a_validation_part():
    (split,) = random_splits(1000, repeats=1, validation=0.0)
    assert len(training_subset(split, 0.1).train) == 100
    assert len(training_subset(split, 0.8).train) == 800


@pytest.mark.parametrize("share", [0.9, 0.0001])
def test_few_labels_that_cannot_be_taken(share):
    (split,) = random_splits(1000, repeats=1)
    with pytest.raises(ValueError, match="cannot be taken"):
        training_subset(split, share)


def test_validation_from_the_training_part():
    given = Split(np.arange(10, 110), np.arange(0), np.arange(10))
    split = hold_out_validation(given, 0.2)
    assert [len(part) for part in parts(split)] == [80, 20, 10]
    assert sorted([*split.train, *split.validation]) == list(range(10, 110))
    assert np.array_equal(split.test, given.test)
    with pytest.raises(ValueError, match="validation part of 20 already"):
        hold_out_validation(split)


def test_validation_by_groups():
    groups = [str(index // 4) for index in range(110)]
    given = Split(np.arange(9, 109), np.arange(0), np.arange(9))
    split = hold_out_validation(given, 0.2, groups)
    shown = [{groups[index] for index in part} for part in parts(split)]
    assert [len(names) for names in shown] == [21, 5, 3]
    assert not shown[0] & shown[1]
