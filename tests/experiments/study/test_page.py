"""The study's page in a real browser, from the first click to the analysis."""

import json
from pathlib import Path

import pytest

from experiments.study.analyse_study import Settings, main
from experiments.study.key import Key, read_answers
from tests.experiments.study.chromium import BROWSER, BROWSERS, Page
from tests.experiments.study.tiny_studies import study_of

pytestmark = pytest.mark.skipif(not BROWSER, reason=f"found none of {BROWSERS}")

SHOWN = "[...document.querySelectorAll('#pair img')].map((x) => x.src.split('/').pop())"
COUNT = "document.getElementById('count').textContent"


@pytest.fixture
def page(tmp_path):
    with Page(tmp_path) as page:
        yield page
        assert not page.errors


def begin(page: Page, out: Path, participant: str) -> None:
    page.visit(out / "index.html", f"#participant={participant}")
    page.click("[name=consent]")
    page.click("#start button")


def shown(page: Page) -> list[str]:
    """Files of the pair that can be answered, left and right."""
    page.until("shownAt !== null")
    return page.value(SHOWN)


def visible(page: Page) -> str:
    return page.value("[...document.querySelectorAll('main')].find((x) => !x.hidden).id")


def choose(page: Page, key: Key, lost: set[str]) -> str:
    """Press the key of the better picture: system a's but in some scenes, and never a bad copy."""
    left, right = (key.pictures[file] for file in shown(page))
    if left.degraded or right.degraded:
        choice = "ArrowRight" if left.degraded else "ArrowLeft"
    else:
        wanted = "b" if left.scene in lost else "a"
        choice = "ArrowLeft" if left.system == wanted else "ArrowRight"
    page.press(choice)
    return choice


def mulberry32(state: int):
    """Numbers in [0, 1), in plain integers."""
    mask = 0xFFFFFFFF
    while True:
        state = (state + 0x6D2B79F5) & mask
        mixed = ((state ^ (state >> 15)) * (state | 1)) & mask
        mixed ^= (mixed + ((mixed ^ (mixed >> 7)) * (mixed | 61))) & mask
        yield ((mixed ^ (mixed >> 14)) & mask) / 2**32


def fnv_1a(text: str) -> int:
    state = 0x811C9DC5
    for byte in text.encode():
        state = ((state ^ byte) * 0x01000193) & 0xFFFFFFFF
    return state


def expected_plan(data: dict, participant: str) -> list[tuple[int, str, str]]:
    """What the docstring of the page promises, written down once more."""
    numbers = mulberry32(fnv_1a(f"{data['seed']}:{participant}"))

    def shuffled(items: list) -> list:
        items = list(items)
        for i in range(len(items) - 1, 0, -1):
            j = int(next(numbers) * (i + 1))
            items[i], items[j] = items[j], items[i]
        return items

    def sided(trial: dict) -> tuple[int, str, str]:
        left, right = trial["pictures"][:: 1 if next(numbers) < 0.5 else -1]
        return trial["trial"], left, right

    pairs, checks, count = data["pairs"], data["checks"], data["perParticipant"]
    first = int(next(numbers) * len(pairs))
    if participant.isdigit():
        first = (int(participant) - 1) * count
    own = shuffled([pairs[(first + i) % len(pairs)] for i in range(count)])
    placed = [(float(i), sided(trial)) for i, trial in enumerate(own)]
    again = shuffled(placed[: count // 3])[: data["repeats"]]
    third = count // 3
    for _, (trial, left, right) in again:
        placed.append((count - third + next(numbers) * third, (trial, right, left)))
    for i, trial in enumerate(shuffled(checks)):
        at = (i + next(numbers)) * count / len(checks)
        placed.append((at, sided(trial)))
    return [trial for _, trial in sorted(placed, key=lambda one: one[0])]


def page_data(out: Path) -> dict:
    text = (out / "index.html").read_text()
    return json.loads(text.split('id="data">')[1].split("</script>")[0])


def test_from_the_first_click_to_the_analysis(page, tmp_path):
    out, key = study_of(tmp_path, scenes=10, repeats=3)
    lost = {"s0", "s1", "s2"}
    page.visit(out / "index.html")
    assert visible(page) == "intro"
    page.click("#start button")  # without consent
    assert visible(page) == "intro"
    page.click("[name=consent]")
    page.click("[name=participant]")
    page.type("7")
    page.click("#start button")

    total = 10 + 3 + 2
    for number in range(6):
        page.until(f"{COUNT} === '{number + 1} of {total}'")
        assert page.value("document.querySelector('progress').value") == pytest.approx(
            number / total
        )
        choose(page, key, lost)
    sixth = shown(page)

    page.press("ArrowDown")  # no preference is not offered here
    assert page.value("getComputedStyle(document.querySelector('.none')).display") == "none"
    assert shown(page) == sixth
    page.press("Backspace")
    page.until(f"{COUNT} === '6 of {total}'")
    choose(page, key, lost)
    page.visit(out / "index.html")  # it goes on where it was
    page.until(f"{COUNT} === '7 of {total}'")
    assert shown(page) == sixth

    page.click("#stop")
    assert visible(page) == "end"
    assert "6 of 15 pairs" in page.value("document.getElementById('summary').textContent")
    page.click("#on")
    for _ in range(6, total):
        choose(page, key, lost)
    page.until("!document.getElementById('end').hidden")
    page.click("#save")
    saved = page.downloaded(f"answers-{key.study}-7.json")
    assert {address.split(":")[0] for address in page.requests} <= {"file", "about", "blob", "data"}

    told = json.loads(saved.read_text())
    assert told["undone"] == 1
    assert told["started"] < told["finished"]
    participant = read_answers(saved, key)
    assert participant.complete
    plan = [(x.trial, x.left, x.right) for x in participant.answers]
    assert plan == expected_plan(page_data(out), "7")
    assert all(0 < x.ms < 60_000 for x in participant.answers)

    report = tmp_path / "report"
    assert main(Settings(out, (saved,), out=report)) == 0
    found = json.loads((report / "report.json").read_text())
    (rate,) = found["win_rates"]
    assert (rate["first"], rate["second"], rate["votes"]) == ("a", "b", 10)
    assert rate["share"] == 0.7
    assert found["consistency"]["share"] == 1
    assert found["participants"]["counted"][0]["passed"] == 2


def test_participants_on_one_machine_share_the_pairs(page, tmp_path):
    """Three participants of three pairs each see all nine; ties, the mouse, and no number."""
    out, key = study_of(tmp_path, per_participant=3, repeats=1, ties=True)
    seen: list[int] = []
    for participant in ("1", "2", "3"):
        begin(page, out, participant)
        for number, selector in enumerate(
            ("#pair .picture:last-child", "footer .none", "footer [data-choice=left]") * 2
        ):
            page.until(f"shownAt !== null && {COUNT} === '{number + 1} of 6'")
            page.click(selector)
        page.until("!document.getElementById('end').hidden")
        page.click("#save")
        saved = page.downloaded(f"answers-{key.study}-{participant}.json")
        answers = read_answers(saved, key).answers
        assert [x.choice for x in answers] == ["right", "none", "left"] * 2
        plan = [(x.trial, x.left, x.right) for x in answers]
        assert plan == expected_plan(page_data(out), participant)
        twice = [x.trial for x in answers if x.trial in key.pairs]
        assert len(twice) == 4
        first, again = (x for x in answers if twice.count(x.trial) == 2)
        assert (first.left, first.right) == (again.right, again.left)
        seen += set(twice)
        page.click("#next")
        assert visible(page) == "intro"
    assert sorted(seen) == sorted(key.pairs)
    page.value("document.querySelector('[name=participant]').value = ''")
    page.click("[name=consent]")
    page.click("#start button")
    drawn = page.value("session.participant")
    assert drawn.startswith("r")
    trials = page.value("trials.map((x) => [x.trial, x.left, x.right])")
    assert [tuple(x) for x in trials] == expected_plan(page_data(out), drawn)


def test_both_pictures_are_shown_at_the_same_size(page, tmp_path):
    out, _ = study_of(tmp_path, scenes=6, repeats=0)
    begin(page, out, "1")
    shown(page)
    boxes = page.value(
        "[...document.querySelectorAll('#pair img')].map((x) => x.getBoundingClientRect().toJSON())"
    )
    assert [(box["width"], box["height"], box["top"]) for box in boxes] == [
        (64, 48, boxes[0]["top"])
    ] * 2
    assert boxes[0]["right"] < boxes[1]["left"]


def test_a_missing_picture_is_said(page, tmp_path):
    out, key = study_of(tmp_path, scenes=6, repeats=0)
    for file in key.pictures:
        (out / "pictures" / file).unlink()
    begin(page, out, "1")
    page.until("!document.getElementById('problem').hidden")
    assert "cannot be shown" in page.value("document.getElementById('problem').textContent")
    page.press("ArrowLeft")
    assert page.value("session.answers.length") == 0


def test_texts_are_text(page, tmp_path):
    end = "</script><script>document.title='broken'</script><b>"
    intro = tmp_path / "intro.txt"
    intro.write_text(f"First\nparagraph {end}\n\nSecond")
    out, _ = study_of(tmp_path, title=end, question=end, consent=end, intro=intro)
    page.visit(out / "index.html")
    assert page.value("document.title") == end
    texts = page.value("[...document.querySelectorAll('#text p')].map((x) => x.textContent)")
    assert texts == [f"First paragraph {end}", "Second"]
    assert page.value("document.querySelector('.consent span').textContent") == end
