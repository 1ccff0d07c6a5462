"""The drawn world: seeded scenes of coloured shapes, written in the file formats of the real data sets."""
