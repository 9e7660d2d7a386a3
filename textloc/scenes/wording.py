"""Prompts as people write them: a grammar of what a scene may be called.

A prompt names an object by one of its names or a thing that holds it, a colour or none, the word in
quotation marks first, in the middle or last, and what people put around: a photo of, on a table,
highly detailed. Some of every kind is held out of training (`HELD`), which is what an evaluation on
free wording asks for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from textloc.scenes.rendering import COLOURS, OBJECTS, SHADES, Scene
from textloc.scenes.words import dictionary

NAMES: dict[str, tuple[str, ...]] = {
    "sign": (
        "sign", "sign", "sign", "board", "signboard", "billboard", "street sign", "road sign",
        "shop sign", "store sign", "traffic sign", "neon sign", "warning sign", "door sign",
        "stop sign", "plaque", "nameplate", "plate", "license plate", "panel", "notice",
        "notice board", "signpost", "storefront", "storefront sign", "hanging sign", "tin sign",
        "protest sign", "yard sign", "exit sign", "bus", "truck", "station sign", "metal sign",
        "display", "name tag", "badge", "marquee",
    ),
    "book": (
        "book", "book", "book", "novel", "notebook", "textbook", "diary", "journal", "cookbook",
        "book cover", "hardcover book", "paperback", "comic book", "photo album", "manual",
        "storybook", "guidebook", "dictionary", "sketchbook", "old book", "children's book",
        "magazine cover", "exercise book", "passport",
    ),
    "shirt": (
        "shirt", "shirt", "T-shirt", "t-shirt", "T-shirt", "tee", "tee shirt", "tshirt", "jersey",
        "football jersey", "sweater", "jumper", "hoodie", "sweatshirt", "top", "blouse",
        "polo shirt", "tank top", "jacket", "uniform", "vest", "cotton shirt", "dress", "apron",
    ),
    "poster": (
        "poster", "poster", "poster", "banner", "flyer", "flier", "leaflet", "picture frame",
        "framed print", "print", "painting", "movie poster", "advertisement", "wall art",
        "canvas", "screen", "page", "sheet of paper", "piece of paper", "concert poster",
        "film poster", "flag", "chalkboard", "whiteboard", "menu", "computer screen", "brochure",
    ),
    "mug": (
        "mug", "mug", "mug", "cup", "cup", "coffee cup", "coffee mug", "tea cup", "teacup",
        "tumbler", "beer mug", "cup of tea", "cup of coffee", "ceramic mug", "jar", "pot",
        "paper cup", "tea mug", "pint", "bowl", "bucket",
    ),
    "letter": (
        "letter", "letter", "card", "card", "birthday card", "greeting card", "envelope", "note",
        "postcard", "invitation", "business card", "gift card", "Christmas card", "ticket",
        "label", "sticker", "thank you card", "tag", "love letter", "wedding card", "stamp",
        "gift tag", "sticky note", "Christmas card",
    ),
}  # fmt: skip
"""What each object is called; the more often a name stands here, the more often it is drawn."""

HELD_NAMES: dict[str, tuple[str, ...]] = {
    "sign": ("wall sign", "parking sign", "placard"),
    "book": ("hardback", "big book", "photo book"),
    "shirt": ("football shirt", "pullover", "sports jersey"),
    "poster": ("film banner", "framed poster", "art print"),
    "mug": ("camping mug", "espresso cup", "china cup"),
    "letter": ("valentine card", "place card", "airmail letter"),
}
"""Names kept out of training."""

THINGS = (
    "wall", "cake", "door", "box", "bag", "hat", "car", "bottle", "window", "phone", "balloon",
    "pillow", "house", "cap", "stone", "tree", "cookie", "table", "bench", "clock", "laptop",
    "van", "train", "plane", "boat", "ship", "tower", "building", "shop", "cafe", "tent", "rock",
    "pizza", "bread", "can", "tin", "package", "towel", "rug", "curtain", "umbrella", "helmet",
    "robot", "cat", "dog", "bear", "bird", "man", "woman", "child", "tattoo", "graffiti", "logo",
    "icon", "pen", "pencil", "plant", "lamp", "candle", "guitar", "drum", "ball", "racket",
    "wallet", "watch", "ring", "key", "coin", "medal", "trophy", "crown", "shield", "sword",
    "scroll", "map", "globe", "camera", "radio", "television", "monitor", "keyboard", "mouse",
    "chair", "sofa", "bed", "mirror", "vase", "spoon", "fork", "knife", "fridge", "oven",
)  # fmt: skip
"""Things that are none of the objects: what can be drawn then is a sign."""

HOLDERS: dict[str, tuple[str, ...]] = {
    "sign": ("a man holding", "a woman holding", "a cat holding", "a dog with", "a robot holding",
             "a person holding up", "a bear with", "a shop with"),
    "book": ("a girl reading", "a boy with", "a student holding", "a library with"),
    "shirt": ("a man wearing", "a woman wearing", "a boy in", "a girl in", "a cat wearing",
              "a person in", "a model wearing", "a player in"),
    "poster": ("a room with", "a wall with", "a girl holding", "a street with"),
    "mug": ("a man with", "a hand holding", "a woman holding", "a table with", "a desk with"),
    "letter": ("a hand holding", "a girl with", "a child holding", "a desk with"),
}  # fmt: skip

FIRST = (
    "a photo of", "photo of", "an image of", "a picture of", "picture of", "please draw", "draw",
    "draw me", "generate", "generate an image of", "show me", "make", "make me", "create",
    "create a picture of", "i want", "there is", "a close-up of", "close-up of",
    "an illustration of", "a drawing of", "a render of", "a painting of", "a cartoon of",
    "a photograph of", "imagine",
    "a nice photo of", "a sketch of", "can you draw", "give me", "a high quality photo of",
    "a realistic photo of", "image of", "this is", "here is", "i see", "look at",
    "in a {any} {any},", "at the {any},", "{any}:", "{any} {any} of", "for my {any},",
)  # fmt: skip
HELD_FIRST = ("an artistic photo of", "please make", "a snapshot of", "i would like")

LAST = (
    ", photorealistic", ", 4k", ", highly detailed", ", digital art", ", studio lighting",
    ", cinematic", ", best quality", ", sharp focus", ", realistic", ", photorealistic, 4k",
    ", 8k", ", high resolution", ", minimalist", ", vector art", ", bokeh", ", hdr", ", detailed",
    " in the rain", " on a table", " on the table", " on the wall", " on a wall", " in a shop",
    " at night", " in a garden", " in the street", " outdoors", " indoors", " on a desk",
    " by the road", " in the snow", " in the sun", " on the floor", " in a kitchen", " please",
    " in the forest", " on the beach", " at sunset", " in the park", " in a window",
    " on a white background", " in the city", ".", ".", "!", ", vintage style", ", watercolor",
    ", oil painting", ", in focus", ", close up", ", product photo", " in an office",
    " next to a {any} {any}", " next to a {any}", " by the {any}", " near a {any}",
    ", {any} {any}", ", {any}", " in a {any} {any}", " in the {any}", ", {any} style",
    " under a {any}", " held by a {any}", " for my {any}", " made of {any}", ", {any} and {any}",
    " lying on {any}", " from the {any}", " behind a {any} {any}", ", with a {any} {any}",
)  # fmt: skip
HELD_LAST = (", ultra realistic", " in the desert", " on a shelf", ", soft light", " in the fog")

BEFORE = (
    "big", "small", "large", "little", "new", "old", "vintage", "beautiful", "plain", "shiny",
    "simple", "nice", "modern", "cute", "rusty", "round", "fancy", "clean", "dirty", "cool",
    "handmade", "retro", "giant", "tiny", "square", "colorful", "worn",
    *["{any}"] * 24, *["{any} {any}"] * 6,
)  # fmt: skip
HELD_BEFORE = ("pretty", "elegant", "weathered")

SAYS = (
    'that says "{word}"', 'that says "{word}"', 'saying "{word}"', 'saying "{word}"',
    'which says "{word}"', 'that reads "{word}"', 'reading "{word}"', 'which reads "{word}"',
    'with the word "{word}"', 'with the word "{word}" on it', 'with the text "{word}"',
    'with the text "{word}" on it', 'with text "{word}"', 'with text saying "{word}"',
    'with "{word}" on it', 'with "{word}" written on it', 'with "{word}" printed on it',
    'with "{word}" painted on it', 'with the word "{word}" written on it',
    'with the word "{word}" printed on it', 'that has "{word}" printed on it',
    'that has "{word}" written on it', 'that has the word "{word}" on it', 'bearing "{word}"',
    'displaying "{word}"', 'showing "{word}"', 'labelled "{word}"', 'labeled "{word}"',
    'titled "{word}"', 'with the title "{word}"', 'with the inscription "{word}"',
    'that spells "{word}"', 'with the caption "{word}"', 'with the message "{word}"',
    'with the letters "{word}"', ': "{word}"', ', "{word}"', '"{word}"', 'with a "{word}" logo',
    'marked "{word}"', 'with the name "{word}"', 'with the words "{word}"', 'with "{word}"',
    'says "{word}"', 'reads "{word}"', 'saying "{word}" on it', 'with the slogan "{word}"',
    'with writing "{word}"', ', text "{word}"', ', it says "{word}"', 'with big letters "{word}"',
    'with large text "{word}"', 'on which is written "{word}"', 'with the label "{word}"',
    'and the text "{word}"', 'with the sentence "{word}"', 'that just says "{word}"',
    'named "{word}"', 'called "{word}"', 'stamped "{word}"', 'with a text that says "{word}"',
    '{any} with "{word}"', '{any} "{word}"', 'that {any} "{word}"', 'with "{word}" {any} on it',
    'with "{word}" on the {any}', 'whose {any} is "{word}"', 'for {any} "{word}"',
    'and the {any} says "{word}"', '{any} the word "{word}"', 'with "{word}" {any} in {any}',
    'with a {any} and the text "{word}"', 'of {any} that says "{word}"',
)  # fmt: skip
HELD_SAYS = (
    'showing the word "{word}"', 'inscribed with "{word}"', 'that displays "{word}"',
    'where one can read "{word}"', 'with "{word}" across it', 'which bears the text "{word}"',
)  # fmt: skip

SAID = (
    '"{word}" on {what}', '"{word}" on {what}', '"{word}" written on {what}',
    '"{word}" printed on {what}', '"{word}" painted on {what}', 'the word "{word}" on {what}',
    'the word "{word}" written on {what}', 'the words "{word}" on {what}',
    'text "{word}" on {what}',
    '"{word}" {bare}', '"{word}" {bare}', 'a "{word}" {bare}', 'the "{word}" {bare}',
    'letters "{word}" on {what}', '"{word}" in big letters on {what}', 'write "{word}" on {what}',
    '{what}. it says "{word}"', '{what} and on it "{word}"', '"{word}", {what}',
    'put "{word}" on {what}', '{what}. text: "{word}"', '"{word}" {any} on {what}',
    'the {any} "{word}" on the {any} of {what}', '{any} "{word}" {any} {what}',
)  # fmt: skip
HELD_SAID = ('someone wrote "{word}" on {what}', '"{word}" is written on {what}')

AFTER = (" in {colour}", ", {colour}", ". {colour}", " of {colour} colour", ", {colour} color,")
"""How a colour stands after what has it."""

LONGEST = 92
"""Characters of a prompt without spaces, with a word of six letters: no tokenizer cuts it off."""

_ARTICLES = ("a", "the", "my", "one", "some", "")
_CURLY = 0.15  # share of prompts with curly quotation marks
_SINGLE = 0.06  # and with single ones


@dataclass(frozen=True)
class Kinds:
    """What a prompt is made of."""

    names: dict[str, tuple[str, ...]]
    first: Sequence[str]
    last: Sequence[str]
    before: Sequence[str]
    says: Sequence[str]
    said: Sequence[str]


TRAINED = Kinds(NAMES, FIRST, LAST, BEFORE, SAYS, SAID)
HELD = Kinds(HELD_NAMES, HELD_FIRST, HELD_LAST, HELD_BEFORE, HELD_SAYS, HELD_SAID)
"""Kept out of training."""


def _says(scene: Scene, names: Sequence[str]) -> bool:
    """Whether one of the names stands in the prompt, outside of the scene's word."""
    said = f" {scene.prompt.replace(scene.word, '').lower()} "
    return any(re.search(rf"\b{re.escape(name.lower())}\b", said) for name in names)


def names_object(scene: Scene) -> bool:
    """Whether the prompt names the scene's object."""
    return _says(scene, (*NAMES[scene.object], *HELD_NAMES[scene.object]))


def names_colour(scene: Scene) -> bool:
    """Whether the prompt names the scene's colour."""
    return _says(scene, (scene.colour,))


def names_all(scene: Scene) -> bool:
    """Whether the prompt names the object, and its colour by one of `COLOURS`."""
    return names_object(scene) and scene.colour in COLOURS and names_colour(scene)


def vocabulary() -> list[str]:
    """Everything that training prompts are put together of, but colours and places."""
    listed = [*TRAINED.first, *TRAINED.last, *TRAINED.before, *TRAINED.says, *TRAINED.said]
    listed += [name for names in (*NAMES.values(), *HOLDERS.values()) for name in names]
    return [*listed, *AFTER, *THINGS, *_ARTICLES, "at in"]


@cache
def any_words() -> tuple[str, ...]:
    """Words of a dictionary for `{any}`: what a prompt says beside object, colour and word, and
    that a picture need not show; none that names an object or a colour, or is held out."""
    names = [name for kinds in (NAMES, HELD_NAMES) for listed in kinds.values() for name in listed]
    held = [*HELD_FIRST, *HELD_LAST, *HELD_BEFORE, *HELD_SAYS, *HELD_SAID]
    said = " ".join([*COLOURS, *SHADES, *names, *held]).upper()
    known = set(re.findall("[A-Z]+", said))
    listed = (w for w in dictionary() if 3 <= len(w) <= 9 and w not in known)
    return tuple(sorted(word.lower() for word in listed))


def colour(rng: np.random.Generator) -> str:
    """The name of any colour."""
    return str(rng.choice((*COLOURS, *SHADES)))


def wording(
    rng: np.random.Generator, scene: Scene, held: Sequence[str] = (), named: bool = False
) -> str:
    """What the scene may be called, with `{word}` for its word.

    Args:
        held: names of the kinds (fields of `Kinds`) that are drawn from `HELD`; with them the rest
            of the prompt is short. named: whether the prompt surely names object and colour, so
            that a picture can be judged by them; with `held` it always does.
    """
    while True:
        text = _wording(rng, scene, held, named or bool(held))
        if len(text.replace(" ", "")) <= LONGEST:
            return text


def _wording(rng: np.random.Generator, scene: Scene, held: Sequence[str], named: bool) -> str:
    def pick(kind: str) -> str:
        listed = getattr(HELD if kind in held else TRAINED, kind)
        listed = listed[scene.object] if kind == "names" else listed
        picked = str(listed[rng.integers(len(listed))])
        while "{any}" in picked:
            picked = picked.replace("{any}", any_words()[rng.integers(len(any_words()))], 1)
        return picked

    def often(kind: str, share: float) -> bool:
        return kind in held or (not held and bool(rng.random() < share))

    name = pick("names")
    if not named and scene.object == OBJECTS[0] and rng.random() < 0.25:
        name = str(rng.choice(THINGS))
    words, after = [name], ""
    if named or rng.random() < 0.8 or scene.colour not in COLOURS:
        if not held and rng.random() < 0.12:
            after = str(rng.choice(AFTER)).replace("{colour}", scene.colour)
        else:
            words.insert(0, scene.colour)
    if often("before", 0.3):
        words.insert(int(rng.integers(len(words))), pick("before"))
    bare = " ".join(words)
    article = rng.choice(
        ("a", "the", "my", "one", "some", ""), p=(0.7, 0.12, 0.02, 0.03, 0.03, 0.1)
    )
    if article == "a" and bare[0] in "aeiou":
        article = "an"
    what = f"{article} {bare}".strip()
    if not held and rng.random() < 0.06:
        holders = HOLDERS[scene.object]
        what = f"{holders[rng.integers(len(holders))]} {what}"
    place = "" if scene.position == "middle" else f" at the {scene.position}"
    face = "" if scene.typeface == "sans" else f" in {scene.typeface}"
    if "said" in held or ("says" not in held and rng.random() < 0.25):
        text = pick("said").replace("{what}", what + place + after)
        text = text.replace("{bare}", bare + place + after)
    else:
        said = pick("says")
        text = f"{what}{place}{after}{'' if said[0] in ':,' else ' '}{said}"
    if often("first", 0.3):
        text = f"{pick('first')} {text}"
    text += face
    if often("last", 0.45):
        text += pick("last")
    if not held:
        marks = rng.random()
        if marks < _CURLY:
            text = text.replace('"{word}"', "\u201c{word}\u201d")
        elif marks < _CURLY + _SINGLE:
            text = text.replace('"{word}"', "'{word}'")
    return text
