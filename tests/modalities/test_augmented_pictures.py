"""Augmented pictures: parts of the picture, mirrored or not, other colours; nothing where nothing is asked."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from sensorium.modalities.image.augment import Augment

sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))
seeds = st.integers(0, 2**32 - 1)


def numbered(height: int, width: int) -> np.ndarray:
    """A picture whose pixels say where they are."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([y, x, y + x], 2).astype(np.uint8)


@settings(max_examples=60, deadline=None)
@given(sizes, seeds, st.floats(0.05, 1.0), st.sampled_from([0.0, 1.0]))
def test_a_part_of_the_picture_and_no_less_than_asked(size, seed, crop, flip):
    picture = numbered(*size)
    found = Augment(crop, flip, 0.0)(picture, np.random.default_rng(seed))
    height, width = found.shape[:2]
    part = found[:, ::-1] if flip else found
    top, left = part[0, 0, :2]
    np.testing.assert_array_equal(part, picture[top : top + height, left : left + width])
    rounding = (height + width + 1) / 2 + 0.25  # half a pixel on each side
    assert height * width >= crop * size[0] * size[1] - rounding
    if crop == 1.0:
        assert (height, width) == size


@settings(max_examples=20, deadline=None)
@given(sizes, seeds)
def test_one_seed_gives_one_picture_and_nothing_asked_changes_nothing(size, seed):
    picture = np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)
    augment = Augment(0.4, 0.5, 0.3)
    one, again = (augment(picture, np.random.default_rng(seed)) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert one.dtype == np.uint8 and one.flags.c_contiguous
    np.testing.assert_array_equal(Augment(1.0, 0.0, 0.0)(picture, np.random.default_rng(seed)), picture)


def test_crops_and_mirror_images_are_as_frequent_as_asked():
    picture, rng = numbered(60, 60), np.random.default_rng(0)
    found = [Augment(0.5, 0.25, 0.0)(picture, rng) for _ in range(2000)]
    assert abs(np.mean([f.shape[1] > 1 and f[0, 0, 1] > f[0, 1, 1] for f in found]) - 0.25) < 0.03
    share = np.array([f.shape[0] * f.shape[1] / 3600 for f in found])
    assert share.min() > 0.48 and abs(np.median(share) - 0.7) < 0.1


def test_colors_change_within_the_range():
    grey = np.full((8, 8, 3), 100, np.uint8)  # contrast and saturation leave an even grey as it is
    values = [Augment(1.0, 0.0, 0.2)(grey, np.random.default_rng(seed))[0, 0] for seed in range(200)]
    assert all(len(set(v.tolist())) == 1 for v in values)
    level = np.array(values)[:, 0].astype(int)
    assert 78 <= level.min() < 85 and 115 < level.max() <= 121
    picture = np.random.default_rng(1).integers(0, 256, (9, 7, 3)).astype(np.uint8)
    rng, again = np.random.default_rng(5), np.random.default_rng(5)
    kinds = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    factors, expected = again.uniform(0.7, 1.3, 3), Image.fromarray(picture)
    for k in again.permutation(3):
        expected = kinds[k](expected).enhance(factors[k])
    np.testing.assert_array_equal(Augment(1.0, 0.0, 0.3)(picture, rng), np.asarray(expected))
