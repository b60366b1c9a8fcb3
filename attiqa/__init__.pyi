from .attributes import ATTRIBUTES as ATTRIBUTES
from .errors import AttiqaError as AttiqaError
from .model.cards import Card as Card
from .model.networks import IntervalPrediction as IntervalPrediction
from .model.networks import QualityPrediction as QualityPrediction
from .model.quality_model import QualityModel as QualityModel
from .model.quality_model import load_model as load_model
