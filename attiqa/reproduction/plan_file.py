"""The file that says where the data are: a YAML file with the fields of `Plan`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import cattrs
import yaml
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError
from cattrs.v import format_exception, transform_error

from attiqa.data.crop_protocol import CropProtocol
from attiqa.data.datasets.names import PLAIN, check_name
from attiqa.errors import AttiqaError
from attiqa.evaluation.probes.mlp import MlpProbe
from attiqa.model.architecture import Architecture
from attiqa.training.settings import FinetuneSettings, PretrainSettings


class PlanFileError(AttiqaError):
    """The file of paths cannot be read, or says something that makes no sense."""


@dataclass(frozen=True)
class Clip:
    """The teacher of the paper."""

    architecture: str = "ViT-B-16-quickgelu"
    """Model name of open_clip."""
    pretrained: str | None = "openai"
    """Tag of open_clip or a local weight file; null for random weights, in tests."""


@dataclass(frozen=True)
class Baseline:
    """Another start of the fine-tuning, without attribute pretraining: a row of every table."""

    init: Path
    """Backbone weights of timm (safetensors, no classifier)."""
    backbone: str
    """Model name of timm."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Per channel, subtracted from display RGB in [0, 1]."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Per channel, divides what is left."""


@dataclass(frozen=True)
class Plan:
    """Where the data are, and what differs from the paper; only `datasets` must be given."""

    datasets: Mapping[str, Path]
    """Folder of each data set by the name of its layout: clive, koniq, spaq, flive, ava, agiqa3k,
    or any other that `attiqa evaluate --dataset` knows, which adds columns of its own."""
    subset: bool = False
    """The folders hold parts of the data sets on purpose."""
    unlabelled: Path | None = None
    """Photographs to pretrain on: the training part of ImageNet in the paper."""
    set_aside: float = 0.0
    """Where there are none: this share of the photographs of each data set, without their scores,
    is pretrained on, and neither fine-tuned nor tested on."""
    clean: Path | None = None
    """Undistorted photographs for the choice of prompts (section 3.3), a hundred or more."""
    spaq: Path | None = None
    """SPAQ for the choice of prompts, where it is not among the data sets."""
    pairs: Path | None = None
    """CSV file of generated pairs (section 5.1): first, second, preference."""
    applied: str = "koniq"
    """Data set whose networks are applied to generated images: KonIQ-10k in section 5."""
    teacher: Literal["clip", "measured"] = "clip"
    """What labels attributes; "measured" is a stand-in that needs no download, and is named so."""
    clip: Clip = field(default_factory=Clip)
    """The paper's teacher."""
    prompts: Literal["paper", "selected"] = "paper"
    """Of the row ATTIQA: Table 1 as printed, or our own choice from our own candidates."""
    view: Literal["center", "native5"] = "center"
    """How a photograph is shown to the teacher."""
    init: Path | None = None
    """Backbone weights that pretraining starts from (timm, safetensors); random without: the paper
    does not say."""
    baselines: Mapping[str, Baseline] = field(default_factory=dict)
    """Further rows by name, such as ImageNet and CLIP."""
    splits: int = 10
    """Random divisions of each data set but FLIVE and AVA, which have an official one."""
    network: Architecture = field(default_factory=Architecture)
    """ResNet-50 in the paper."""
    pretraining: PretrainSettings = field(default_factory=PretrainSettings.paper)
    """Section 3.4."""
    finetuning: FinetuneSettings = field(default_factory=FinetuneSettings.paper)
    """Section 4.2."""
    few_epochs: int | None = None
    """Epochs where 10 % or 20 % of the labels are used; as with all of them if not given."""
    protocol: CropProtocol = field(default_factory=CropProtocol)
    """Section 4.2: five crops of 320 pixels at a short side of 340."""
    probe: MlpProbe = field(default_factory=MlpProbe)
    """Section 4.5."""

    def __post_init__(self) -> None:
        if not 0 <= self.set_aside < 1:
            raise PlanFileError(f"set_aside: expected a share below 1; found {self.set_aside}")
        if self.splits < 1:
            raise PlanFileError(f"splits: expected at least 1; found {self.splits}")


def read_plan(path: Path) -> Plan:
    """Read a file of paths; those that are relative are relative to its folder.

    Raises:
        PlanFileError: It cannot be read, or has a field or a value that is not known.
        DatasetLayoutError: It names a data set that no reader knows.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PlanFileError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("datasets"), dict):
        raise PlanFileError(
            f"{path}: expected at least `datasets:` with NAME: FOLDER below it; see docs/paper.md"
        )
    _check_fields(path, content)
    for name in content["datasets"]:
        if name == PLAIN:
            raise PlanFileError(f"{path}: datasets: expected published ones; found {PLAIN!r}")
        check_name(str(name))
    try:
        return _converter(path.parent).structure(_on_defaults(content), Plan)
    except ClassValidationError as error:
        said = transform_error(error, path="Plan", format_exception=_reason)
        text = "; ".join(said).replace(" @ Plan.", ", in ").replace(" @ Plan", "")
        raise PlanFileError(f"{path}: {text}") from error


def _check_fields(path: Path, content: Mapping[str, Any]) -> None:
    """Refuse misspelt fields with the nearest right one."""
    known = [each.name for each in fields(Plan)]
    for name in content:
        if name not in known:
            near = get_close_matches(str(name), known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise PlanFileError(
                f"{path}: expected fields among {', '.join(known)}; found {name!r}{hint}"
            )


def _on_defaults(content: Mapping[str, Any]) -> dict[str, Any]:
    """Complete groups of settings by the paper's, field by field."""
    defaults = cattrs.Converter().unstructure(Plan({}))

    def merged(default: Any, value: Any) -> Any:
        if not (isinstance(default, Mapping) and default and isinstance(value, Mapping)):
            return value
        return {**default, **{k: merged(default.get(k), each) for k, each in value.items()}}

    return {name: merged(defaults[name], value) for name, value in content.items()}


def _reason(error: BaseException, kind: type | None) -> str:
    """Say what is wrong with one field."""
    if isinstance(error, (ForbiddenExtraKeysError, KeyError)):
        return format_exception(error, kind)
    return str(error)


def _converter(folder: Path) -> cattrs.Converter:
    """Make what turns parsed YAML into a `Plan`; no field is ignored, no type is guessed."""
    converter = cattrs.Converter(forbid_extra_keys=True)

    def located(value: Any, _: type) -> Path:
        if not isinstance(value, str):
            raise ValueError(f"expected a path, found {value!r}")
        return folder / Path(value).expanduser()

    def exactly(kind: type, *accepted: type) -> Any:
        def check(value: Any, _: type) -> Any:
            if isinstance(value, bool) != (kind is bool) or not isinstance(value, accepted):
                raise ValueError(f"expected {kind.__name__}, found {value!r}")
            return kind(value)

        return check

    converter.register_structure_hook(Path, located)
    for kind, accepted in ((int, (int,)), (float, (int, float)), (bool, (bool,)), (str, (str,))):
        converter.register_structure_hook(kind, exactly(kind, *accepted))
    return converter
