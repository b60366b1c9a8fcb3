"""The report of a study as one file of HTML, pictures included."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from experiments.html_pages import filled, part

PACKAGE = "experiments.study"
SHOWN = 6
"""Pairs with the clearest preference that the report has pictures of."""
THUMBNAIL = 340
"""Pixels of their long side."""


def report_page(results: Mapping[str, Any], preferences: pd.DataFrame, pictures: Path) -> str:
    """Return the page.

    Args:
        results: As report.json has them.
        preferences: From `preferences_of`.
        pictures: Folder of the study's pictures; without it, the report shows none.
    """
    parts = [
        _win_rates(results),
        _strengths(results["bradley_terry"]),
        _models(results),
        _agreement(results),
        _participants(results["participants"]),
        _clearest(preferences, pictures),
    ]
    people = results["participants"]
    counts = " · ".join(
        (
            _number(len(people["counted"]), "participant"),
            f"{_number(results['votes'], 'vote')} on {_number(results['pairs'], 'pair')}",
            f"{len(people['excluded'])} excluded",
            f"{_number(len(people['refused']), 'file')} refused",
            f"median {results['median_seconds']:.1f} s a vote",
        )
    )
    systems = ", ".join(results["systems"])
    return filled(
        part(PACKAGE, "report.html"),
        {
            "style": part(PACKAGE, "report.css"),
            "systems": escape(systems),
            "study": escape(results["study"]),
            "counts": escape(counts),
            "content": "\n".join(filter(None, parts)),
        },
    )


def percent(value: float) -> str:
    """Format a share."""
    return f"{100 * value:.1f} %"


def _win_rates(results: Mapping[str, Any]) -> str:
    rows = []
    for row in results["win_rates"]:
        name = f"<b>{escape(row['first'])}</b> over <b>{escape(row['second'])}</b>"
        told = f"{percent(row['share'])}; {_range(row['clustered'])}"
        rows.append(
            (
                name,
                _interval_bar(row["share"], row["clustered"], row["wilson"], told, middle=0.5),
                f"<b>{percent(row['share'])}</b>",
                _range(row["clustered"]),
                _range(row["wilson"]),
                row["votes"],
                row["ties"],
                row["pairs"],
            )
        )
    names = (
        "",
        "0 to 100 %",
        "win rate",
        "95 %, clustered",
        "95 %, Wilson",
        "votes",
        "ties",
        "pairs",
    )
    return _section(
        "Win rates",
        _table(names, rows),
        "A tie counts one half. The clustered interval (thick bar) draws participants and scenes "
        "anew; Wilson's (thin) takes every vote for independent, and is too narrow where "
        "participants differ in taste or scenes in difficulty. The line is at 50 %.",
    )


def _strengths(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    if "groups" in found:
        groups = "; ".join(", ".join(map(escape, group)) for group in found["groups"])
        return _section(
            "Bradley-Terry strengths",
            "<p>There are none: systems must have won and lost against each other, if only by way "
            f"of others. Groups without such a connection: {groups}.</p>",
            "",
        )
    ends = [end for row in found["systems"] for end in (row["interval"] or [row["strength"]])]
    low, high = min(ends), max(ends)
    span = max(high - low, 1e-9)
    rows = []
    for row in found["systems"]:
        interval = row["interval"] or [row["strength"]] * 2
        told = f"{row['strength']:+.2f}"
        at = [(value - low) / span for value in (row["strength"], *interval)]
        rows.append(
            (
                f"<b>{escape(row['system'])}</b>",
                _interval_bar(at[0], at[1:], None, told, middle=-low / span),
                f"<b>{row['strength']:+.2f}</b>",
                f"{interval[0]:+.2f} to {interval[1]:+.2f}" if row["interval"] else "not known",
                percent(row["mean_win_probability"]),
            )
        )
    names = ("", f"{low:+.2f} to {high:+.2f}", "strength", "95 %, clustered", "expected win rate")
    return _section(
        "Bradley-Terry strengths",
        _table(names, rows),
        "Logarithmic; their mean is 0, which the line marks. A system is preferred to another with "
        "the odds of e to the difference of their strengths. The expected win rate is against the "
        "other systems, each as often.",
    )


def _models(results: Mapping[str, Any]) -> str:
    if not results["models"]:
        return ""
    rows = [
        (
            f"<b>{escape(row['model'])}</b>",
            _interval_bar(row["accuracy"], row["interval"], None, percent(row["accuracy"]), 0.5),
            f"<b>{percent(row['accuracy'])}</b>",
            _range(row["interval"]),
            row["pairs"],
        )
        for row in results["models"]
        if row["accuracy"] is not None
    ]
    found = results["agreement"]
    if found["participant_accuracy"] is not None:
        accuracy = found["participant_accuracy"]
        bar = _interval_bar(accuracy, [accuracy] * 2, None, percent(accuracy), 0.5)
        rows.append(("one participant", bar, percent(accuracy), "", ""))
    return _section(
        "Accuracy of quality models",
        _table(("", "0 to 100 %", "accuracy", "95 %, scenes", "pairs"), rows),
        "Share of the pairs in which the model's score is higher for what most participants "
        "prefer; pairs without a majority are not counted. One participant against the majority of "
        "the others is what a person achieves.",
    )


def _agreement(results: Mapping[str, Any]) -> str:
    found, repeated, left = results["agreement"], results["consistency"], results["left"]
    alpha, accuracy = found["krippendorff_alpha"], found["participant_accuracy"]

    def ratio(told: Mapping[str, Any]) -> str:
        if told["share"] is None:
            return "none"
        return f"{percent(told['share'])} ({_range(told['wilson'])}) of {told['count']}"

    rows = [
        ("Krippendorff's alpha (nominal)", "not known" if alpha is None else f"{alpha:.3f}"),
        (
            "A vote agrees with the majority of the others",
            "not known" if accuracy is None else f"{percent(accuracy)} of {found['votes']}",
        ),
        ("A repeated pair is answered alike", ratio(repeated)),
        ("The left picture is chosen", ratio(left)),
    ]
    return _section(
        "Agreement",
        _table(("", ""), rows),
        "Alpha is 1 where all agree about a pair and 0 where they agree as coins would; pairs are "
        "counted in both directions. Repeated pairs have their sides swapped; each counts one "
        "vote, the first.",
    )


def _participants(people: Mapping[str, Any]) -> str:
    rows = [
        (
            escape(row["participant"]),
            f"{row['answers']}{'' if row['complete'] else ' (stopped)'}",
            f"{row['passed']} of {row['checks']}",
            f"{row['repeated_alike']} of {row['repeats']}",
            f"{row['median_seconds']:.1f} s",
        )
        for row in people["counted"]
    ]
    table = _table(
        ("participant", "answers", "checks passed", "repeats alike", "median time"), rows
    )
    left_out = [f"participant {row['participant']}: {row['reason']}" for row in people["excluded"]]
    left_out += [row["reason"] for row in people["refused"]]
    lines = "".join(f"<li>{escape(line)}</li>" for line in left_out)
    text = f"<h3>Not counted</h3><ul>{lines}</ul>" if left_out else ""
    return _section("Participants", f"<div class='people'>{table}</div>{text}", "")


def _clearest(preferences: pd.DataFrame, pictures: Path) -> str:
    """Show the pairs on which most participants agree."""
    lead = np.abs(preferences["share"].to_numpy() - 0.5) * preferences["votes"].to_numpy()
    chosen = preferences.iloc[np.argsort(-lead, kind="stable")[:SHOWN]]
    cards = []
    for row in chosen.to_dict("records"):
        files = [pictures / row[name] for name in ("first_file", "second_file")]
        if not all(file.is_file() for file in files):
            return ""
        halves = zip(
            files, (row["first"], row["second"]), (row["share"], 1 - row["share"]), strict=True
        )
        shown = "".join(
            f"<div><img src='{_thumbnail(file)}' alt='{escape(name, quote=True)}'>"
            f"<p class='{'won' if value > 0.5 else ''}'>{escape(name)} <b>{value:.0%}</b></p></div>"
            for file, name, value in halves
        )
        title = f"{escape(row['scene'])} · {_number(row['votes'], 'vote')}"
        cards.append(
            f"<figure><div class='pair'>{shown}</div><figcaption>{title}</figcaption></figure>"
        )
    return _section("Clearest preferences", f"<div class='cards'>{''.join(cards)}</div>", "")


def _section(title: str, content: str, note: str) -> str:
    told = f"<p class='note'>{escape(note)}</p>" if note else ""
    return f"<section><h2>{escape(title)}</h2>{content}{told}</section>"


def _table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table; cells are HTML."""
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    header = f"<thead><tr>{head}</tr></thead>" if any(names) else ""
    return f"<table>{header}<tbody>{body}</tbody></table>"


def _interval_bar(
    at: float,
    interval: Sequence[float],
    thin: Sequence[float] | None,
    label: str,
    middle: float,
) -> str:
    """Draw a point, its interval and another, all in [0, 1]."""

    def span(name: str, ends: Sequence[float]) -> str:
        return f"<i class='{name}' style='left:{ends[0]:.2%};width:{ends[1] - ends[0]:.2%}'></i>"

    marks = [span("middle", (middle, middle)), span("thick", interval)]
    marks += [span("thin", thin)] if thin else []
    marks.append(span("point", (at, at)))
    label = escape(label, quote=True)
    return f"<div class='bar' role='img' aria-label='{label}'>{''.join(marks)}</div>"


def _range(interval: Sequence[float]) -> str:
    return f"{100 * interval[0]:.1f} to {percent(interval[1])}"


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _thumbnail(path: Path) -> str:
    with Image.open(path) as picture:
        small = picture.convert("RGB")
        small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
