"""moses-morgan2048: 2048-bit Morgan fingerprints (radius 2) of drug-like molecules, packed.

Source: PyPI package molsets 0.3.1 (MOSES benchmark, MIT; molecules from ZINC), its wheel's
train / test / test_scaffolds lists of SMILES.
Base: 60,000 molecules of the training list, evenly spaced over it. Queries: 1,000 of the test
list, then 1,000 of the scaffold test list (no ring scaffold of those is in the training list).
"""

import gzip
import zipfile

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator

from .packages import pip_download

BASE, QUERIES = 60000, 1000


def make() -> dict[str, NDArray]:
    wheel = zipfile.ZipFile(pip_download("molsets", "0.3.1"))
    gen = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)

    def smiles(part, count):
        lines = gzip.decompress(wheel.read(f"moses/dataset/data/{part}.csv.gz")).decode().split()
        lines = [x.split(",")[0] for x in lines[1:]]
        return [lines[i * len(lines) // count] for i in range(count)]

    def bits(lines):
        out = np.empty((len(lines), 256), np.uint8)
        for i, s in enumerate(lines):
            fp = gen.GetFingerprintAsNumPy(Chem.MolFromSmiles(s))
            out[i] = np.packbits(fp)  # bit 0 of the fingerprint is the top bit of byte 0
        return out

    return {
        "base": bits(smiles("train", BASE)),
        "queries": bits(smiles("test", QUERIES) + smiles("test_scaffolds", QUERIES)),
    }
