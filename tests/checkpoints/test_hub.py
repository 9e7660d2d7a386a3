"""A network that fails, with whichever HTTP library the Hub's client speaks."""

from pathlib import Path

import pytest

from textloc.checkpoints import hub, loading, loras
from textloc.errors import CheckpointError, TrainingError
from textloc.finetuning import card


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens at the Hub's address."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@pytest.mark.usefixtures("away")
def test_what_the_client_raises_is_known() -> None:
    from huggingface_hub import HfApi

    with pytest.raises(hub.unreachable()):
        HfApi(endpoint="http://127.0.0.1:9").model_info("somebody/something")
    assert issubclass(ConnectionError, hub.http_errors())


@pytest.mark.usefixtures("away")
def test_a_hub_that_is_away_is_told_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import HfApi

    def refuse(*_args: object, **_named: object) -> None:
        HfApi(endpoint="http://127.0.0.1:9").model_info("somebody/something")

    monkeypatch.setattr("diffusers.DiffusionPipeline.download", refuse)
    with pytest.raises(CheckpointError, match="cannot be reached"):
        loading.load("somebody/something")
    monkeypatch.setattr(loras, "_fetch", refuse)
    with pytest.raises(CheckpointError, match="cannot be reached"):
        loras._download("somebody/something", None)
    (tmp_path / loras.FILE).write_bytes(b"")
    monkeypatch.setattr(HfApi, "create_repo", refuse)
    with pytest.raises(TrainingError, match="check the network"):
        card.push(tmp_path, "somebody/something")
