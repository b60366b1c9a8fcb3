"""The page that shows photographs before and after: its data, and the page itself in a browser."""

import html
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from PIL import Image

from attiqa.attributes import ATTRIBUTES
from experiments.html_pages import embedded_json
from experiments.review_page import page_data, relative_url, write_review_page
from isp_env.isp.default import DEFAULT_PIPELINE
from isp_env.isp.parameters import to_theta

KNOBS = DEFAULT_PIPELINE.parameters
ODD = [
    "a \"b\" 'c'.dng",
    "<!--<script>&lt;&amp;.dng",
    "50% #1 ?x=1&y=2.dng",
    "café ☕ {{data}}.dng",
    os.fsdecode(b"not utf-8 \xff.dng"),
    "line\nbreak.dng",
]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), "")
in_a_browser = pytest.mark.skipif(not BROWSER, reason=f"found none of {BROWSERS}")


def result(name: str, score: tuple[float, float] | None = (0.5, 0.6), **parameters: float) -> dict:
    """An entry of results.json."""
    values = {knob.name: parameters.get(knob.name, knob.neutral) for knob in KNOBS}
    judged = {"reason": "not scored: too small"}
    if score is not None:
        change = dict(zip(("before", "after"), score, strict=True))
        judged = {"score": change, "attributes": dict.fromkeys(ATTRIBUTES, change)}
    return {
        "source": f"/photos/{name}",
        "photograph": f"{name}.jpg",
        "camera": "Nikon D750",
        "fallbacks": [],
        "output": {"width": 60, "height": 40},
        "parameters": {n: {"value": v, "unit": ""} for n, v in values.items()},
        "strength": 1.0,
        "kept": [],
        **judged,
    }


def previews(results: list[dict]) -> dict[str, tuple[PurePosixPath, PurePosixPath]]:
    return {
        r["photograph"]: (
            PurePosixPath("page", f"{r['photograph']}.neutral.jpg"),
            PurePosixPath("page", f"{r['photograph']}.enhanced.jpg"),
        )
        for r in results
    }


def data_of(results: list[dict], failures=()) -> dict:
    return page_data(results, failures, previews(results), KNOBS)


def written(folder: Path, results: list[dict], failures=()) -> Path:
    """The page with its pictures: a neutral one and an enhanced one, linked many times."""
    (folder / "page").mkdir(parents=True)
    for which, level in (("neutral", 60), ("enhanced", 200)):
        Image.new("RGB", (60, 40), (level,) * 3).save(folder / f"{which}.jpg")
    for pair in previews(results).values():
        for which, path in zip(("neutral", "enhanced"), pair, strict=True):
            os.link(folder / f"{which}.jpg", folder / path)
    write_review_page(data_of(results, failures), folder / "index.html")
    return folder / "index.html"


class Cards(HTMLParser):
    """Photographs of a page in their order, and other elements by their id."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.cards: list[dict[str, str | None]] = []
        self.ids: dict[str, dict[str, str | None]] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "li" and found.get("class") == "card" and "data-name" in found:
            self.cards.append(found)
        if "id" in found:
            self.ids[found["id"] or ""] = found

    def shown(self) -> list[str | None]:
        return [card["data-name"] for card in self.cards if "hidden" not in card]


def browse(page: Path, fragment: str = "", *options: str) -> str:
    """What a browser makes of the page."""
    done = subprocess.run(
        [
            *(
                BROWSER,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
            ),
            *("--hide-scrollbars", f"--user-data-dir={page.parent / 'profile'}"),
            *("--virtual-time-budget=5000", *(options or ("--dump-dom",))),
            page.resolve().as_uri() + fragment,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


def acted(page: Path, script: str) -> dict:
    """What a script reports after it has used the page as a visitor does."""
    steps = f"""<script>
    const set = (selector, value) => {{
      const control = document.querySelector(selector);
      if (control.type === "checkbox") control.checked = value; else control.value = value;
      control.dispatchEvent(new Event("input", {{ bubbles: true }}));
    }};
    const first = (selector) => document.querySelector(`.card:not([hidden]) ${{selector}}`);
    const names = () =>
      [...document.querySelectorAll(".card:not([hidden]) h2")].map((x) => x.textContent);
    const report = (told) => document.body.setAttribute("data-report", JSON.stringify(told));
    {script}
    </script></body>"""
    page.write_text(page.read_text().replace("</body>", steps))
    report = re.search(r'data-report="([^"]*)"', browse(page))
    assert report is not None
    return json.loads(html.unescape(report[1]))


@pytest.fixture
def page(tmp_path) -> Path:
    results = [
        result("IMG_2.dng", (0.50, 0.65), exposure=1.0, sharpen=0.9, gamma=1.2),
        result("IMG_10.dng", (0.60, 0.62), exposure=-0.5),
        result("same.dng", (0.70, 0.70)),
        result("small.dng", None, exposure=0.2),
        result("worse.dng", (0.80, 0.75), exposure=0.3),
    ]
    failures = [{"file": "/photos/broken IMG.nef", "reason": "truncated <b>file</b>"}]
    return written(tmp_path / "out", results, failures)


def test_the_data_block_ends_where_the_page_says():
    block = embedded_json(data_of([result(name) for name in ODD]))
    assert block.isascii()
    assert not set("<&\n") & set(block)
    assert [p["theta"] for p in json.loads(block)["photos"]] == [[0.0] * len(KNOBS)] * len(ODD)


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("a b/c#d?e%f.jpg", "a%20b/c%23d%3Fe%25f.jpg"),
        ("\"<>&'.jpg", "%22%3C%3E%26%27.jpg"),
        ("http:x.jpg", "http%3Ax.jpg"),
        ("é.jpg", "%C3%A9.jpg"),
        (os.fsdecode(b"\xff.jpg"), "%FF.jpg"),
    ],
)
def test_addresses_are_relative_and_quoted(name, url):
    assert relative_url(PurePosixPath(name)) == url


def test_a_page_needs_nothing_else(page):
    text = page.read_text()
    assert not re.findall(r"https?:|//\w+\.|@import|url\(", text)
    assert "{{" not in text
    assert len(text) < 60_000


def test_parameters_are_positions_between_their_bounds():
    values = {"exposure": 1.0, "gamma": 1.2, "sharpen": 0.15}
    (photo,) = data_of([result("a.dng", (0.5, 0.6), **values)])["photos"]
    assert photo["theta"] == pytest.approx(to_theta(KNOBS, values)[0].numpy(), abs=1e-5)


def test_a_score_that_is_no_number_is_left_out():
    (photo,) = data_of([result("a.dng", (0.5, float("nan")))])["photos"]
    assert photo["score"] is None
    assert photo["attributes"] is None


def test_a_page_of_before_stays_where_a_new_one_cannot_be_written(page):
    before = page.read_text()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_review_page({"photos": [float("inf")]}, page)
    assert page.read_text() == before


@in_a_browser
@pytest.mark.parametrize(
    ("fragment", "names"),
    [
        ("", ["IMG_2.dng", "IMG_10.dng", "same.dng", "small.dng", "worse.dng"]),
        ("#order=desc", ["worse.dng", "small.dng", "same.dng", "IMG_10.dng", "IMG_2.dng"]),
        ("#sort=gain", ["IMG_2.dng", "IMG_10.dng", "same.dng", "worse.dng", "small.dng"]),
        ("#sort=gain&order=asc", ["worse.dng", "same.dng", "IMG_10.dng", "IMG_2.dng", "small.dng"]),
        ("#sort=score", ["worse.dng", "same.dng", "IMG_2.dng", "IMG_10.dng", "small.dng"]),
        ("#sort=exposure", ["IMG_2.dng", "worse.dng", "small.dng", "same.dng", "IMG_10.dng"]),
        ("#filter=img%201", ["IMG_10.dng"]),
        ("#hide=unchanged&sort=before", ["worse.dng", "IMG_10.dng", "IMG_2.dng", "small.dng"]),
        (
            "#sort=nonsense&split=900",
            ["IMG_2.dng", "IMG_10.dng", "same.dng", "small.dng", "worse.dng"],
        ),
    ],
)
def test_a_view_can_be_linked(page, fragment, names):
    seen = Cards(browse(page, fragment))
    assert seen.shown() == names
    assert "hidden" not in seen.ids["photos"]


@in_a_browser
def test_failures_alone_can_be_linked_and_are_text(page):
    dom = browse(page, "#only=failures")
    seen = Cards(dom)
    assert seen.shown() == []
    assert "hidden" in seen.ids["photos"]
    assert "hidden" not in seen.ids["failures"]
    assert "Not developed: 1" in dom
    assert "truncated &lt;b&gt;file&lt;/b&gt;" in dom
    assert "hidden" in Cards(browse(page, "#filter=same")).ids["failures"]


@in_a_browser
def test_controls_change_the_view_and_the_address(page):
    told = acted(
        page,
        """
        const told = { names: [names()] };
        set("[name=sort]", "gain");
        told.names.push(names());
        set("[name=filter]", "IMG");
        told.names.push(names());
        set("[name=order]", "asc");
        told.names.push(names());
        told.address = location.hash;
        set("[name=filter]", "");
        set("[name=hide]", true);
        told.names.push(names());
        told.count = document.getElementById("count").textContent;
        report(told);
        """,
    )
    assert told["names"] == [
        ["IMG_2.dng", "IMG_10.dng", "same.dng", "small.dng", "worse.dng"],
        ["IMG_2.dng", "IMG_10.dng", "same.dng", "worse.dng", "small.dng"],
        ["IMG_2.dng", "IMG_10.dng"],
        ["IMG_10.dng", "IMG_2.dng"],
        ["worse.dng", "IMG_10.dng", "IMG_2.dng", "small.dng"],
    ]
    assert told["address"] == "#sort=gain&order=asc&filter=IMG"
    assert told["count"] == "4 of 5 photographs, 1 of 1 failures"


@in_a_browser
def test_the_divider_follows_keys_clicks_and_the_one_for_all(page):
    told = acted(
        page,
        """
        const compare = first(".compare");
        const state = () => [compare.style.getPropertyValue("--split"), first(".split").value];
        const told = { states: [state()] };
        set(".split", 30);
        told.states.push(state());
        const box = compare.getBoundingClientRect();
        const at = { bubbles: true, clientX: box.left + 0.8 * box.width, clientY: box.top + 9 };
        compare.dispatchEvent(new MouseEvent("click", at));
        told.states.push(state());
        told.clip = getComputedStyle(first(".enhanced")).clipPath;
        set("[name=split]", 10);
        told.states.push(state());
        told.label = first(".split").getAttribute("aria-label");
        report(told);
        """,
    )
    assert told["states"] == [["50", "50"], ["30", "30"], ["80", "80"], ["10", "10"]]
    assert told["clip"] == "inset(0px 0px 0px 80%)"
    assert told["label"].startswith("IMG_2.dng: divider")


@in_a_browser
def test_strength_fades_the_picture_and_scales_the_parameters(page):
    told = acted(
        page,
        """
        const rows = () => Object.fromEntries([...first(".parameters").children].map(
          (row) => [row.firstChild.textContent, row.querySelector(".number").firstChild.textContent]
        ));
        const told = { before: first(".parameters").children.length };
        set("[name=open]", true);
        told.whole = rows();
        set(".card .strength input", 50);
        told.half = rows();
        told.opacity = getComputedStyle(first(".enhanced")).opacity;
        told.title = first(".strength").title;
        set("[name=strength]", 0);
        told.none = rows();
        report(told);
        """,
    )

    assert told["before"] == 0
    assert len(told["whole"]) == len(KNOBS)
    by_name = {knob.name: knob for knob in KNOBS}
    for rows, strength in ((told["whole"], 1.0), (told["half"], 0.5), (told["none"], 0.0)):
        for name, chosen in (("exposure", 1.0), ("sharpen", 0.9), ("gamma", 1.2)):
            theta = strength * to_theta([by_name[name]], {name: chosen})[0, 0]
            value = by_name[name].to_value(theta).item()
            assert float(rows[name].strip("+±")) == pytest.approx(value, abs=0.006)
    assert told["opacity"] == "0.5"
    assert "approximation" in told["title"]


@in_a_browser
def test_pictures_with_odd_names_are_found(tmp_path):
    """Names of files and of cameras are text, whatever they look like."""
    end = "</script><script>document.title='broken'</script><!--<script>"
    results = [result(name) | {"camera": end} for name in ODD]
    failures = [{"file": f"/photos/{end}.nef", "reason": end}]
    page = written(tmp_path / 'out "#%?', results, failures)
    told = acted(
        page,
        """
        const pictures = [...document.images];
        for (const picture of pictures) picture.loading = "eager";
        addEventListener("load", () => report({
          title: document.title,
          widths: pictures.map((x) => x.naturalWidth),
          links: [...document.querySelectorAll("h2 a")].map((x) => x.hash + x.search),
          names: names(),
          failure: document.querySelector("#failures li").textContent,
        }));
        """,
    )
    assert told["title"] == "Enhanced photographs"
    assert told["widths"] == [60] * 2 * len(ODD)
    assert told["links"] == [""] * len(ODD)
    assert told["failure"] == f"/photos/{end}.nef{end}"
    assert "not utf-8 \\xff.dng" in told["names"]


@in_a_browser
def test_five_hundred_photographs_load(tmp_path):
    rng = np.random.default_rng(0)
    results = [
        result(f"IMG_{n:04}.dng", tuple(rng.uniform(0, 1, 2)), exposure=rng.uniform(-2, 2))
        for n in range(500)
    ]
    page = written(tmp_path / "out", results)
    assert page.stat().st_size < 400_000
    seen = Cards(browse(page, "#sort=gain&open=parameters"))
    gains = [float(card["data-gain"] or "nan") for card in seen.cards]
    assert len(seen.shown()) == 500
    assert gains == sorted(gains, reverse=True)


@in_a_browser
@pytest.mark.parametrize(("width", "split"), [(1400, 100), (1400, 0), (500, 100)])
def test_the_pictures_are_seen(page, width, split):
    """The neutral picture is a dark grey, the enhanced one a bright one."""
    options = (f"--window-size={width},1200", f"--screenshot={page.parent / 'seen.png'}")
    browse(page, f"#split={split}", *options)
    with Image.open(page.parent / "seen.png") as picture:
        pixels = np.asarray(picture.convert("L"), int)
    assert pixels.shape == (1200, width)
    level = 60 if split == 100 else 200
    assert (np.abs(pixels - level) < 3).mean() > 0.1
