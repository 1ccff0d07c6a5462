"""The drawn world: seeded scenes of coloured shapes, written in the file formats of the real data sets.

In: a seed and sizes. Out: caption lists, a site with the images, their boxes and the key to what is bad on purpose
(`world/`); annotations of VQA, VCR, RefCOCO+ and Karpathy's splits, with their images (`tasks/`).
Commands: `world`, `tasks`.
"""
