"""From captions and pixels to region features.

In the order of the data: `captions` cuts and judges the caption list, `download` fetches the images, `images` judges
them, `detection` finds boxes in them, `regions` chooses among the boxes and stores their features, `cleaning` decides
what becomes of each row, `report` shows the run. Two ways lead in from the side: `drawn` makes a world to run all of it
on, and `published` takes features that others extracted. What every folder may use lies beside them. Imports point
down; their order stands in `tests/test_layers.py`.
"""
