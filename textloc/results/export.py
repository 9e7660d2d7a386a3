"""A stored result to hand on: a link, a table, an archive."""

import csv
import io
import secrets
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus, urlsplit, urlunsplit

from textloc.errors import StoreError
from textloc.results import store


def permalink(base_url: str, result_id: str) -> str:
    """`base_url` with `r=<id>` in its query; what else the query and fragment hold is kept.

    Raises `StoreError` for a badly formed ID.
    """
    store.check_id(result_id)
    scheme, host, path, query, fragment = urlsplit(base_url)
    kept = [part for part in query.split("&") if part and unquote_plus(part.split("=")[0]) != "r"]
    return urlunsplit((scheme, host, path, "&".join([*kept, f"r={result_id}"]), fragment))


_SCORES = (
    *("effect", "effect_low", "effect_high", "ocr_f1_target", "ocr_f1_source", "exact_target"),
    *("exact_source", "levenshtein_target", "ssim_source", "mse_source", "psnr_source"),
)
_MEASURES = (
    *("ocr_f1_target", "ocr_f1_source", "exact_target", "exact_source", "levenshtein_target"),
    *("ssim", "mse", "psnr", "ssim_outside_text", "mse_outside_text", "psnr_outside_text"),
)
_COLUMNS = {
    "textloc.localize": (
        *("layer", "name", "selected", "heads", "kv_parameters", *_SCORES, "read"),
    ),
    "textloc.lora": (
        *("choice", "group", "parameters", "samples_per_second", "memory_gb"),
        *("exact", "exact_low", "exact_high", "characters", "ocr_f1"),
        *("precision", "recall", "recall_low", "recall_high"),
    ),
    "textloc.lora_trial": (*("side", "prompt", "seed", "text", "read", "exact", "ocr_f1"),),
    "textloc.edit": (
        *("method", "start_step", "seed", "source", "target", "read_source", "read_edit"),
        *_MEASURES,
    ),
}


def to_table(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a result says, as rows that all have the same columns.

    Of a localization one row per finished layer, in execution order: `selected` is a bool, scores
    are numbers or None, `read` joins what was read in the layer's images (pairs and seeds in the
    document's order) by ` | `. Of an edit one row per edited picture, the other methods after
    `localized`: `source` and `target` are the words, measures those of `comparison.compare`. Of a
    comparison of trainings one row per choice and group of prompts; of pictures beside a LoRA's and
    of suppressions one row per picture; of a training one row per line of its log; of two
    localizations compared, and of shares, one row per layer; of the known checkpoints one row each.
    """
    if (kind := store.kind(document)) in _ROWS:
        return _ROWS[kind](document)
    selected = set(document.get("selected", ()))
    return [
        {
            "layer": layer["index"],
            "name": layer["name"],
            "selected": layer["index"] in selected,
            "heads": layer.get("heads"),
            "kv_parameters": layer.get("kv_parameters"),
            **{score: layer.get("scores", {}).get(score) for score in _SCORES},
            "read": " | ".join(read["text"] for read in layer.get("read", ())),
        }
        for layer in sorted(document.get("layers", ()), key=lambda layer: int(layer["index"]))
    ]


def _shares(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = document["shares"].get("by_layer", ())
    return [
        {
            "layer": layer["index"],
            "name": layer["name"],
            "heads": layer["heads"],
            "kv_parameters": layer["kv_parameters"],
            **dict(zip(("share", "share_low", "share_high"), triple, strict=True)),
        }
        for layer, triple in zip(document["layers"], found, strict=False)
    ]


def _loras(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for choice in document["choices"]:
        for group, scores in choice["scores"].items():
            exact, recall = scores["exact"], choice["recall"]
            rows.append(
                {
                    "choice": choice["name"],
                    "group": group,
                    **{
                        name: choice[name]
                        for name in ("parameters", "samples_per_second", "memory_gb")
                    },
                    **dict(zip(("exact", "exact_low", "exact_high"), exact, strict=True)),
                    "characters": scores["characters"][0],
                    "ocr_f1": scores["ocr_f1"][0],
                    "precision": choice["precision"][0],
                    **dict(zip(("recall", "recall_low", "recall_high"), recall, strict=True)),
                }
            )
    return rows


def _beside(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    prompts = document["request"]["prompts"]
    return [
        {
            "side": side,
            "prompt": prompts[one["prompt"]],
            **{name: one[name] for name in ("seed", "text", "read", "exact", "ocr_f1")},
        }
        for side in ("base", "lora")
        for one in document[side]
    ]


def _edits(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    pairs, start = document["request"]["pairs"], document["start_step"]
    methods = [{"name": "localized", "edits": document["edits"]}, *document["methods"]]
    return [
        {
            "method": method["name"],
            "start_step": start if method["name"] == "localized" else None,
            "seed": edit["seed"],
            "source": pairs[edit["pair"]]["source_text"],
            "target": pairs[edit["pair"]]["target_text"],
            "read_source": edit["read_source"],
            "read_edit": edit["read_edit"],
            **{measure: edit[measure] for measure in _MEASURES},
        }
        for method in methods
        for edit in method["edits"]
    ]


def _suppressed(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    prompts = document["prompts"]
    kinds = {name: document[name] for name in ("unguarded", "guarded") if document[name]}
    kinds |= {method["name"]: method for method in document["methods"]}
    return [
        {
            "method": name,
            "prompt": prompts[one["prompt"]]["prompt"],
            "benign": prompts[one["prompt"]]["benign"],
            "seed": one["seed"],
            "read": one["read"],
            "toxic": one["toxic"],
            "fallback": one["fallback"],
            "withheld": one["image"] is None,
        }
        for name, kind in kinds.items()
        for one in kind["pictures"]
    ]


def _compared(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "layer": layer["index"],
            "name": layer["name"],
            **{side: layer["values"][place][0] for place, side in enumerate(("first", "second"))},
            "apart": layer["apart"],
        }
        for layer in document["layers"]
    ]


_ROWS: dict[str, Callable[[Mapping[str, Any]], list[dict[str, Any]]]] = {
    "textloc.attribute": _shares,
    "textloc.edit": _edits,
    "textloc.suppress": _suppressed,
    "textloc.lora": _loras,
    "textloc.lora_trial": _beside,
    "textloc.compare": _compared,
    "textloc.finetune": lambda document: [dict(line) for line in document["log"]],
    "textloc.models": lambda document: [dict(entry) for entry in document["models"]],
}


def to_csv(document: Mapping[str, Any]) -> str:
    """`to_table` as CSV with a header line; None is an empty cell.

    Text that a spreadsheet would take for a formula is led by an apostrophe.
    """
    file = io.StringIO()
    rows = to_table(document)
    columns = _COLUMNS.get(store.kind(document)) or list(dict.fromkeys(k for r in rows for k in r))
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({column: _cell(value) for column, value in row.items()})
    return file.getvalue()


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(tuple("=+-@\t\r")) else value


def export_zip(result_id: str, path: Path, root: Path | None = None) -> Path:
    """Pack a stored result (verified first) into the ZIP file `path` and return `path`.

    The archive holds the folder `<id>/` as it is stored; unpacked into a folder of results it
    loads again. The same result gives the same bytes. Raises `StoreError` as `load` does, and
    where `path` cannot be written.
    """
    stored = store.load(result_id, root)
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    try:
        with zipfile.ZipFile(temporary, "x") as archive:
            for file in stored.files():
                name = f"{result_id}/{file.relative_to(stored.folder).as_posix()}"
                entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
                entry.external_attr = 0o644 << 16
                if file.suffix not in store.ENDINGS:  # pictures are compressed already
                    entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, file.read_bytes())
        temporary.replace(path)
    except OSError as error:
        raise StoreError(
            f"Could not write {path}: {error.strerror or error}. Choose a folder that can be "
            "written."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def with_paths(document: Mapping[str, Any], stored: store.Stored) -> dict[str, Any]:
    """The document with the path of its file in the place of every image key."""

    def told(value: Any, name: str = "") -> Any:
        if isinstance(value, Mapping):
            return {key: told(item, key) for key, item in value.items()}
        if isinstance(value, list):
            return [told(item, name) for item in value]
        key = name in ("image", "source") and isinstance(value, str)
        return str(stored.image_path(value)) if key and store.is_image_key(value) else value

    found = told(document)
    assert isinstance(found, dict)
    return found
