"""Tiny CLIP models."""

TEXT = {"vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}


TINY = {
    "tiny-clip": {
        "embed_dim": 16,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 64, "layers": 1, "width": 64, "patch_size": 16},
        "text_cfg": TEXT | {"context_length": 77},
    },
    "tiny-resnet": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32},
        "text_cfg": TEXT | {"context_length": 77},
    },
    "tiny-timm": {
        "embed_dim": 64,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 160,
            "timm_model_name": "test_vit",
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "text_cfg": TEXT | {"context_length": 64, "no_causal_mask": True, "pool_type": "last"},
    },
}


TOWERS = {
    "convnext": ("test_convnext", 160),
    "hybrid": ("vit_tiny_r_s16_p8_224", 224),
    "windows": ("swin_tiny_patch4_window7_224", 224),
    "rotary": ("eva02_tiny_patch14_224", 224),
    "relative": ("test_vit_relpos", 160),
}
"""Image towers of timm that are no plain ViT, and their sides."""


TINY |= {
    name: {
        "embed_dim": 16,
        "vision_cfg": {"image_size": side, "timm_model_name": tower, "timm_proj": "linear"},
        "text_cfg": TEXT | {"context_length": 77},
    }
    for name, (tower, side) in TOWERS.items()
}
