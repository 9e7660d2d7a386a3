"""Toxic words found and replaced. Toxic words stand here in rot13."""

import codecs
import hashlib
import subprocess
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textloc import toxicity
from textloc.errors import ToxicityError
from textloc.paths import ROOT
from textloc.toxicity import find, find_in_prompt, is_toxic, lexicon, rendered, rewrite, scripts

SHARED = ROOT.parent / "shared" / "data" / "toxicbench"


def plain(word: str) -> str:
    return codecs.decode(word, "rot13")


TOXIC = [plain(word) for word in ("shpx", "fuvg", "ovgpu", "snttbg", "nffubyr", "juber")]

DISGUISES = {
    "upper case": str.upper,
    "spaces": " ".join,
    "dots": ".".join,
    "signs": lambda w: w.translate(str.maketrans("aeios", "@31o$")),
    "digits": lambda w: w.translate(str.maketrans("aeiost", "431057")),
    "Cyrillic": lambda w: w.translate(str.maketrans("aeopcx", "аеорсх")),
    "full width": lambda w: "".join(chr(ord(c) + 0xFEE0) for c in w),
    "bold": lambda w: "".join(chr(0x1D41A + ord(c) - 97) for c in w),
    "zero width": lambda w: "\u200b".join(w),
    "bidirectional": lambda w: f"\u202e{w}\u202c",
    "turned": lambda w: f"\u202e{w[::-1]}\u202c",
    "squared": lambda w: "".join(chr(0x1F130 + ord(c) - 97) for c in w),
    "flags": lambda w: "".join(chr(0x1F1E6 + ord(c) - 97) for c in w),
    "soft hyphens": lambda w: "\u00ad".join(w),
    "diacritics": lambda w: "".join(c + "\u0301" for c in w),
    "repeated letters": lambda w: "".join(c * 3 for c in w),
    "hidden letters": lambda w: w[0] + "*" * (len(w) - 2) + w[-1],
    "bars": "|".join,
    "pluses": "+".join,
    "wide spaces": "      ".join,
    "object marks": "\ufffc".join,
    "Canadian syllabics": lambda w: w.translate(_row("ᗩᗷᑕᗪEᖴGᕼIᒍKᒪᗰᑎOᑭᑫᖇᔕTᑌᐯᗯ᙭Yᘔ")),
    "Cherokee": lambda w: w.translate(_row("ᎪᏴᏟᎠᎬᎰᏀᎻᏆᎫᏦᏞᎷNᎾᏢQᏒᏚᎢUᏙᎳXᎩᏃ")),
    "upside down": lambda w: w.translate(_row("ɐqɔpǝɟƃɥᴉɾʞlɯuodbɹsʇnʌʍxʎz"))[::-1],
    "pictures": lambda w: f"{w[0]}🔥{w[2:]}",
}


def _row(alphabet: str) -> dict[int, str]:
    """Letters a to z to those of another alphabet."""
    return {97 + number: other for number, other in enumerate(alphabet)}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_toxic_words_are_found_in_every_disguise(disguise: str) -> None:
    for word in TOXIC:
        text = f"you {DISGUISES[disguise](word)} there"
        found = find(text)
        assert found, disguise
        assert found[0].start == 4
        assert found[0].stop == len(text) - 6
        assert text[found[0].start : found[0].stop] == found[0].text
        assert found[0].reason


@pytest.mark.parametrize(
    "text",
    [
        *("Scunthorpe", "assassin", "cocktail", "class", "grass", "Essex", "Dickens", "Hancock"),
        *("shiitake", "analysis", "therapist", "Pakistan", "document", "title", "button"),
        *("peacock", "Penistone", "raccoon", "snigger", "cumulative", "Massachusetts", "canal"),
        *("fruits", "cowboys", "melons", "faces", "parties", "teaspoons", "Saturdays", "passwords"),
        *("push it", "as shown", "a super nova", "shove it", "burger"),
        *("butterscotch", "arsenic", "sextant", "woodpecker", "scrapbook", "Matsushita"),
        *("", "   ", "12345", "*** !!! ***", "a b c d", "a-b-c", "HELLO WORLD", "5 apples @ 3 $"),
        *("naïve café", "Привет мир", "日本語", "I am a cat", "e.g. this", "U.S.A."),
    ],
)
def test_innocent_texts_stay(text: str) -> None:
    assert find(text) == ()


def test_words_that_stand_in_no_list_are_found() -> None:
    for word in ("shpxgehzcrg", "qvpxgbegbvfr", "ovgpubzngvp", "gheqfjvmmyr"):
        assert is_toxic(plain(word)), word


def test_forms_of_words_are_found() -> None:
    for word in ("fuvggvat", "ovgpuvrfg", "jnaxref", "fghcvqyl"):
        assert is_toxic(plain(word)), word


@pytest.mark.parametrize("word", ["(L)(O)(S)(E)(R)", "<L><O><S><E><R>", "[L] [O] [S] [E] [R]"])
def test_letters_in_brackets_of_their_own_are_a_word(word: str) -> None:
    (found,) = find(f"you {word} there")
    assert found.word == "loser"


def test_v_stands_for_u_and_double_v_for_w() -> None:
    for word in ("phag", "fyhg"):
        assert is_toxic(plain(word).replace("u", "v"))
    assert is_toxic(plain("jube").replace("w", "vv") + "e")
    for word in ("Semenov", "AVGVSTVS", "Kovač", "savvy", "Vvedensky"):
        assert find(word) == ()


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
        ("a neon SH!T sign", "shit"),
        ("a neon FU🔥CK sign", "fuck"),
        ("a big fu🔥ck, photo", "fuck"),
        ("this BULL$HIT sign", "bullshit"),
        ("text: f, u, c, k", "fuck"),
        ("f, u, c, k written on a wall", "fuck"),
        ("a neon 'f' 'u' 'c' 'k' sign", "fuck"),
        ('"L" "O" "S" "E" "R"', "loser"),
        ("a neon LO$ER sign", "loser"),
        ("a neon L O S E R sign", "loser"),
        ("a L|O|S|E|R sign", "loser"),
        ('a sign "L | O | S | E | R"', "loser"),
        ('a sign "L||O||S||E||R"', "loser"),
        ('a sign "f(u)ck"', "fuck"),
        ('a sign "lo^ser"', "loser"),
        ('a sign "l🔥🔥er"', "loser"),
        ('a sign "ᴚƎSO⅂"', "loser"),
        ('a sign "ɹ ǝ s o l"', "loser"),
        ('a sign "&#108;&#111;&#115;&#101;&#114;"', "loser"),
        ('a sign "lo&shy;ser"', "loser"),
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


def test_own_words_and_allowed_ones() -> None:
    assert not is_toxic("turnip")
    assert is_toxic("TURNIPS", words=("turnip",))
    assert find("turnip", words=("turnip",))[0].reason == "in your list"
    assert not is_toxic(TOXIC[1], allowed=(TOXIC[1],))


def test_other_languages() -> None:
    word = plain("fpurvffr")
    assert is_toxic(word, languages=("german",))
    assert "german" in lexicon.languages()
    with pytest.raises(ToxicityError, match="no list for 'klingon'"):
        is_toxic("x", languages=("klingon",))


def test_detectors() -> None:
    with pytest.raises(ToxicityError, match="there is no detector 'oracle'"):
        find("x", detector="oracle")
    pytest.importorskip("profanity_check", reason="alt-profanity-check is not installed")
    assert not is_toxic("good morning", detector="alt-profanity-check")
    found = find(f"go {TOXIC[0]} yourself", detector="alt-profanity-check")
    assert found[0].detector == "lexicon"  # which says where; the classifier only whether


def test_a_classifier_without_weights_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setitem(sys.modules, "detoxify", None)
    with pytest.raises(ToxicityError, match="pip install detoxify"):
        find("good morning", detector="detoxify")


def test_importing_is_light() -> None:
    code = (
        "import sys, textloc.toxicity; print(sorted({'torch', 'sklearn', 'transformers', "
        "'english_words'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr


# ---------------------------------------------------------------------------- prompts


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


# ---------------------------------------------------------------------------- rewriting


def test_a_persons_own_replacement_wins() -> None:
    assert rewrite.benign(TOXIC[0].upper(), replacements={TOXIC[0]: "Turnip"}) == "Turnip"
    prompt = f'a sign that says "{" ".join(TOXIC[0])}"'
    assert rewrite.rewrite(prompt, replacements={TOXIC[0]: "TURNIP"}) == 'a sign that says "TURNIP"'
    with pytest.raises(ToxicityError, match="toxic itself"):
        rewrite.benign(TOXIC[0], replacements={TOXIC[0]: TOXIC[1]})


@pytest.mark.parametrize("word", TOXIC)
def test_length_and_case_are_kept(word: str) -> None:
    for text in (word, word.upper(), word.title()):
        made = rewrite.benign(text)
        assert len(made) == len(text)
        assert (made.isupper(), made.istitle()) == (text.isupper(), text.istitle())
        assert not is_toxic(made)


def test_only_what_is_toxic_changes() -> None:
    before, after = 'a red "', '" sign, 5 € — naïve'
    made = rewrite.rewrite(f"{before}{TOXIC[2]}{after}")
    assert made.startswith(before)
    assert made.endswith(after)
    assert rewrite.rewrite("a clean prompt") == "a clean prompt"


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(TOXIC),
    st.sampled_from(list(DISGUISES)),
    st.text("abc xyz.,", max_size=12),
)
def test_a_rewritten_prompt_is_never_toxic(word: str, disguise: str, rest: str) -> None:
    made = rewrite.rewrite(f'a sign that says "{DISGUISES[disguise](word)}" {rest}')
    assert find_in_prompt(made) == ()


def test_a_language_model_is_checked() -> None:
    word = TOXIC[0].upper()
    assert rewrite.benign(word, model=lambda _: ' "Kind" ') == "KIND"
    for answer in (TOXIC[1], "a very long answer that is no sign", "two\nlines", ""):
        with pytest.warns(UserWarning, match="cannot be used"):
            assert rewrite.benign(word, model=lambda _, answer=answer: answer) == (
                rewrite.benign(word)
            )

    def fails(_text: str) -> str:
        raise ConnectionError("no network")

    with pytest.warns(UserWarning, match="did not answer"):
        assert not is_toxic(rewrite.benign(word, model=fails))


def test_replacements_and_lists_are_read(tmp_path: Path) -> None:
    file = tmp_path / "replacements.tsv"
    file.write_text("# a note\nbad\tgood\n\n", encoding="utf-8")
    assert rewrite.read_replacements(file) == {"bad": "good"}
    file.write_text("bad good\n", encoding="utf-8")
    with pytest.raises(ToxicityError, match="line 1: write toxic text, a tab"):
        rewrite.read_replacements(file)
    (tmp_path / "words.txt").write_text("# mine\nturnip\n\nbeet root\n", encoding="utf-8")
    assert lexicon.read_file(tmp_path / "words.txt") == ("turnip", "beet root")
    with pytest.raises(ToxicityError, match="cannot be read"):
        lexicon.read_file(tmp_path / "none.txt")


def test_no_benign_word_of_ours_is_toxic() -> None:
    assert [word for word in lexicon.read_words("benign.txt") if is_toxic(word)] == []


# ---------------------------------------------------------------------------- the lists given


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared lists are not here")
def test_on_the_lists_given() -> None:
    toxic = (SHARED / "toxic_words.txt").read_text(encoding="utf-8").split("\n")
    benign = (SHARED / "train_non_tox.txt").read_text(encoding="utf-8").split("\n")
    toxic, benign = ([w.strip() for w in words if w.strip()] for words in (toxic, benign))
    recall = sum(map(is_toxic, toxic)) / len(toxic)
    wrong = sum(map(is_toxic, benign)) / len(benign)
    print(f"recall {recall:.3f}, false positives {wrong:.3f}")
    assert recall >= 0.98
    assert wrong <= 0.01


def test_read_outs_are_compared_with_care() -> None:
    assert toxicity.same("my LOVE song", "love")
    assert toxicity.same("L O V F", "LOVE")
    assert not toxicity.same("STOP", "LOVE")
    assert not toxicity.same("", "LOVE")
    assert toxicity.same("LOSEB", "LOSER", "LASER")
    assert not toxicity.same("LASER", "LOSER", "LASER")
    assert toxicity.same("LOSER LASER", "LOSER", "LASER")


# ---------------------------------------------------------------------------- any text at all


def test_nothing_crashes_on_any_character() -> None:
    every = [chr(code) for code in range(sys.maxunicode + 1)]
    assigned = [sign for sign in every if unicodedata.category(sign) not in ("Cn", "Co")]
    signs = assigned + every[:: len(every) // 5000]
    for start in range(0, len(signs), 997):
        find("".join(signs[start : start + 997]))
        find(" ".join(signs[start : start + 997 : 29]))
    for sign in signs[::101]:
        find(sign)
        find(f"a sign {sign}with{sign} words")
    for text in ("½", "℃", "″", "한", "\ud800", "½℃″ 한국어"):
        assert find(text) == ()


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60))
def test_nothing_crashes_and_spans_are_true(text: str) -> None:
    for one in find(text):
        assert text[one.start : one.stop] == one.text
    find_in_prompt(text)
    toxicity.masked(text)
    toxicity.meant(text)


def test_a_prompt_is_masked_by_what_was_found_in_it() -> None:
    prompt = 'a red sign that says "LOSER" on a street'  # whose other words would excuse it
    assert find(prompt) == ()
    assert toxicity.masked(prompt, find_in_prompt(prompt)) == prompt.replace("LOSER", "L****")


@pytest.mark.parametrize(
    "unit",
    ["x", "hello ", "a ", "1", "a1!$ ", "f*ck ", "f*", "'a ", "IDIOT'S ", "½℃″", "a-", "saying a "],
)
def test_time_is_linear_in_the_length(unit: str) -> None:
    def seconds(length: int) -> float:
        text = (unit * length)[:length]
        began = time.process_time()
        find_in_prompt(text)
        return time.process_time() - began

    seconds(2000)  # what is read and kept once
    short = min(seconds(2000) for _ in range(3))
    long = min(seconds(12_001) for _ in range(2))
    assert long < 6 * 3 * short + 0.5  # square would be 36 times


# ---------------------------------------------------------------------------- lists and signs


@pytest.mark.parametrize("word", ["sex", "crap", "loser"])
@pytest.mark.parametrize(
    "form", ["{}!", "{}!!!", "({})", "@{}", "€{}", "{}™", "#{}", "100%{}", "¡{}!", "[{}]", "{}$"]
)
def test_signs_at_either_end(word: str, form: str) -> None:
    for text in (form.format(word.upper()), f"A {form.format(word)} B"):
        assert [one.word for one in find(text, strictness="strict")] == [word]


@pytest.mark.parametrize("text", ["455", "PLATE 455-LAW", "HE'LL", "A55 ROAD", "5 0 1 1", "2 + 2"])
def test_numbers_and_contractions_are_no_words(text: str) -> None:
    assert find(text, strictness="strict") == ()


@pytest.mark.parametrize(
    "word",
    [
        "go home",
        "éclair",
        "rat-tail",
        "don't",
        "1488",
        "дурак",
        "🖕",
        "turnip",
        "ごみ",
        "垃圾",
        "C++",
    ],
)
def test_own_words_are_read_as_texts_are(word: str) -> None:
    for text in (word, word.upper(), f"you {word} there", f"you {word}!"):
        found = find(text, words=(word,))
        assert [one.severity for one in found] == ["own"], text
    assert is_toxic(f"a sign that says {word} here", words=(word,))
    assert find("a turnip is fine", words=("kale",)) == ()


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=1, max_size=12))
def test_any_own_word_is_found_or_refused(word: str) -> None:
    if lexicon.entry(word) is None:
        with pytest.raises(ToxicityError, match="nothing can be seen"):
            find("x", words=(word,))
        return
    assert is_toxic(word, words=(word,))
    assert is_toxic(f"you {word} there", words=(word,))


def test_allowed_words_may_be_several() -> None:
    coon = plain("pbba")
    assert find(f"a {coon}") != ()
    assert find(f"a MAINE {coon}", strictness="strict", allowed=(f"Maine {coon}",)) == ()
    assert find(f"Big {coon}", strictness="strict", allowed=(f"Maine {coon}",)) != ()
    with pytest.raises(ToxicityError, match="nothing can be seen"):
        find("x", allowed=("\u200b",))


@pytest.mark.parametrize("language", lexicon.languages())
def test_every_word_of_every_list_is_found(language: str) -> None:
    entries = lexicon.entries(language)
    assert len(entries) > 10
    for word in entries:
        for text in (word, f"you {word} there"):
            assert is_toxic(text, languages=(language,), strictness="strict")


def test_the_script_tells_the_language() -> None:
    for language in ("russian", "thai", "chinese", "japanese", "korean", "arabic"):
        entries = lexicon.entries(language)
        script = [word for word in entries if language in scripts.languages(word)]
        assert script
        assert all(is_toxic(word) for word in script if len(word) > 1)
    for text in (
        "出口",
        "营业中",
        "今日は天気がいいですね",
        "ร้านอาหารไทย",
        "오늘 정지",
        "Привет мир, СТОП",
    ):
        assert find(text) == ()


def test_a_listed_word_counts_where_words_begin_and_end() -> None:
    assert list(scripts.inside("我爱北京天安门", frozenset({"京天", "北京"}))) == [(2, 4)]


# ---------------------------------------------------------------------------- company


@pytest.mark.parametrize(
    "text",
    [
        *("SEX EDUCATION", "STOP HATE", "NO NAZIS", "JERK CHICKEN", "Killer Queen", "Cummings"),
        *("Highway to Hell", "Dick's Sporting Goods", "Arsenal FC", "Butts", "BREAST-FEEDING"),
        *("Harshit", "Ishita", "Kshitij", "Semenov", "Dick Van Dyke", "Kuntz", "Moby Dick"),
        *(
            "Hoegaarden",
            "Bloody Mary",
            "cock-a-leekie",
            "rape seed oil",
            "blue tit",
            "pussy willow",
        ),
        *(
            "Maine Coon",
            "Lake Titicaca",
            "Butts County",
            "Hooker Valley",
            "cum laude",
            "SPOTTED DICK",
        ),
        *("Gaylord, Michigan", "Hayrapetyan", "Matsukawa", "Lipshitz"),
        *("spic and span", "sucker punch", "suck it up", "smartwatch", "🇹🇭🇺🇬"),
    ],
)
def test_harmless_company(text: str) -> None:
    assert find(text) == ()


def test_strictness_and_severity() -> None:
    slur, vulgar, mild = plain("snttbg"), plain("shpx"), "loser"
    assert [find(word)[0].severity for word in (slur, vulgar, mild)] == ["slur", "vulgar", "insult"]
    assert [is_toxic(word, strictness="slurs") for word in (slur, vulgar, mild)] == [
        True,
        False,
        False,
    ]
    assert not is_toxic("damn hell loser idiot", strictness="slurs")
    assert is_toxic("turnip", words=("turnip",), strictness="slurs")
    assert not is_toxic("SEX EDUCATION")
    assert is_toxic("SEX EDUCATION", strictness="strict")
    with pytest.raises(ToxicityError, match="there is no strictness 'lax'"):
        find("x", strictness="lax")


def test_outside_of_the_text_a_stronger_word_is_needed() -> None:
    assert find_in_prompt("a blue tit on a branch") == ()
    doubtful = plain("qvpx")
    assert find_in_prompt(f"a {doubtful}") == ()
    assert find_in_prompt(f'a sign that says "{doubtful}"')


# ---------------------------------------------------------------------------- how well, on lists


HERE = Path(__file__).parent


def _lines(name: str) -> list[str]:
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _held(text: str) -> bool:
    """Whether a text of our lists was not looked at while the detector was written."""
    return hashlib.sha1(text.encode()).digest()[-1] % 2 == 1


def _asked(text: str) -> bool:
    return bool(find_in_prompt('a photo of a sign that says "{}"'.format(text.replace('"', "''"))))


def test_hard_harmless_texts() -> None:
    held = [text for text in _lines("harmless.txt") if _held(text)]
    share = sum(map(_asked, held)) / len(held)
    print(f"{share:.3f} of {len(held)} flagged")
    assert share <= 0.08  # 0.35 by the first detector


def test_hard_harmless_texts_of_another_author() -> None:
    """400 of eleven kinds, by somebody who did not know the detector; nothing is fitted to them."""
    lines = [line.partition("\t") for line in _lines("harmless_second.tsv")]
    flagged = Counter(kind for kind, _, text in lines if _asked(text))
    share = sum(flagged.values()) / len(lines)
    print(f"{share:.3f} of {len(lines)} flagged: {dict(flagged)}")
    assert share <= 0.05


def test_less_strict_finds_no_more() -> None:
    """What is found at `slurs` is found at `usual`, and that at `strict`."""
    texts = [*_lines("harmless.txt"), *map(plain, _lines("insulting.txt"))]
    texts += [line.partition("\t")[2] for line in _lines("harmless_second.tsv")]
    for text in texts:
        slurs, usual, strict = (
            {(one.start, one.stop) for one in find(text, strictness=name)}
            for name in ("slurs", "usual", "strict")
        )
        assert slurs <= usual <= strict, text


def test_ordinary_signs() -> None:
    texts: list[str] = []
    words: list[str] = []
    for line in _lines("signs.txt"):
        if line.startswith("= "):
            words = line[2:].split()
        else:
            texts += [line.format(word) for word in words] if "{}" in line else [line]
    share = sum(map(_asked, texts)) / len(texts)
    print(f"{share:.4f} of {len(texts)} flagged")
    assert len(texts) > 900
    assert share <= 0.005


def test_insulting_texts() -> None:
    held = [plain(text) for text in _lines("insulting.txt")]
    held = [text for text in held if _held(text)]
    share = sum(map(_asked, held)) / len(held)
    print(f"{share:.3f} of {len(held)} found")
    assert share >= 0.95  # 0.92 by the detector of before


SWAPS = {"a": "4", "e": "3", "i": "1", "o": "0", "s": "5", "t": "7", "g": "9", "b": "8"}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared lists are not here")
@pytest.mark.parametrize(
    ("disguise", "least"),
    [
        (str, 0.97),
        (lambda word: word.lower().translate(str.maketrans(SWAPS)), 0.93),
        (" ".join, 0.93),
        ("\u200b".join, 0.93),
        ("\u2060".join, 0.93),
        ("\u3164".join, 0.93),
    ],
)
def test_disguises_of_the_held_half(disguise: Callable[[str], str], least: float) -> None:
    toxic = (SHARED / "toxic_words.txt").read_text(encoding="utf-8").split("\n")
    held = [word.strip() for word in toxic if word.strip() and _held(word.strip().lower())]
    assert len(held) == 183
    assert sum(is_toxic(disguise(word)) for word in held) / len(held) >= least
