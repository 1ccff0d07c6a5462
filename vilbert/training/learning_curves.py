"""Learning curves of a pretraining, also one that still runs.

vilbert learning-curves METRICS OUTPUT
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import ColorType

from extract.command import run
from vilbert.baselines.rows import Row
from vilbert.training.metrics_file import read_metrics

TRAINING, HELD_OUT = "#9aa5b1", "#2a6f97"
OBJECTIVES = {"masked_token": "masked tokens", "masked_region": "masked regions", "alignment": "alignment"}
LIMITS = (1, 5, 10)
LEVELS = {"rule": "--", "chance": ":"}


def main(
    metrics: Annotated[Path, typer.Argument(help="metrics.jsonl of a training, in its checkpoints while it runs")],
    output: Annotated[Path, typer.Argument(help="picture to write, .svg, .png or .pdf")],
) -> None:
    """Draw what a metrics.jsonl holds."""
    lines = read_metrics(metrics)
    if not lines:
        raise ValueError(f"{metrics} holds no line of metrics yet; a training writes one every log_every_steps")
    draw_learning_curves(lines, output)


def draw_learning_curves(lines: list[dict], output: Path, *, rows: Sequence[Row] = ()) -> None:
    """Losses of the training and of the held-out pairs, accuracies, and zero-shot retrieval, over the steps.

    Args:
        rows: what they are read against, drawn as level lines.
    """
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    for column, (name, title) in enumerate(OBJECTIVES.items(), start=1):
        axes = panel(figure, (2, 3, column), title=f"loss: {title}")
        axes.plot(*curve(lines, f"loss/{name}"), color=TRAINING, label="training", linewidth=1)
        axes.plot(*curve(lines, f"eval/loss/{name}"), color=HELD_OUT, label="held out", marker="o", markersize=3)
        axes.legend(frameon=False, fontsize=8)
    accuracies = panel(figure, (2, 3, 4), title="accuracy, held out")
    for name, title in OBJECTIVES.items():
        (drawn,) = accuracies.plot(*curve(lines, f"eval/accuracy/{name}"), label=title, marker="o", markersize=3)
        draw_levels(accuracies, rows, f"accuracy/{name}", color=drawn.get_color())
    recalls = panel(figure, (2, 3, 5), title="zero-shot image retrieval, held out")
    for limit in LIMITS:
        name = f"retrieval/recall_at_{limit}"
        (drawn,) = recalls.plot(*curve(lines, f"eval/{name}"), label=f"R@{limit}", marker="o", markersize=3)
        draw_levels(recalls, rows, name, color=drawn.get_color())
    for axes in (accuracies, recalls):
        axes.set_ylim(0, 1)
        axes.legend(frameon=False, fontsize=8)
    rates = panel(figure, (2, 3, 6), title="pairs a second")
    rates.plot(*curve(lines, "samples_per_second"), color=TRAINING, linewidth=1)
    rates.set_ylim(bottom=0)
    figure.savefig(output)


def panel(figure: Figure, place: tuple[int, int, int], *, title: str) -> Axes:
    axes = figure.add_subplot(*place)
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel("step", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#eeeeee")
    return axes


def draw_levels(axes: Axes, rows: Sequence[Row], measure: str, *, color: ColorType) -> None:
    """Chance and the rule of one measure, if they are known."""
    for row in rows:
        for kind, style in LEVELS.items():
            if row["measure"] == measure and row[kind] is not None:
                axes.axhline(row[kind], color=color, linestyle=style, linewidth=1)


def curve(lines: list[dict], name: str) -> tuple[list[int], list[float]]:
    """Steps and values of one metric."""
    points = [(line["step"], line[name]) for line in lines if name in line]
    return [step for step, _ in points], [value for _, value in points]


if __name__ == "__main__":
    run(main)
