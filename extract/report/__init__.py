"""A run to look at.

In: the tables, images and stores of a run. Out: what was dropped and why, images with their boxes, histograms, times
and sizes, and all of it on one page (`report/`, `report/index.html`).
Commands: `describe`, `page`.
"""
