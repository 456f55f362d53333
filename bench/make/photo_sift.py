"""photo-sift: SIFT descriptors (128 bytes each) of 27 photographs, with their positions.

Every photograph is made grey and reduced so that its longer side is at most 2,560 pixels.
Photographs: see photos.py. It has no queries of its own: hold out 10,000 rows drawn with seed 0.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from .photos import photos

LONGEST = 2560


def grey(path):
    im = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    f = LONGEST / max(im.shape)
    if f < 1:
        size = round(im.shape[1] * f), round(im.shape[0] * f)
        im = cv2.resize(im, size, interpolation=cv2.INTER_AREA)
    return im


def sift(im):
    """(descriptors uint8 (n, 128), positions float32 (n, 2) as x, y)."""
    cv2.setNumThreads(1)
    points, d = cv2.SIFT_create().detectAndCompute(im, None)
    if d is None:
        return np.empty((0, 128), np.uint8), np.empty((0, 2), np.float32)
    return d.astype(np.uint8), np.array([p.pt for p in points], np.float32)


def make() -> dict[str, NDArray]:
    desc, pos, photo = [], [], []
    for i, (_, path) in enumerate(photos()):
        d, p = sift(grey(path))
        desc.append(d)
        pos.append(p)
        photo.append(np.full(len(d), i, np.int32))
    return {"base": np.vstack(desc), "xy": np.vstack(pos), "photo": np.concatenate(photo)}
