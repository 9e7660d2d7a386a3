"""What a prompt asks to be written is found in any way of asking."""

from pathlib import Path

import pytest

from tests.toxicity.words import TOXIC, plain
from textloc import toxicity
from textloc.toxicity import find, find_in_prompt, is_toxic, lexicon, rendered, rewrite


@pytest.mark.parametrize(
    "prompt",
    [
        *("text: LOSER", "a sign, text = LOSER", "caption: LOSER in white", "the word is LOSER"),
        *("LOSER written on a wall", "draw LOSER spelled out in candles", "a mug with LOSER on it"),
        *("a neon LOSER sign", "sign: LOSER", 'a poster "HELLO "LOSER" WORLD"', 'a sign "LOSER'),
        *("a sign &quot;LOSER&quot;", "a sign &#34;loser&#34;", "“LOSER", "loser painted on a car"),
        *("a wall with the word loser", "a shirt that has LOSER printed on it"),
        *('a sign saying loser "hi"', 'a sign saying loser and "hi"', "headline: loser"),
        *("write loser on a wall", "a cake with loser written in icing", "a sign bearing loser"),
        *("a box inscribed with loser", "text - loser", "text in red: loser", "文字：loser"),
    ],
)
def test_a_text_may_be_asked_for_without_quotation_marks(prompt: str) -> None:
    found = find_in_prompt(prompt)
    assert [one.text.upper() for one in found] == ["LOSER"]
    assert find_in_prompt(rewrite.rewrite(prompt)) == ()


@pytest.mark.parametrize(
    ("prompt", "word"),
    [
        (f"a neon {plain('FU!G')} sign", plain("fuvg")),
        (f"a neon {plain('SH🔥PX')} sign", plain("shpx")),
        (f"a big {plain('sh🔥px')}, photo", plain("shpx")),
        (f"this {plain('OHYY$UVG')} sign", plain("ohyyfuvg")),
        (f"text: {plain('s, h, p, x')}", plain("shpx")),
        (f"{plain('s, h, p, x')} written on a wall", plain("shpx")),
        ("a neon {} sign".format(plain("'s' 'h' 'p' 'x'")), plain("shpx")),
        ('"L" "O" "S" "E" "R"', "loser"),
        ("a neon LO$ER sign", "loser"),
        ("a neon L O S E R sign", "loser"),
        ("a L|O|S|E|R sign", "loser"),
        ('a sign "L | O | S | E | R"', "loser"),
        ('a sign "L||O||S||E||R"', "loser"),
        ('a sign "{}"'.format(plain("s(h)px")), plain("shpx")),
        ('a sign "lo^ser"', "loser"),
        ('a sign "l🔥🔥er"', "loser"),
        ('a sign "ᴚƎSO⅂"', "loser"),
        ('a sign "ɹ ǝ s o l"', "loser"),
        ('a sign "&#108;&#111;&#115;&#101;&#114;"', "loser"),
        ('a sign "lo&shy;ser"', "loser"),
        ('a sign "LO-SER"', "loser"),
        ('a mug "lo ser"', "loser"),
        ('a sign "{}lT"'.format(plain("FU")), plain("fuvg")),
        ("a photo of {}Ie, neon".format(plain("nffub")), plain("nffubyr")),
        ("{}\N{GREEK SMALL LETTER MU}{} on a wall".format(*map(plain, ("s", "px"))), plain("shpx")),
        (f"number plate {plain('ovgpu').upper()}", plain("ovgpu")),
        (f"{plain('juber').upper()} beside two men, photo", plain("juber")),
        ("ein Schild mit der Aufschrift LOSER", "loser"),
        ("un panneau avec écrit LOSER", "loser"),
        ('a sign "HELLO LOSER"', "loser"),
    ],
)
def test_a_disguise_is_seen_in_any_way_of_asking(prompt: str, word: str) -> None:
    (found,) = find_in_prompt(prompt)
    assert prompt[found.start : found.stop] == found.text
    assert rewrite.toxicity.meant(found.word) == word
    made = rewrite.rewrite(prompt)
    assert find_in_prompt(made) == ()
    assert made.startswith(prompt[: found.start])
    assert made.endswith(prompt[found.stop :])
    assert " " not in made[found.start : len(made) - len(prompt) + found.stop]  # one word


@pytest.mark.parametrize(
    "prompt",
    [
        *("(CREEPY:1.3), horror", "a JUNK food ad", "4K, ULTRA HD, CREEPY atmosphere"),
        *("a GARBAGE truck", "a KILLER whale", "a JERK chicken stand", "a SEXY red sports car"),
        *("an INSANE waterfall", "THE FOOL tarot card", "DICK'S Sporting Goods", "CUM laude"),
        *("HELL'S KITCHEN tv show", "a fantasy THIEF, RPG, D&D", "negative: UGLY, deformed"),
        *("a clown painted on velvet", "the pig painted in oil", "a thug sprayed with water"),
        *("a clown embroidered on a jacket", "name: Gaylord Focker", "the label is ugly"),
        *("a clown » pig", 'a "smart" clown with a 3 " nail and a pig', "CVM LAVDE diploma"),
        *("NASA rocket, USA, HD", "a DJ at a party, text: HELLO", "AC/DC poster", "list a|b|c"),
        *("the loser walks home in the rain", 'a sign that says "STOP" and a bad loser'),
        *("a photo of a clown, 4K, HD", 'a 5" nail beside a clown', "A CLOWN IN THE RAIN"),
        *('"STOP" and "GO", a clown between them', "a sign painted red, a clown, an idiot"),
        *("a HELL of a night", "a DUMB phone", "a shelf of MOBY DICK books", '"re ds", "as we"'),
        *(
            '"class-ic" and "as-sess"',
            "a book on SEX education",
            '"iPhone, WiFi, McIntosh"',
            '"Shi Ting"',
        ),
    ],
)
def test_what_is_shown_is_not_what_is_written(prompt: str) -> None:
    assert find_in_prompt(prompt) == ()


def test_insults_count_in_what_is_written_only() -> None:
    assert is_toxic("clown")
    assert find("clown")[0].score < lexicon.VULGAR
    assert find_in_prompt('a clown holding a sign that says "HELLO"') == ()
    found = find_in_prompt('a man with a sign that says "CLOWN"')
    assert [(one.start, one.text) for one in found] == [(29, "CLOWN")]
    assert find_in_prompt(f"a {TOXIC[0]} sign")
    assert find_in_prompt(f"a {TOXIC[0]} sign", everywhere=False) == ()


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ('a sign that says "GO NOW" on a wall', ["GO NOW"]),
        ("a sign that says “GO”", ["GO"]),
        ("a sign that says 'GO', don't stop", ["GO"]),
        ("the dog's bowl and the cat's bowl", []),
        ("a sign saying GO NOW on a wall", ["GO NOW"]),
        ("a mug that reads: LOVE, on a table", ["LOVE"]),
        ("a poster with the word peace in red", ["peace"]),
        ("a shirt with the text SUMMER", ["SUMMER"]),
        ('a shirt "A" and a mug saying B C', ["A", "B C"]),
        ("a sign 「TEA」", ["TEA"]),
        ("a sign saying SALT and PEPPER on a table", ["SALT and PEPPER"]),
        ("a cat on a mat", []),
        ("", []),
    ],
)
def test_texts_that_a_prompt_asks_for(prompt: str, texts: list[str]) -> None:
    assert [prompt[start:stop] for start, stop in rendered(prompt)] == texts


def test_outside_of_the_text_a_stronger_word_is_needed() -> None:
    assert find_in_prompt("a blue tit on a branch") == ()
    doubtful = plain("qvpx")
    assert find_in_prompt(f"a {doubtful}") == ()
    assert find_in_prompt(f'a sign that says "{doubtful}"')


def test_a_prompt_is_masked_by_what_was_found_in_it() -> None:
    prompt = 'a red sign that says "LOSER" on a street'  # whose other words would excuse it
    assert find(prompt) == ()
    assert toxicity.masked(prompt, find_in_prompt(prompt)) == prompt.replace("LOSER", "L****")


def test_ways_of_asking_by_somebody_else() -> None:
    """A word is found in 101 of 110 frames that name no text in quotation marks, and only it."""
    text = (Path(__file__).parent / "frames.txt").read_text(encoding="utf-8")
    frames = [line for line in text.split("## not found")[0].splitlines() if line[:1] not in "#"]
    assert len(frames) > 100
    word = plain("ovgpu")
    for frame in frames:
        prompt = frame.replace("X", word)
        assert [one.text for one in find_in_prompt(prompt)] == [word], prompt
        assert find_in_prompt(frame.replace("X", "happy candle")) == (), frame


@pytest.mark.parametrize("word", TOXIC)
def test_letters_backwards(word: str) -> None:
    (found,) = find_in_prompt(f'a mirror with "{word[::-1]}" on it')
    assert found.text == word[::-1]
    assert found.word == word
    assert find_in_prompt('"stop" and "spots", "pots", "tunes"', words=("stop", "pots")) != ()
    assert find_in_prompt('"spots", "pots", "drawers"', words=("stop", "stops", "reward")) == ()
