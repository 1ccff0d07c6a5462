"""A run to look at.

In: the tables, images and stores of a run. Out: what was dropped and why, images with their boxes, histograms
(`report/`); what each stage has cost is read for the page of `vilbert.report`.
Commands: `describe`, `stale`.
"""
