"""A detector of the smallest sizes, for tests of what is around one."""

from extract.detection.detector_torchvision import Architecture

ARCHITECTURE = Architecture(
    classes=("background", "circle", "square", "star", "ring"),
    shorter_side=64,
    longer_side=128,
    anchor_sizes=(11, 17, 29),
    channels=(5, 7, 11),
    strides=(2, 2, 2),
    pool_size=5,
    head_channels=13,
    feature_size=17,
    num_proposals=19,
)
