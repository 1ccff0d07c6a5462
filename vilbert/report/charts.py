"""The page's charts, as SVG: drawn when the page is made, so that it holds no script.

Each function draws one, narrow enough for a phone; several stand beside each other on a wider screen.
"""

import io
from collections.abc import Sequence
from html import escape
from typing import Any

import altair as alt
import pandas as pd

INK, MODEL, MUTED, PALE = "#1d2430", "#2a6f97", "#8a94a3", "#d8dde5"
SERIES = ["#2a6f97", "#d1495b", "#66a182", "#8d6a9f"]
WIDTH, HEIGHT = 250, 170
MOST_BARS = 40
TOGETHER = 0.01  # the width of a mark, as a share
LEVELS = {  # what a measure is read against: its colour
    "chance": "#8a94a3",
    "blind": "#e0a030",
    "no_text": "#8d6a9f",
    "rule": "#d1495b",
    "ceiling": "#1d2430",
}


def against_baselines(rows: Sequence[dict[str, Any]]) -> str:
    """Bars of shares, each with its interval, and marks where chance, words, image, a rule and the ceiling stand.

    Args:
        rows: of `numbers.json`, of one thing that is measured, all with a scale.
    """
    names = [name_of(row) for row in rows]
    bars = pd.DataFrame(
        {
            "measure": names,
            **{kind: [scaled(row, kind) for row in rows] for kind in ("value", "low", "high")},
        }
    )
    levels = pd.DataFrame(
        [level for name, row in zip(names, rows, strict=True) for level in levels_of(name, row)],
        columns=["measure", "against", "share", "height"],
    )
    measure = alt.Y("measure:N", sort=names, title=None, axis=alt.Axis(labelLimit=170))
    share = alt.X("value:Q", scale=alt.Scale(domain=[0, 1]), title=None, axis=alt.Axis(format="%", tickCount=3))
    model = alt.Chart(bars).mark_bar(color=MODEL, opacity=0.55, height=11).encode(y=measure, x=share)
    spread = alt.Chart(bars).mark_rule(color=INK).encode(y=measure, x=alt.X("low:Q"), x2="high:Q")
    marks = (
        alt.Chart(levels)
        .mark_tick(thickness=2.5)
        .encode(
            y=measure,
            x=alt.X("share:Q"),
            size=alt.Size("height:Q", scale=None, legend=None),
            color=alt.Color(
                "against:N", scale=alt.Scale(domain=list(LEVELS), range=list(LEVELS.values())), legend=None
            ),
        )
    )
    return drawn((model + spread + marks).properties(width=WIDTH, height=alt.Step(24)))


def levels_of(name: str, row: dict[str, Any]) -> list[dict[str, Any]]:
    """Marks of what a measure is read against; one that others lie beneath is shorter than they are, to hide none."""
    levels: list[dict[str, Any]] = []
    for kind in LEVELS:
        if (share := scaled(row, kind)) is not None:
            beneath = sum(abs(share - level["share"]) < TOGETHER for level in levels)
            levels.append({"measure": name, "against": kind, "share": share, "height": 20 - 4 * beneath})
    return levels


def name_of(row: dict[str, Any]) -> str:
    """A measure in words, with its split where tasks have several."""
    words = row["measure"].split("/")[-1].replace("_", " ")
    return f"{row['split']}: {words}" if row.get("split") in ("testA", "testB") else words


def scaled(row: dict[str, Any], kind: str) -> float | None:
    """A number of a measure as a share."""
    return None if row[kind] is None else row[kind] / row["scale"]


def curves(
    points: Sequence[dict[str, Any]], levels: Sequence[dict[str, Any]], *, title: str, is_share: bool = False
) -> str:
    """Lines over the steps of a training, and level lines for what they are read against.

    Args:
        points: `step`, `value`, `line`.
        levels: `value`, `line`, `against`.
    """
    scale = alt.Scale(domain=[0, 1]) if is_share else alt.Scale(zero=False)
    lines = list(dict.fromkeys(point["line"] for point in points))
    colour = alt.Color(
        "line:N",
        scale=alt.Scale(domain=lines, range=SERIES[: len(lines)]),
        legend=alt.Legend(title=None, orient="bottom") if len(lines) > 1 else None,
    )
    value = alt.Y("value:Q", scale=scale, title=None, axis=alt.Axis(format="%" if is_share else "~g"))
    drawing: Any = (
        alt.Chart(pd.DataFrame(points))
        .mark_line(point=alt.OverlayMarkDef(size=14) if len(points) < 60 else False, strokeWidth=1.5)
        .encode(x=alt.X("step:Q", title="step"), y=value, color=colour)
    )
    if levels:
        dash = alt.StrokeDash(
            "against:N",
            scale=alt.Scale(domain=["rule", "chance"], range=[[6, 3], [1, 3]]),
            legend=alt.Legend(title=None, orient="bottom"),
        )
        drawing += alt.Chart(pd.DataFrame(levels)).mark_rule().encode(y=value, color=colour, strokeDash=dash)
    return drawn(drawing.properties(width=WIDTH, height=HEIGHT), title=title)


def by_class(precisions: dict[str, float], *, title: str) -> str:
    """Bars of percent, the lowest first; of many classes the lowest and the highest."""
    ordered = sorted(precisions.items(), key=lambda item: item[1])
    shown = ordered if len(ordered) <= MOST_BARS else ordered[: MOST_BARS // 2] + ordered[-MOST_BARS // 2 :]
    data = pd.DataFrame(shown, columns=["class", "percent"])
    bars = (
        alt.Chart(data)
        .mark_bar(color=MODEL, height=9)
        .encode(
            y=alt.Y("class:N", sort=[name for name, _ in shown], title=None, axis=alt.Axis(labelLimit=170)),
            x=alt.X("percent:Q", scale=alt.Scale(domain=[0, 100]), title="average precision at an overlap of a half"),
        )
    )
    told = (
        title if len(shown) == len(ordered) else f"{title}: the {MOST_BARS // 2} lowest and highest of {len(ordered)}"
    )
    return drawn(bars.properties(width=WIDTH, height=alt.Step(13)), title=told)


def by_cell(cells: Sequence[dict[str, Any]], *, title: str) -> str:
    """What trainings that are compared come to: a dot a seed, a bar at their mean, a broken line at chance.

    Args:
        cells: of one table and measure of the comparisons.
    """
    names = [cell["cell"] for cell in cells]
    means = pd.DataFrame([{name: cell[name] for name in ("cell", "mean", "chance")} for cell in cells])
    by_seed = [(cell["cell"], value) for cell in cells for value in cell["values"].values()]
    seeds = pd.DataFrame(by_seed, columns=["cell", "value"])
    where = alt.Y("cell:N", sort=names, title=None, axis=alt.Axis(labelLimit=170))
    drawing: Any = alt.Chart(means).mark_tick(color=MODEL, thickness=3, height=15).encode(
        y=where, x=alt.X("mean:Q", title=None, scale=alt.Scale(zero=False))
    ) + alt.Chart(seeds).mark_circle(color=INK, size=18, opacity=0.6).encode(y=where, x="value:Q")
    if means["chance"].notna().any():
        drawing += alt.Chart(means).mark_rule(color=MUTED, strokeDash=[1, 3]).encode(x="max(chance):Q")
    return drawn(drawing.properties(width=WIDTH, height=alt.Step(22)), title=title)


def recall_against_pairs(rows: Sequence[dict[str, Any]], *, title: str) -> str:
    """How many captions find their image, against how many pairs the larger model scored for them.

    Args:
        rows: `way`, `pairs`, `recall`.
    """
    data = pd.DataFrame(rows)
    points = alt.Chart(data).encode(
        x=alt.X("pairs:Q", scale=alt.Scale(type="symlog"), title="pairs scored, all captions together"),
        y=alt.Y("recall:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(format="%")),
    )
    named = points.mark_text(dy=-9, fontSize=9).encode(text="way:N")
    drawing = points.mark_line(color=MODEL, point=True) + named
    return drawn(drawing.properties(width=WIDTH, height=HEIGHT), title=title)


def drawn(chart: Any, *, title: str = "") -> str:
    """A chart in the page's style, as SVG that grows no wider than the screen."""
    styled = (
        chart.configure_view(stroke=None)
        .configure_axis(
            labelFontSize=10, titleFontSize=10, titleFontWeight="normal", labelColor=INK, gridColor=PALE, domain=False
        )
        .configure_legend(labelFontSize=10)
        .configure_title(anchor="start", fontSize=12, color=INK)
    )
    if title:
        styled = styled.properties(title=title)
    file = io.StringIO()
    styled.save(file, format="svg")
    return file.getvalue().replace("<svg ", f'<svg role="img" aria-label="{escape(title or "bars")}" ', 1)
