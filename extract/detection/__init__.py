"""The detectors: images in; boxes, class distributions and pooled features out.

In: weights, and a batch of images. Out: the proposals of each image. `detector` is the seam behind which the small
torchvision network and bottom-up attention's stand.
Commands: `train` makes the small one's weights from boxes in COCO's format (`detector/`).
"""
