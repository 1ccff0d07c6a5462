import re

from vilbert.report.charts import LEVELS, against_baselines, levels_of


def row(**levels):
    return dict.fromkeys(LEVELS) | {"measure": "accuracy", "value": 0.7, "low": 0.6, "high": 0.8, "scale": 1} | levels


def test_what_stands_at_one_place_is_nested():
    heights = {
        one["against"]: one["height"] for one in levels_of("m", row(chance=0.5, blind=0.504, rule=0.8, ceiling=1))
    }
    assert heights == {"chance": 20, "blind": 16, "rule": 20, "ceiling": 20}
    all_at_one = row(chance=1, blind=1, no_text=1, rule=1, ceiling=1)
    assert [one["height"] for one in levels_of("m", all_at_one)] == [20, 16, 12, 8, 4]


def test_each_stroke_of_a_chart_can_be_seen():
    svg = against_baselines([row(chance=0.5, blind=0.5, rule=0.5)])
    strokes = [
        float(height)
        for colour in (LEVELS["chance"], LEVELS["blind"], LEVELS["rule"])
        for height in re.findall(rf'v([\d.]+)h-2\.5Z" fill="{colour}"', svg)
    ]
    assert strokes == [20, 16, 12]
