"""Make python/nearbit/data/wordnet-demo.npz from the wordnet-minilm set of bench/data.py.

    python tools/make_demo_data.py

500 questions are drawn from the test split and their answers are joined by other definitions to
2,500, no text twice. The seed is fixed: the same set, numpy and zlib give the same bytes.
"""

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bench"))

from data import load, texts  # noqa: E402

DEFINITIONS, QUESTIONS, SEED, TEST = 2500, 500, 0, 2


def main() -> None:
    d = load("wordnet-minilm")
    definitions, names, _ = texts()
    relevant = d["relevant"]
    rng = np.random.default_rng(SEED)

    # Each text once: an equal definition elsewhere would be as right an answer, and count as wrong.
    row_of: dict[str, int] = {}
    questions: list[int] = []
    for q in rng.permutation(np.flatnonzero(d["split"] == TEST)):
        if len(questions) < QUESTIONS and definitions[relevant[q]] not in row_of:
            row_of[definitions[relevant[q]]] = relevant[q]
            questions.append(q)
    for row in rng.permutation(len(definitions)):
        if len(row_of) < DEFINITIONS:
            row_of.setdefault(definitions[row], row)

    rows = np.sort(np.array(list(row_of.values())))
    questions = sorted(questions)
    path = ROOT / "python" / "nearbit" / "data" / "wordnet-demo.npz"
    np.savez_compressed(
        path,
        vectors_i8=d["docs_i8"][rows],
        queries_i8=d["queries_i8"][questions],
        answers=np.searchsorted(rows, relevant[questions]).astype(np.int64),
        texts=lines([definitions[row] for row in rows]),
        names=lines([names[q] for q in questions]),
    )
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")


def lines(strings: list[str]) -> np.ndarray:
    """The strings as UTF-8, one a line."""
    return np.frombuffer("\n".join(strings).encode(), np.uint8)


if __name__ == "__main__":
    main()
