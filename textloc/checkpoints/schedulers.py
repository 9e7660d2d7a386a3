"""Which schedulers can do what a checkpoint predicts: the noise, the velocity or the picture.

diffusers finds out in the middle of a call, by an error that names neither. Here one step is made
on zeros before anything is computed.
"""

from __future__ import annotations

import copy
import inspect
import json
from typing import Any

from textloc.errors import CheckpointError

_PREDICTS = {"epsilon": "the noise", "v_prediction": "the velocity", "sample": "the picture"}
_known: dict[tuple[str, str], bool] = {}


def check(scheduler: Any) -> None:
    """Check that a scheduler can do what its settings say that the checkpoint predicts.

    Raises:
        CheckpointError: it cannot; the message names schedulers that can.
    """
    if _can(scheduler):
        return
    import diffusers

    others = [cls for cls in scheduler.compatibles if cls is not type(scheduler)]
    others = others or diffusers.DDIMScheduler().compatibles  # EDM's know of none
    kind = str(scheduler.config.get("prediction_type"))
    able = sorted(
        cls.__name__ for cls in others if (other := _made(cls, scheduler)) and _can(other)
    )
    raise CheckpointError(
        f"{type(scheduler).__name__} cannot be used with a checkpoint that predicts "
        f"{_PREDICTS.get(kind, kind)} ({kind}); choose another scheduler: "
        f"{', '.join(able) or 'that of the checkpoint'}"
    )


def _made(cls: Any, scheduler: Any) -> Any:
    try:
        return cls.from_config(scheduler.config)
    except Exception:  # each has demands of its own
        return None


def _can(scheduler: Any) -> bool:
    key = (type(scheduler).__name__, json.dumps(dict(scheduler.config), default=str))
    if key not in _known:
        _known[key] = _tried(copy.deepcopy(scheduler))
    return _known[key]


def _tried(scheduler: Any) -> bool:
    """Whether two steps go through. Errors of another kind are left to the call itself."""
    import torch

    picture = torch.zeros(1, 4, 8, 8)
    asked = inspect.signature(scheduler.set_timesteps).parameters
    try:
        scheduler.set_timesteps(4, **({"mu": 1.0} if "mu" in asked else {}))
        for time in scheduler.timesteps[:2]:
            if hasattr(scheduler, "scale_model_input"):
                scheduler.scale_model_input(picture, time)
            scheduler.step(picture, time, picture)
    except (NotImplementedError, ValueError) as error:
        return "prediction" not in str(error).lower()
    except Exception:
        return True
    return True
