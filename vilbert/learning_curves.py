"""Learning curves of a training as a picture: python -m vilbert.learning_curves METRICS OUTPUT."""

from pathlib import Path

import typer
from matplotlib.figure import Figure

from vilbert.trainer import read_metrics

TRAIN, HELD_OUT = "#9aa5b1", "#2a6f97"
PANELS = {
    "masked_token": "masked tokens",
    "masked_region": "masked regions",
    "alignment": "alignment",
}


def main(metrics: Path, output: Path) -> None:
    """Losses of the training and of the held-out pairs, accuracies, and zero-shot retrieval, over the steps."""
    lines = read_metrics(metrics)
    figure = Figure(figsize=(11, 6), layout="constrained")
    for column, (name, title) in enumerate(PANELS.items()):
        axes = figure.add_subplot(2, 3, column + 1)
        axes.plot(*curve(lines, f"loss/{name}"), color=TRAIN, label="training", linewidth=1)
        axes.plot(*curve(lines, f"eval/loss/{name}"), color=HELD_OUT, label="held out", marker="o", markersize=3)
        axes.set_title(f"loss: {title}", loc="left", fontsize=10)
        axes.legend(frameon=False, fontsize=8)
    axes = figure.add_subplot(2, 3, (4, 5))
    for name, title in PANELS.items():
        axes.plot(*curve(lines, f"eval/accuracy/{name}"), label=title, marker="o", markersize=3)
    axes.set_title("accuracy, held out", loc="left", fontsize=10)
    axes.set_ylim(0, 1)
    axes.legend(frameon=False, fontsize=8)
    axes = figure.add_subplot(2, 3, 6)
    for limit in (1, 5, 10):
        axes.plot(*curve(lines, f"eval/retrieval/recall_at_{limit}"), label=f"R@{limit}", marker="o", markersize=3)
    axes.set_title("zero-shot image retrieval", loc="left", fontsize=10)
    axes.set_ylim(0, 1)
    axes.legend(frameon=False, fontsize=8)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel("step", fontsize=8)
        axes.grid(color="#eeeeee")
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, format=output.suffix[1:])


def curve(lines: list[dict], name: str) -> tuple[list[int], list[float]]:
    """Steps and values of one metric."""
    points = [(line["step"], line[name]) for line in lines if name in line]
    return [step for step, _ in points], [value for _, value in points]


if __name__ == "__main__":
    typer.run(main)
