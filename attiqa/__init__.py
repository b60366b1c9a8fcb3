"""ATTIQA: what makes a photograph good. Images in, attribute and quality scores out.

>>> model = load_model()
>>> model.score("photo.jpg").score
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
