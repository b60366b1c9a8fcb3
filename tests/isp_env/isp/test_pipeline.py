import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data
from torch.nn.functional import interpolate

from isp_env.isp import guide as guides
from isp_env.isp import resampling
from isp_env.isp.default import DEFAULT_PIPELINE as PIPELINE
from isp_env.isp.parameters import to_theta
from isp_env.isp.stages import denoise, local_contrast, sharpen
from isp_env.isp.stages.tone import inverse_neutral_tone

KNOBS = len(PIPELINE.parameters)
NO_NOISE = torch.zeros(1, 3, 2)
INPUTS = {
    "black": torch.zeros(1, 3, 32, 32),
    "white": torch.ones(1, 3, 32, 32),
    "clipped": torch.full((1, 3, 32, 32), 6.0),
    "noise": torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)),
}


def photo(name: str = "chelsea") -> torch.Tensor:
    """A photograph as scene-linear light, (1, 3, h, w)."""
    encoded = torch.from_numpy(getattr(data, name)() / 255).float().permute(2, 0, 1)
    return inverse_neutral_tone(encoded)[None]


def setting(**values: float) -> torch.Tensor:
    return to_theta(PIPELINE.parameters, values)


@pytest.mark.parametrize("name", ["chelsea", "astronaut", "coffee"])
def test_without_detail_stages_neutral_returns_the_photograph(name):
    encoded = torch.from_numpy(getattr(data, name)() / 255).float().permute(2, 0, 1)
    rendered = PIPELINE(photo(name), setting(sharpen=0.0, denoise=0.0))
    assert torch.allclose(rendered[0], encoded, atol=2e-4)


def test_theta_zero_is_the_neutral_value_of_every_knob():
    neutral = {p.name: p.neutral for p in PIPELINE.parameters}
    assert torch.equal(setting(**neutral), PIPELINE.neutral())
    linear = photo()
    assert torch.equal(PIPELINE(linear, PIPELINE.neutral()), PIPELINE(linear, setting(**neutral)))


@pytest.mark.parametrize("name", ["white balance", "exposure"])
def test_linear_stages_change_nothing_at_zero(name):
    linear = photo()
    (stage,) = (s for s in PIPELINE.stages if s.name == name)
    constants = PIPELINE.constants(PIPELINE.values(PIPELINE.neutral()))
    assert torch.equal(torch.stack(stage.apply(linear.unbind(1), {}, constants), dim=1), linear)


@pytest.mark.parametrize("name", INPUTS)
@settings(deadline=None, max_examples=10)
@given(theta=st.lists(st.floats(-1, 1, width=32), min_size=KNOBS, max_size=KNOBS))
def test_gradients_are_finite_everywhere(name, theta):
    linear = INPUTS[name].clone().requires_grad_()
    knobs = torch.tensor([theta], requires_grad=True)
    image = PIPELINE(linear, knobs, torch.full((1, 3, 2), 1e-3))
    assert image.min() >= 0
    assert image.max() <= 1
    image.sum().backward()
    assert linear.grad is not None
    assert knobs.grad is not None
    assert torch.isfinite(linear.grad).all()
    assert torch.isfinite(knobs.grad).all()


def test_gradcheck_of_every_knob():
    generator = torch.Generator().manual_seed(1)
    linear = 0.1 + 0.4 * torch.rand(1, 3, 6, 6, dtype=torch.float64, generator=generator)
    theta = 0.6 * torch.rand(1, KNOBS, dtype=torch.float64, generator=generator) - 0.3
    noise = torch.full((1, 3, 2), 1e-3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda t: PIPELINE(linear, t, noise), theta.requires_grad_())


def test_each_picture_follows_its_own_theta():
    linear = photo().expand(2, -1, -1, -1)
    theta = torch.cat([setting(exposure=-1.0), setting(saturation=0.4)])
    batch = PIPELINE(linear, theta)
    for row in range(2):
        alone = PIPELINE(linear[row : row + 1], theta[row : row + 1])
        assert torch.allclose(batch[row], alone[0], atol=1e-6)


@pytest.mark.parametrize(
    ("knob", "value", "measure"),
    [
        ("exposure", 1.0, lambda x: x.mean()),
        ("shadows", 1.0, lambda x: x.flatten().quantile(0.2)),
        ("highlights", 1.0, lambda x: x.flatten().quantile(0.9)),
        ("whites", 0.6, lambda x: x.flatten().quantile(0.9)),
        ("blacks", 1.0, lambda x: x.flatten().quantile(0.01)),
        ("contrast", 0.8, lambda x: x.std()),
        ("gamma", 1.4, lambda x: x.median()),
        ("temperature", 50.0, lambda x: x[:, 0].mean() - x[:, 2].mean()),
        ("tint", 15.0, lambda x: x[:, ::2].mean() - x[:, 1].mean()),
        ("saturation", 0.4, lambda x: x.std(1).mean()),
        ("vibrance", 0.4, lambda x: x.std(1).mean()),
        ("local_contrast", 0.8, lambda x: x.diff(dim=-1).abs().mean()),
        ("sharpen", 1.4, lambda x: x.diff(dim=-1).abs().mean()),
    ],
)
def test_knobs_do_what_their_names_say(knob, value, measure):
    linear = photo("coffee")
    assert measure(PIPELINE(linear, setting(**{knob: value}))) > measure(
        PIPELINE(linear, PIPELINE.neutral())
    )


def denoised(linear: torch.Tensor, noise: torch.Tensor, strength: float) -> torch.Tensor:
    guide = resampling.reduce(linear, 1)
    maps = denoise.measure(guide, noise, {"denoise": torch.tensor([strength])})
    return torch.stack(denoise.apply(linear.unbind(1), maps, {}), dim=1)


def test_denoise_removes_noise_and_leaves_clean_pictures():
    clean = photo("chelsea")
    shot, read = 3e-3, 1e-5
    noise = torch.tensor([shot, read]).expand(1, 3, 2)
    generator = torch.Generator().manual_seed(0)
    sigma = (shot * clean + read).sqrt()
    noisy = clean + sigma * torch.randn(clean.shape, generator=generator)
    error = {s: (denoised(noisy, noise, s) - clean).square().mean() for s in (0.0, 0.25)}
    assert error[0.25] < 0.5 * error[0.0]
    untouched = denoised(clean, torch.zeros(1, 3, 2), 1.0)
    assert torch.allclose(untouched, clean, atol=1e-6)


def test_denoise_keeps_faint_colours_that_are_wider_than_a_pixel_of_the_guide():
    noise = torch.tensor([0.0, 4e-4]).expand(1, 3, 2)
    stripes = torch.where(torch.arange(1600) // 40 % 2 == 0, 0.02, -0.02).expand(96, -1)
    clean = torch.stack([0.2 + stripes, 0.2 + 0 * stripes, 0.2 - stripes])[None]
    noisy = clean + 0.02 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    factor = guides.guide_factor(1600)
    guide = resampling.reduce(noisy, factor)
    maps = denoise.measure(guide, noise, {"denoise": torch.tensor([0.25])})
    large = {name: resampling.enlarge(m, factor, (96, 1600)) for name, m in maps.items()}
    after = torch.stack(denoise.apply(noisy.unbind(1), large, {}), dim=1)
    contrast = [((x[:, 0] - x[:, 2]) * stripes.sign()).mean() for x in (after, clean)]
    assert contrast[0] > 0.8 * contrast[1]
    assert (after - clean).std() < 0.3 * (noisy - clean).std()


def test_sharpening_makes_no_halos():
    edge = torch.cat([torch.full((1, 3, 64, 160), 0.2), torch.full((1, 3, 64, 160), 0.8)], dim=3)
    maps = sharpen.measure(resampling.reduce(edge, 1), NO_NOISE, {})
    sharp = torch.stack(sharpen.apply(edge.unbind(1), maps, {"sharpen": torch.tensor(1.0)}), dim=1)
    assert sharp.max() <= 0.9 + 1e-6
    assert sharp.min() >= 0.1 - 1e-6
    assert sharp.max() > 0.82


def test_local_contrast_moves_texture_and_leaves_edges_flat_areas_black_and_white():
    generator = torch.Generator().manual_seed(0)
    texture = 0.5 + 0.02 * torch.randn(1, 1, 128, 128, generator=generator).expand(1, 3, -1, -1)
    step = torch.cat([torch.full((1, 3, 128, 64), 0.2), torch.full((1, 3, 128, 64), 0.8)], dim=3)

    def after(image: torch.Tensor, amount: float) -> torch.Tensor:
        maps = local_contrast.measure(resampling.reduce(image, 1), NO_NOISE, {})
        planes = local_contrast.apply(
            image.unbind(1), maps, {"local_contrast": torch.tensor(amount)}
        )
        return torch.stack(planes, dim=1)

    assert after(texture, 1.0).std() > 1.7 * texture.std()
    assert after(texture, -0.5).std() < 0.7 * texture.std()
    assert (after(step, 1.0) - step).abs().max() < 0.07
    for flat in (0.0, 0.3, 1.0):
        image = torch.full((1, 3, 32, 32), flat)
        assert torch.allclose(after(image, 1.0), image, atol=1e-5)


def test_fewer_knobs_in_another_order_and_the_others_neutral():
    linear = photo()
    few = PIPELINE.only(["saturation", "exposure"])
    assert [p.name for p in few.parameters] == ["saturation", "exposure"]
    rendered = few(linear, torch.tensor([[0.5, -0.4]]))
    assert torch.equal(rendered, PIPELINE(linear, setting(saturation=0.25, exposure=-0.8)))
    with pytest.raises(ValueError, match="unknown parameter blur"):
        PIPELINE.only(["blur"])


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["exposure"], ("exposure",)),
        (["white-balance"], ("temperature", "tint")),
        (["Local_Contrast", "local contrast"], ("local_contrast",)),
        (["color", "tint"], ("tint", "saturation", "vibrance")),
        ([], ()),
    ],
)
def test_knobs_are_named_by_themselves_or_by_their_stages(words, names):
    assert PIPELINE.knobs_named(words) == names


def test_a_word_that_names_no_knob_is_refused_with_those_that_do():
    with pytest.raises(ValueError, match=r"unknown knob blur; known: .*tint.*white-balance"):
        PIPELINE.knobs_named(["tint", "blur"])


@pytest.mark.parametrize("values", [{}, {"sharpen": 1.5, "denoise": 1.0, "shadows": 1.0}])
def test_a_preview_looks_like_the_reduced_full_rendering(values):
    linear = photo("astronaut")
    noise = torch.tensor([1e-3, 1e-5]).expand(1, 3, 2)
    small = interpolate(linear, (256, 256), mode="bilinear", antialias=True)
    full = PIPELINE(linear, setting(**values), noise)
    reduced = interpolate(full, (256, 256), mode="bilinear", antialias=True)
    preview = PIPELINE(small, setting(**values), noise / 4)
    assert (preview - reduced).square().mean().sqrt() < 0.035


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=f"theta has 3 columns, the pipeline {KNOBS} knobs"):
        PIPELINE(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3))


def test_same_input_same_picture():
    linear = photo()
    theta = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (1, KNOBS)).astype(np.float32))
    assert torch.equal(PIPELINE(linear, theta), PIPELINE(linear, theta))
