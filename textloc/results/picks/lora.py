"""The pictures of a comparison of LoRA trainings, and of one LoRA beside its base.

There is nothing to pick: all are shown, a row a prompt.
"""

from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]
Cell = tuple[str, str | None, str | None, str]
"""Title, key, what was read and what was wanted."""
SIDES = {"base": "Base", "lora": "With the LoRA"}


def is_experiment(document: Document) -> bool:
    """Whether it is a comparison of trainings, or else of pictures without and with one LoRA."""
    return str(document["schema"]).startswith("textloc.lora/")


def rows(document: Document) -> list[tuple[str, list[Cell]]]:
    """(prompt, cells): a column a choice, or without and with the LoRA."""
    if not is_experiment(document):
        return _sides(document)
    titles = {choice["name"]: choice["title"] for choice in document["choices"]}
    return [
        (
            f"{row['group']}: {row['prompt']}",
            [(titles[one["choice"]], one["image"], None, "") for one in row["by_choice"]],
        )
        for row in document["pictures"]
    ]


def _sides(document: Document) -> list[tuple[str, list[Cell]]]:
    made = {(side, one["prompt"], one["seed"]): one for side in SIDES for one in document[side]}
    request = document["request"]
    many = len(request["seeds"]) > 1
    found = []
    for place, prompt in enumerate(request["prompts"]):
        for seed in request["seeds"]:
            cells: list[Cell] = []
            for side, title in SIDES.items():
                one = made.get((side, place, seed))
                told = (one["image"], one["read"], one["text"]) if one else (None, None, "")
                cells.append((title, *told))
            found.append((f"{prompt} (seed {seed})" if many else prompt, cells))
    return found
