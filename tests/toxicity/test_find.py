"""Toxic words found. They stand here in rot13."""

import subprocess
import sys
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.toxicity.words import DISGUISES, TOXIC, plain
from textloc import toxicity
from textloc.errors import ToxicityError
from textloc.paths import ROOT
from textloc.toxicity import entries, find, find_in_prompt, is_toxic, scripts, wordlists


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


def test_own_words_and_allowed_ones() -> None:
    assert not is_toxic("turnip")
    assert is_toxic("TURNIPS", words=("turnip",))
    assert find("turnip", words=("turnip",))[0].reason == "in your list"
    assert not is_toxic(TOXIC[1], allowed=(TOXIC[1],))


def test_other_languages() -> None:
    word = plain("fpurvffr")
    assert is_toxic(word, languages=("german",))
    assert "german" in entries.languages()
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


def test_read_outs_are_compared_with_care() -> None:
    assert toxicity.same("my LOVE song", "love")
    assert toxicity.same("L O V F", "LOVE")
    assert not toxicity.same("STOP", "LOVE")
    assert not toxicity.same("", "LOVE")
    assert toxicity.same("LOSEB", "LOSER", "LASER")
    assert not toxicity.same("LASER", "LOSER", "LASER")
    assert toxicity.same("LOSER LASER", "LOSER", "LASER")


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


@pytest.mark.parametrize(
    "unit",
    [
        *(
            "x",
            "hello ",
            "a ",
            "1",
            "a1!$ ",
            "f*ck ",
            "f*",
            "'a ",
            "IDIOT'S ",
            "½℃″",
            "a-",
            "saying a ",
        ),
        *("graffiti of ", "is ", "cock-pit ", "a B ", '"ab" x '),
    ],
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
    if entries.entry(word) is None:
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


@pytest.mark.parametrize("language", entries.languages())
def test_every_word_of_every_list_is_found(language: str) -> None:
    listed = entries.entries(language)
    assert len(listed) > 10
    for word in listed:
        for text in (word, f"you {word} there"):
            assert is_toxic(text, languages=(language,), strictness="strict")


def test_the_script_tells_the_language() -> None:
    for language in ("russian", "thai", "chinese", "japanese", "korean", "arabic"):
        listed = entries.entries(language)
        script = [word for word in listed if language in scripts.languages(word)]
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


def test_common_words_of_other_scripts_are_found_without_naming_the_language() -> None:
    missed = []
    for line in sorted(wordlists.read_words("foreign.txt")):
        _language, _, words = line.partition("\t")
        for word in map(str.strip, words.split(",")):
            prompts = f'a sign that says "{word}"', f'a sign that says "{word.upper()}"'
            missed += [prompt for prompt in prompts if not find_in_prompt(prompt)]
    assert missed == []


@pytest.mark.parametrize(
    "text",
    [
        *("сукно", "барсука видно", "команда", "мандарин", "рубля", "хлеб", "требует", "загадка"),
        *("книга", "страховка", "скука", "лохматый", "небо", "дурачок", "помогите"),
        *("そればかりです", "はやくそうじする", "アホウドリ", "バカンス", "ここしばらく"),
        *("ブスッと", "バカロレア", "マヌカハニー", "金玉满堂", "废物回收", "智障人士", "土人"),
        *("가게", "불이 꺼져", "바보상자", "กะเพราควาย", "แกงกะหรี่", "خراسان", "گوهرشاد", "احمقانه"),
    ],
)
def test_words_that_contain_those_of_other_scripts_stay(text: str) -> None:
    assert find_in_prompt(f'a sign that says "{text}"') == ()


def test_swearing_in_latin_letters_is_found_without_naming_the_language() -> None:
    missed = [
        word
        for word in sorted(wordlists.read_words("swearing.txt"))
        for text in (word, word.upper(), word.title())
        if not find_in_prompt(f'a sign that says "{text}"')
    ]
    assert missed == []
    written = ("fpurvß", 'rvar Gnffr zvg qrz Grkg "Fpurvßr"', "wronć", "pnoeóa", "cvčxn")
    assert all(is_toxic(plain(text)) for text in written)
    assert is_toxic(plain("ßvgpu"))  # a ß may be a b


@pytest.mark.parametrize(
    "text",
    [
        *("Straße", "Spaß", "Gruß aus Köln", "Fick hej", "Slutspurt!", "Sista dagen"),
        *("Kanada", "Pula, Croatia", "Kut, Iraq", "Cipolla", "Huy's Café", "Kurt", "Pok Pok"),
        *("Ausfahrt", "Wichita", "Nutella", "Mudarra", "Kokopelli", "Shiba", "Porridge", "Frozen"),
        *("Nā Hui", "Nahui Ollin", "Jalan Hang Jebat", "Porra antequerana", "nebbia fitta"),
        *("SALE CON", "Xiaomi Youpin", "Shaabi", "Farlig kurva", "Kokot Hrvatska"),
        *("PARC", "Puto bumbong"),
    ],
)
def test_words_that_look_like_swearing_elsewhere_stay(text: str) -> None:
    assert find_in_prompt(f'a sign that says "{text}"') == ()


def test_who_is_called_something_is_insulted_whatever_else_is_said() -> None:
    word = plain("onfgneq")
    for text in (f"get well soon, you {word}", f"you {word}!", f"you {word}, come to the garden"):
        (found,) = find(text)
        assert found.word == word
    for text in (f"The Magnificent {word} Garden", "Thank you, Dick Tracy", "see you Dick Tracy"):
        assert find(text) == ()


def test_comparatives_of_listed_words_are_found() -> None:
    assert is_toxic(plain("gur fuvggvrfg one va gbja"))
    assert is_toxic(plain("fuvggvre"))


def test_what_calls_for_harm_to_people_is_found() -> None:
    calls = ("I HATE JEWS", "Death to all Muslims", "WHY WE HATE   WOMEN", "gas the jews")
    for text in (*calls, "women deserve to be beaten", "Immigrants are vermin"):
        (found,) = find(text, strictness="slurs")
        assert found.severity == "slur"
    assert is_toxic("burn the mosque")
    for text in ("WOMEN DESERVE RESPECT", "OUR MOSQUE", "BURN THE CALORIES"):
        assert find(text) == ()
    for text in ("STOP HATE", "JEWS FOR PEACE", "I HATE MONDAYS", "KILL THE LIGHTS", "GIRLS RULE"):
        assert find(text) == ()


@pytest.mark.parametrize("between", [" ", " and ", ", then ", "\n"])
def test_quotations_side_by_side_are_read_as_one_text(between: str) -> None:
    word = plain("shpx")
    prompt = f'a poster with "{word[:2]}"{between}"{word[2:]}" on it'
    (found,) = find_in_prompt(prompt)
    assert found.word == word
    assert prompt[found.start : found.stop] == f'{word[:2]}"{between}"{word[2:]}'
    assert find_in_prompt('"GRAPES" and "HIT"') == ()
    near = f'"{word[:2]}" is on the left and "{word[2:]}" on the right'
    assert len(find_in_prompt(near)) == 1  # pieces of up to three letters
    assert find_in_prompt(f'"{word[:2]}" stands {"very " * 12} far away from "{word[2:]}"') == ()
    assert find_in_prompt(f'"GRA{word[:2]}" is on the left and "{word[2:]}OR" on the right') == ()


def test_a_listed_word_counts_where_words_begin_and_end() -> None:
    assert list(scripts.inside("我爱北京天安门", frozenset({"京天", "北京"}))) == [(2, 4)]


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
