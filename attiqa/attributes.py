"""The five image attributes of ATTIQA and the prompt pairs that describe them to CLIP.

Source: ATTIQA (ACCV 2024), section 3.1 and Table 1.
"""

from types import MappingProxyType
from typing import NamedTuple


class PromptPair(NamedTuple):
    """Antonym prompts: the positive one describes the image that scores high."""

    positive: str
    negative: str


PROMPTS = MappingProxyType(
    {
        "sharpness": PromptPair("Splendid image", "Blurry image"),
        "contrast": PromptPair("Distinct image", "Vague image"),
        "brightness": PromptPair("Sunny image", "Darkened image"),
        "colorfulness": PromptPair("Vibrant image", "Colorless image"),
        "noisiness": PromptPair("Peerless image", "Grainy image"),
    }
)
"""Table 1. As in SPAQ, a high "noisiness" score means a *clean* image."""

ATTRIBUTES = tuple(PROMPTS)
"""The order of the attribute axis wherever a tensor has one."""

QUALITY_PROMPT = MappingProxyType({"quality": PromptPair("Good image", "Bad image")})
"""The single pair that section 4.5 compares the five with."""


class Candidates(NamedTuple):
    """Prompts that an attribute's pair is chosen from."""

    positive: tuple[str, ...]
    negative: tuple[str, ...]


def _prompts(adjectives: str) -> tuple[str, ...]:
    """Put adjectives into the template "[adjective] image" (section 3.3)."""
    return tuple(f"{adjective} image" for adjective in adjectives.split())


CANDIDATES = MappingProxyType(
    {
        "sharpness": Candidates(
            _prompts("""
            Splendid Sharp Crisp Focused Detailed Defined Clear Precise Distinct Fine Intricate
            Razor-sharp Crystal-clear Pinpoint Exact Accurate Resolved Etched Chiseled Incisive
            Keen Acute Clean-cut Well-defined High-definition High-resolution Sharp-edged
            Hard-edged Textured Clarified Lucid Articulate Pristine Meticulous Exquisite
            Immaculate Refined Faithful Legible Readable Discernible Steady Stable Tack-sharp
            Unblurred In-focus Pixel-perfect Microscopic Vivid Elaborate
            """),
            _prompts("""
            Blurry Blurred Unfocused Out-of-focus Defocused Soft Fuzzy Hazy Smeared Smudged
            Indistinct Unclear Unsharp Vague Shaky Foggy Misty Bleary Woolly Smooth Smoothed
            Muddy Murky Obscure Ill-defined Undefined Shapeless Formless Low-resolution
            Pixelated Imprecise Inexact Cloudy Dim Faint Filmy Nebulous Dull Mushy Streaky
            Jittery Motion-blurred Shaken Wobbly Unreadable Illegible Coarse Upscaled
            Featureless Gauzy
            """),
        ),
        "contrast": Candidates(
            _prompts("""
            Distinct Contrasty High-contrast Contrasting Dramatic Bold Striking Stark Punchy
            Strong Intense Dynamic Deep Rich Powerful Vivid Pronounced Defined Marked Prominent
            Emphatic Clear Crisp Sharp Stunning Graphic Impactful Forceful Three-dimensional
            Dimensional Layered Differentiated Separated Noticeable Conspicuous Salient
            Outstanding Definite Decisive Unmistakable Vigorous Lively Energetic Robust
            Full-bodied High-dynamic-range Hard Chiaroscuro Theatrical Arresting
            """),
            _prompts("""
            Vague Flat Low-contrast Faded Washed-out Dull Bland Muted Hazy Foggy Misty Weak Pale
            Subdued Even Uniform Homogeneous Monotonous Lifeless Featureless Indistinct Unclear
            Murky Milky Cloudy Gray Greyish Veiled Blurred Shallow Soft Feeble Faint Dim Drab
            Insipid Tame Plain Lackluster Undifferentiated Undefined Obscure Nebulous Ambiguous
            Bleached Anemic Diluted Two-dimensional Toneless Smoky
            """),
        ),
        "brightness": Candidates(
            _prompts("""
            Sunny Bright Light Luminous Radiant Brilliant Well-lit Illuminated Lit Sunlit
            Shining Shiny Glowing Gleaming Dazzling Beaming Lustrous Blazing Glaring Daylit
            Daytime Incandescent Vivid Lightened Brightened Highlighted Airy White Clear
            Sparkling Glittering Resplendent Lucent Aglow Ablaze Fluorescent Sun-drenched
            Bleached High-key Overexposed Cloudless Floodlit Moonlit Effulgent Refulgent Golden
            Snowy Cheerful Bright-colored Blinding
            """),
            _prompts("""
            Darkened Dark Dim Dimmed Gloomy Shadowy Shaded Unlit Underexposed Low-key Black
            Blackened Murky Dusky Somber Nocturnal Night Nighttime Midnight Pitch-black Inky
            Obscure Obscured Overcast Cloudy Sunless Lightless Low-light Ill-lit Poorly-lit
            Shady Tenebrous Stygian Caliginous Dull Dingy Bleak Grim Dreary Moonless Starless
            Sooty Ebony Charcoal Twilight Crepuscular Eclipsed Dimly-lit Unilluminated
            Blacked-out
            """),
        ),
        "colorfulness": Candidates(
            _prompts("""
            Vibrant Colorful Vivid Saturated Chromatic Multicolored Rich Bright Lively Brilliant
            Intense Rainbow Kaleidoscopic Polychromatic Psychedelic Technicolor Prismatic
            Iridescent Lush Flamboyant Radiant Bold Warm Tropical Exuberant Showy Gaudy Garish
            Fluorescent Neon Variegated Motley Painted Dyed Tinted Tinged Rosy Glowing Flowery
            Festive Jazzy Dazzling Luscious Opalescent Hued Full-color Deep Splashy Loud
            Many-hued
            """),
            _prompts("""
            Colorless Gray Grey Monochrome Monochromatic Black-and-white Grayscale Desaturated
            Achromatic Faded Pale Pallid Dull Drab Muted Bland Washed-out Bleached Discolored
            Ashen Ashy Wan Neutral Plain Subdued Lifeless Dreary Sepia Uncolored Undyed Toneless
            Whitish Greyish Dingy Dusty Sallow Blanched Pasty Leaden Silvery Somber Lackluster
            Flat Insipid Anemic Hueless Unsaturated Sober Cold Weathered
            """),
        ),
        "noisiness": Candidates(
            _prompts("""
            Peerless Clean Noiseless Noise-free Smooth Clear Pure Pristine Immaculate Spotless
            Flawless Perfect Unblemished Polished Refined Silky Crisp Fine Clean-looking
            Denoised Grainless Grain-free Artifact-free Professional Studio High-quality
            Impeccable Faultless Stainless Untainted Unspoiled Uncorrupted Undistorted
            Uncontaminated Unpolluted Unsullied Transparent Glassy Even Uniform Tidy Neat Sleek
            Velvety Creamy Exquisite Superb Matchless Unmarred Crystalline
            """),
            _prompts("""
            Grainy Noisy Speckled Spotty Spotted Grainy-looking Dirty Rough Coarse Gritty Dotted
            Mottled Blotchy Patchy Sandy Granular Granulated Stippled Peppered Dusty Static
            Snowy Corrupted Contaminated Degraded Distorted Damaged Flawed Blemished Defective
            Imperfect Impure Stained Tainted Marred Scratched Scratchy Splotchy Pixelated
            Compressed Low-quality High-ISO Cluttered Messy Crude Textured Fuzzy Amateur
            Freckled Rugged
            """),
        ),
    }
)
"""Fifty and fifty per attribute, the prompts of Table 1 among them. The paper asked a language
model for its candidates and does not list them; these are our own."""
