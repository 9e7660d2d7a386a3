"""A valid localize document with its images, made up without a model.

The readings are consistent: every layer turns some letters of the source word into the target's,
sets add up, scores are computed from what was read. Used by the tests of whatever shows results.
"""

import random
from collections.abc import Sequence
from typing import Any

from PIL import Image

from textloc.reading.metrics import ocr_precision_recall_f1
from textloc.results import store

Document = dict[str, Any]
Images = dict[str, Image.Image]


def layer_names(n_layers: int) -> list[str]:
    """Dotted names in execution order: 11 (tiny U-Net), 22 (IF), 70 (SDXL), else a transformer."""
    if n_layers == 11:
        sizes = [("down_blocks.1", 2, 1), ("down_blocks.2", 2, 1), ("mid_block", 1, 2)]
        sizes += [("up_blocks.0", 3, 1), ("up_blocks.1", 2, 1)]
    elif n_layers == 70:
        sizes = [("down_blocks.1", 2, 2), ("down_blocks.2", 2, 10), ("mid_block", 1, 10)]
        sizes += [("up_blocks.0", 3, 10), ("up_blocks.1", 3, 2)]
    elif n_layers == 22:
        stages = [*((f"down_blocks.{i}", 3) for i in (1, 2, 3)), ("mid_block", 1)]
        stages += [(f"up_blocks.{i}", 4) for i in (0, 1, 2)]
        return [f"{stage}.attentions.{i}" for stage, count in stages for i in range(count)]
    else:
        return [f"transformer_blocks.{i}.attn" for i in range(n_layers)]
    return [
        f"{stage}.attentions.{attention}.transformer_blocks.{block}.attn2"
        for stage, attentions, blocks in sizes
        for attention in range(attentions)
        for block in range(blocks)
    ]


def localize_document(
    n_layers: int = 11,
    *,
    words: Sequence[tuple[str, str]] = (("STOP", "LOVE"),),
    seeds: Sequence[int] = (0, 1),
    finished: int | None = None,
    references: Sequence[str] = ("source", "target", "all"),
    works: bool = True,
    size: int = 8,
) -> tuple[Document, Images]:
    """Document and images of a run over `n_layers` layers, six or more (any number if not `works`).

    Three neighbouring layers (7, 8, 9 of 11; 55, 56, 57 of 70) write the words. `finished` makes
    the partial document after so many layers, with only these `references`. With `works=False`
    nothing changes the words, not even all layers. Images are `size` pixels square.
    """
    dice = random.Random(n_layers)
    first = 55 if n_layers == 70 else round(n_layers * 0.65)
    weights = dict.fromkeys(range(n_layers), 0.0)
    if works:
        weights = {layer: 0.06 * dice.random() for layer in weights}
        weights |= {first: 0.2, first + 1: 0.35, first + 2: 0.45}
    images: Images = {}

    read: dict[str, str] = {}
    everything = tuple(range(n_layers))

    def outcome(what: Sequence[int] | str) -> dict[str, Any]:
        patched = () if what in ("source", "target") else everything if what == "all" else what
        share = min(1.0, sum(weights[int(layer)] for layer in patched) + 1e-9)
        reads = []
        for pair, (source, target) in enumerate(words):
            for seed in seeds:
                key = f"p{pair}-s{seed}-{_label(what, n_layers)}"
                if key not in read:
                    color = tuple(dice.randrange(256) for _ in range(3))
                    images[key] = Image.new("RGB", (size, size), color)
                    mixed = _mix(source, target, share, dice)
                    read[key] = target if what == "target" else mixed
                reads.append({"pair": pair, "seed": seed, "text": read[key], "image": key})
        scores = _scores(reads, words)
        scores["ssim_source"] = 1.0 - 0.25 * len(patched) / n_layers
        return {"read": reads, "scores": scores}

    made = {name: outcome(name) for name in references}
    floor = made["source"]["scores"]["ocr_f1_target"] if "source" in made else None
    ceiling = made["all"]["scores"]["ocr_f1_target"] if "all" in made else None

    def effect(scores: dict[str, Any]) -> float | None:
        if floor is None or ceiling is None or floor == ceiling:
            return None
        return float((scores["ocr_f1_target"] - floor) / (ceiling - floor))

    def with_effect(result: dict[str, Any]) -> dict[str, Any]:
        value = effect(result["scores"])
        result["scores"]["effect"] = value
        result["scores"]["effect_low"] = None if value is None else value - 0.08
        result["scores"]["effect_high"] = None if value is None else value + 0.06
        return result

    def entry(layers: Sequence[int]) -> dict[str, Any]:
        sizes = {"size": len(layers), "kv_parameters": 43008 * len(layers)}
        share = {"fraction_of_parameters": len(layers) / (20 * n_layers)}
        return {"layers": list(layers)} | sizes | share | with_effect(outcome(layers))

    names = layer_names(n_layers)
    done = n_layers if finished is None else finished
    layers = [
        {"index": index, "name": names[index], "heads": 3, "kv_parameters": 43008}
        | with_effect(outcome([index]))
        for index in range(done)
    ]
    request = {
        "job": "localize",
        "checkpoint": {"name": f"example-{n_layers}", "revision": None, "digest": "sha256:0123"},
        "pairs": [
            {
                "source": f'a red sign that says "{source}"',
                "target": f'a red sign that says "{target}"',
                "source_text": source,
                "target_text": target,
            }
            for source, target in words
        ],
        "seeds": list(seeds),
        "steps": 20,
        "guidance": 3.0,
        "height": size,
        "width": size,
        "start_step": 0,
        "layers": list(everything),
        "ocr": {"engine": "rapidocr", "version": "3.10.0"},
        "dtype": "float32",
        "share": 0.9,
    }
    document: Document = {
        "schema": "textloc.localize/1",
        "id": store.request_id(request),
        "complete": finished is None,
        "request": request,
        "checkpoint": {
            "name": f"example-{n_layers}",
            "revision": None,
            "digest": "sha256:0123",
            "pipeline": "StableDiffusionXLPipeline",
            "denoiser": "UNet2DConditionModel",
            "parameters": 43008 * n_layers * 20,
            "scheduler": "DDIMScheduler",
            "safety_checker": None,
            "watermark": None,
        },
        "environment": {"textloc": "0.1.0", "python": "3.11", "device": "cpu"},
        "layers": layers,
        "references": made,
        "floor": floor,
        "ceiling": ceiling,
        "sets": [],
        "controls": [],
        "selection": {
            "share": 0.9,
            "reached": False,
            "chosen_on": list(range(len(words))),
            "reported_on": list(range(len(words))),
            "split": False,
        },
        "selected": [],
        "fraction_of_parameters": 0.0,
        "timing": {"generate_s": 8.0, "read_s": 2.5, "total_s": 12.5, "rows": len(images)},
    }
    if finished is None:
        order = sorted(everything, key=lambda layer: (-weights[layer], layer))
        grown = [tuple(sorted(order[:count])) for count in ((0, 1, 2, 3) if works else (0,))]
        document["sets"] = [entry(layers) for layers in (*grown, everything)]
        if works:
            document["selected"] = list(grown[-1])
            document["fraction_of_parameters"] = document["sets"][-2]["fraction_of_parameters"]
            document["selection"]["reached"] = True
            document["controls"] = [entry(sorted(dice.sample(order[3:], 3))) for _ in range(3)]
    return document, images


def edit_document(
    *,
    words: Sequence[tuple[str, str]] = (("STOP", "LOVE"),),
    seeds: Sequence[int] = (0, 1),
    methods: Sequence[str] = ("prompt-swap", "inpainting"),
    start_step: int | None = None,
    tried: Sequence[int] = (0, 5, 7, 10),
    made: str = "all",
    own: bool = False,
    size: int = 64,
) -> tuple[Document, Images]:
    """Document and images of an edit, whose words change when patched from step 7 or earlier.

    `tried` start steps make the curve where `start_step` is None. `made` is how far it has come:
    `sources`, `starts` or `all`. `own` makes the pictures a visitor's.
    """
    dice = random.Random(1)
    images: Images = {}
    pairs = [
        {
            "source": f'a red sign that says "{source}"',
            "target": f'a red sign that says "{target}"',
            "source_text": source,
            "target_text": target,
        }
        for source, target in words
    ]

    def picture(pair: int, seed: int, label: str) -> str:
        key = f"p{pair}-s{seed}-{label}"
        colour = tuple(dice.randrange(256) for _ in range(3))
        images.setdefault(key, Image.new("RGB", (size, size), colour))
        return key

    def edits(label: str, share: float, kept: float) -> list[dict[str, Any]]:
        found = []
        for pair, (source, target) in enumerate(words):
            for seed in seeds:
                read = target if share >= 1 else _mix(source, target, share, dice)
                scores = _scores([{"pair": 0, "text": read}], [(source, target)])
                measured = {name: scores[name] for name in ("ocr_f1_target", "ocr_f1_source")}
                measured |= {name: scores[name] for name in ("exact_target", "exact_source")}
                measured |= {"levenshtein_target": 4.0 * (1 - share), "mse": 700.0, "ssim": kept}
                measured |= {"psnr": 19.0, "mse_outside_text": 90.0, "psnr_outside_text": 28.0}
                measured |= {"ssim_outside_text": min(1.0, kept + 0.15)}
                found.append(
                    {
                        "pair": pair,
                        "seed": seed,
                        "read_source": source,
                        "read_edit": read,
                        "source": f"p{pair}-s{seed}-source",
                        "image": picture(pair, seed, label),
                        **measured,
                    }
                )
        return found

    def means(rows: list[dict[str, Any]]) -> dict[str, list[float]]:
        names = [name for name, value in rows[0].items() if isinstance(value, float)]
        found = {name: sum(row[name] for row in rows) / len(rows) for name in names}
        return {name: [mean, mean - 0.05, mean + 0.05] for name, mean in found.items()}

    chosen = start_step if start_step is not None else max(s for s in tried if s <= 7)
    request = {
        "job": "edit",
        "checkpoint": {"name": "example-11", "revision": None, "digest": "sha256:0123"},
        "pairs": pairs,
        "pictures": ["sha256:4567"] * len(pairs) * own,
        "layers": [7, 8, 9],
        "start_step": start_step,
        "seeds": list(seeds),
        "methods": list(methods),
        "steps": 20,
        "guidance": 3.0,
        "height": size,
        "width": size,
        "ocr": {"engine": "rapidocr", "version": "3.10.0"},
        "dtype": "float32",
    }
    titles = {"prompt-swap": "Prompt swap", "inpainting": "Inpainting"}
    sources = [
        {"pair": p, "seed": s, "read": w[0], "image": picture(p, s, "source")}
        for p, w in enumerate(words)
        for s in seeds
    ]
    curve, localized, others = [], [], []
    if made != "sources" and start_step is None:
        for step in tried:
            rows = edits(f"start{step:02d}", 1.0 if step <= 7 else 0.1, 0.7 + 0.015 * step)
            short = [{name: row[name] for name in ("read_edit", "image")} for row in rows]
            curve.append({"start_step": step, "scores": means(rows), "edits": short})
    if made == "all":
        localized = edits(f"start{chosen:02d}", 1.0, 0.8)
        others = [(name, edits(name, 0.9, 0.75)) for name in methods]
    measured = {"mse": 4.0, "psnr": 42.0, "ssim": 0.99, "correction": 0.4, "poor": False}
    document: Document = {
        "schema": "textloc.edit/1",
        "id": store.request_id(request),
        "complete": made == "all",
        "request": request,
        "checkpoint": {**localize_document()[0]["checkpoint"], "text_layers": 11},
        "environment": {"textloc": "0.1.0", "python": "3.11", "device": "cpu"},
        "layers": [7, 8, 9],
        "layers_from": "stored:0123456789abcdef",
        "kv_parameters": 3 * 43008,
        "fraction_of_parameters": 3 / 220,
        "start_step": chosen if made == "all" else None,
        "curve": curve,
        "sources": sources,
        "edits": localized,
        "methods": [
            {"name": name, "title": titles[name], "paper": "", "edits": rows, "scores": means(rows)}
            for name, rows in others
        ]
        if made == "all"
        else [
            {"name": name, "title": titles[name], "paper": "", "edits": [], "scores": None}
            for name in methods
        ],
        "scores": means(localized) if localized else None,
        "costs": {
            name: {"images": len(sources), "seconds": 1.5, "denoiser_rows": 80}
            for name in ("source", "localized", *methods)
        },
        "inversions": [{"pair": p, "seed": s, **measured} for p in range(len(words)) for s in seeds]
        * own,
        "timing": {"load_s": 0.0, "generate_s": 8.0, "read_s": 2.5, "total_s": 12.5},
    }
    return document, images


def _label(what: Sequence[int] | str, n_layers: int) -> str:
    if isinstance(what, str):
        return what
    if len(what) in (0, n_layers):
        return "all" if what else "source"
    return f"layer{what[0]:02d}" if len(what) == 1 else "set-" + "_".join(map(str, what))


def _mix(source: str, target: str, share: float, dice: random.Random) -> str:
    """`source` with about `share` of its letters replaced by those of `target`."""
    length = len(target) if dice.random() < share else len(source)
    pad = max(len(source), len(target))
    letters = zip(source.ljust(pad), target.ljust(pad), strict=True)
    return "".join(new if dice.random() < share else old for old, new in letters)[:length].strip()


def _scores(reads: Sequence[dict[str, Any]], words: Sequence[tuple[str, str]]) -> dict[str, Any]:
    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    scores: dict[str, Any] = {}
    for side, name in enumerate(("source", "target")):
        pairs = [(read["text"], words[read["pair"]][side]) for read in reads]
        scores[f"ocr_f1_{name}"] = mean([ocr_precision_recall_f1(*pair)[2] for pair in pairs])
        scores[f"exact_{name}"] = mean([float(text == word) for text, word in pairs])
    scores["levenshtein_target"] = 1.0 - scores["ocr_f1_target"]
    scores["mse_source"], scores["psnr_source"] = 743.0, 19.4
    return scores


def document(*args: Any, **kwargs: Any) -> Document:
    """Only the document of `localize_document`."""
    return localize_document(*args, **kwargs)[0]


WORDS = [("STOP", "LOVE"), ("BAKERY", "GARDEN"), ("<b>EXIT</b>", "a & b"), ("CAT", "DOG")]
DOCUMENTS: dict[str, Document] = {
    "tiny": document(11, seeds=range(4)),
    "if": document(22, words=WORDS, seeds=(0,)),
    "sd3": document(24, words=WORDS),
    "sdxl": document(70, words=WORDS),
    "partial": document(11, finished=4),
    "first": document(11, finished=1, references=("source",)),
    "nothing yet": document(70, finished=0, references=()),
    "no effect": document(11, works=False),
}
"""Documents of every kind by name."""


CHOICES = {
    "base": ("Base", 0.0, 1.0),
    "localized": ("Localized layers", 0.55, 0.9),
    "attention": ("Every attention", 0.6, 0.4),
    "random": ("Random text layers", 0.1, 0.8),
}
"""Choice → title, share of numbers read exactly after training, recall."""


def lora_document(size: int = 64, seeds: Sequence[int] = (0, 1)) -> tuple[Document, Images]:
    """Document and images of a comparison of trainings, with groups `numbers` and `words`."""
    images: Images = {}
    groups = {"numbers": 'a red sign that says "2048"', "words": 'a <blue> mug that says "TEA"'}

    def picture(place: int, name: str) -> str:
        key = f"p{place}-s0-{name}"
        images[key] = Image.new("RGB", (size, size), (40 * place, 90, len(name) * 20))
        return key

    def around(value: float) -> list[float]:
        return [value, max(0.0, value - 0.1), min(1.0, value + 0.1)]

    choices = []
    for name, (title, exact, recall) in CHOICES.items():
        points = [
            {
                "step": step,
                "kind": "validate",
                "exact numbers": exact * step / 200,
                "exact words": 1 - exact * step / 400,
                "letters numbers": exact * step / 200,
                "letters words": 1 - exact * step / 400,
                "precision": 0.9,
                "recall": 1 - (1 - recall) * step / 200,
            }
            for step in (0, 100, 200)
        ]
        trained = name != "base"
        choices.append(
            {
                "name": name,
                "title": title,
                "layers": [[8, 9, 10]] * len(seeds) if trained else [],
                "parameters": 55_296 * trained,
                "scores": {
                    "numbers": {k: around(exact) for k in ("exact", "characters", "ocr_f1")},
                    "words": {k: around(1 - exact / 2) for k in ("exact", "characters", "ocr_f1")},
                },
                "precision": around(0.9),
                "recall": around(recall),
                "clip_t": None,
                "samples_per_second": 80.0 if trained else None,
                "memory_gb": 1.2 if trained else None,
                "curves": [{"seed": seed, "points": points} for seed in seeds] if trained else [],
            }
        )
    request = {
        "job": "lora",
        "checkpoint": {"name": "made-up", "revision": None, "digest": "sha256:" + "0" * 64},
        "data": "scenes:digits:100",
        "settings": {"steps": 200, "batch": 16, "rank": 4},
        "localized": [8, 9, 10],
        "choices": [name for name in CHOICES if name != "base"],
        "seeds": list(seeds),
        "prompts": [{"group": group, "prompt": prompt} for group, prompt in groups.items()],
        "pictures": 2,
        "neighbours": 3,
        "ocr": {"engine": "made-up", "version": "1"},
    }
    document = {
        "schema": "textloc.lora/1",
        "id": store.request_id(request),
        "complete": True,
        "request": request,
        "checkpoint": {"name": "made-up", "parameters": 1, "text_layers": 11, "dtype": "float32"},
        "environment": {},
        "features": "made-up features",
        "groups": list(groups),
        "layers": [8, 9, 10],
        "choices": choices,
        "pictures": [
            {
                "group": group,
                "prompt": prompt,
                "by_choice": [{"choice": name, "image": picture(n, name)} for name in CHOICES],
            }
            for n, (group, prompt) in enumerate(groups.items())
        ],
    }
    return document, images
