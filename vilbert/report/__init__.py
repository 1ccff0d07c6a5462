"""A run as one page, and its numbers.

In: whatever of a run is there: measures and what they are read against, curves, pictures, times. Out: `report/index.html`,
which needs nothing else, and `report/numbers.json`; or two runs side by side.
Commands: `page`.
"""
