"""Trainings side by side, as in tables 1 to 3 of Lu et al. 2019.

In: the measures and metrics of trainings that differ in one thing, each over the same seeds. Out: their mean and
spread, what each of them took, and which findings of the paper are seen (`report/comparisons.json`,
`comparisons.csv`, `findings.csv`).
Commands: `compare`. `paired` is the test and the verdict, `findings` what the paper found.
"""
