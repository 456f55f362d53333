"""photo-places: local-feature localization. A place is one tile of a photograph.

Each photograph (grey, longer side 2,560, as in photo_sift.py) is cut into 4 x 3 tiles; a tile
with at least 80 SIFT descriptors is a place, and its gallery keeps those of its own picture.
Each place has two query views: the tile seen under a random similarity (rotation up to 25
degrees, scale 0.7 to 1.0), a mild perspective, brightness and contrast changed, noise added.
The answer to a query is its place: by votes of its descriptors' nearest neighbours.
Arrays: gallery and query descriptors as flat
rows, with the place of each gallery row, and the view of each query row, the place of a view.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from .photo_sift import grey, sift
from .photos import photos

COLUMNS, ROWS, FEWEST, VIEWS = 4, 3, 80, 2


def view(tile, rng):
    h, w = tile.shape
    angle, scale = rng.uniform(-25, 25), rng.uniform(0.7, 1.0)
    m = np.vstack([cv2.getRotationMatrix2D((w / 2, h / 2), angle, scale), [0, 0, 1]])
    corner = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
    shift = rng.uniform(-0.06, 0.06, (4, 2)).astype(np.float32)
    moved = corner + shift * np.array([w, h], np.float32)
    m = cv2.getPerspectiveTransform(corner, moved) @ m
    edges = cv2.BORDER_REFLECT
    out = cv2.warpPerspective(tile, m, (w, h), flags=cv2.INTER_AREA, borderMode=edges)
    out = out * rng.uniform(0.7, 1.3) + rng.uniform(-25, 25) + rng.normal(0, 3, out.shape)
    return np.clip(np.rint(out), 0, 255).astype(np.uint8)


def make() -> dict[str, NDArray]:
    rng = np.random.default_rng(0)
    gallery, place_of, queries, view_of, view_place, photo_of = [], [], [], [], [], []
    for n, (_, path) in enumerate(photos()):
        im = grey(path)
        h, w = im.shape[0] // ROWS, im.shape[1] // COLUMNS
        for r in range(ROWS):
            for c in range(COLUMNS):
                tile = np.ascontiguousarray(im[r * h : (r + 1) * h, c * w : (c + 1) * w])
                d, _ = sift(tile)
                if len(d) < FEWEST:
                    continue
                place = len(photo_of)
                photo_of.append(n)
                gallery.append(d)
                place_of.append(np.full(len(d), place, np.int32))
                for _ in range(VIEWS):
                    q, _ = sift(view(tile, rng))
                    queries.append(q)
                    view_of.append(np.full(len(q), len(view_place), np.int32))
                    view_place.append(place)
    return {
        "gallery": np.vstack(gallery),
        "place_of": np.concatenate(place_of),
        "queries": np.vstack(queries),
        "view_of": np.concatenate(view_of),
        "view_place": np.array(view_place, np.int32),
        "photo_of": np.array(photo_of, np.int32),
    }
