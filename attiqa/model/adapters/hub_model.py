"""Models on the Hugging Face hub: `save_pretrained`, `from_pretrained`, `push_to_hub`.

>>> HubModel.from_pretrained("owner/repository").score("photo.jpg")  # doctest: +SKIP
"""

from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, PyTorchModelHubMixin

from attiqa.model.adapters.hub_card import LIBRARY, hub_card
from attiqa.model.cards import Card
from attiqa.model.checkpoints import save_checkpoint
from attiqa.model.networks import QualityNet
from attiqa.model.quality_model import QualityModel, load_model
from attiqa.model.sources import fetch


class HubModel(
    QualityModel,
    PyTorchModelHubMixin,
    library_name=LIBRARY,
):
    """A `QualityModel` that the hub's functions know; stored as safetensors with its JSON card."""

    def __init__(self, net: QualityNet, card: Card) -> None:
        super().__init__(net, card, net.attribute_mean.device)
        self._hub_mixin_config = None  # the card beside the weights is the configuration

    def _save_pretrained(self, save_directory: Path) -> None:
        save_checkpoint(save_directory, self.net, self.card)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        map_location: str = "cpu",
        **options: Any,
    ) -> "HubModel":
        """Load a folder or a repository.

        Args:
            pretrained_model_name_or_path: A folder, or `owner/name`.
            revision: Branch, tag or commit of the repository.
            map_location: Where the model will run.
            options: Of the download: `token`, `cache_dir`, `force_download`, `local_files_only`.

        Raises:
            CheckpointError: Not to be had, or broken.
        """
        folder = Path(pretrained_model_name_or_path)
        if not folder.is_dir():
            folder = fetch(str(pretrained_model_name_or_path), revision, **options)
        model = load_model(folder, map_location)
        return cls(model.net, model.card)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload weights, JSON card and README, which names the repository.

        Args:
            repo_id: `owner/name`.
            options: Of `PyTorchModelHubMixin.push_to_hub`: `token`, `private`, `revision`, ...
        """
        named = {"repository": repo_id}
        return super().push_to_hub(repo_id, model_card_kwargs=named, **options)

    def generate_model_card(  # type: ignore[override]
        self, repository: str = "owner/repository"
    ) -> ModelCard:
        """Write what a user of the repository must know, from the card (see `hub_card`)."""
        return hub_card(self.card, repository)
