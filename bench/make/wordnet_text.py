"""WordNet 3.0: every synset's definition, lemmas and example sentences.

Source: Debian package wordnet-base (WordNet 3.0 licence: free use with its notice kept).
Order: data.noun, data.verb, data.adj, data.adv, each in file order: 117,659 synsets.
"""

import re

from .packages import deb_download

QUOTED = re.compile(r'"([^"]*)"')
MARKER = re.compile(r"\((a|p|ip)\)$")  # where an adjective may stand


def synsets() -> list[tuple[str, list[str], str, list[str]]]:
    """List of (key, lemmas, definition, examples); key is e.g. 'n00001740'."""
    root = deb_download("wordnet-base") / "usr" / "share" / "wordnet"
    out = []
    for pos in ("noun", "verb", "adj", "adv"):
        for line in (root / f"data.{pos}").read_text(encoding="latin-1").splitlines():
            if line.startswith("  "):  # licence header
                continue
            head, gloss = line.split(" | ", 1)
            f = head.split()
            count = int(f[3], 16)
            words = f[4 : 4 + 2 * count : 2]
            lemmas = [MARKER.sub("", w).replace("_", " ") for w in words]
            examples = [e.strip() for e in QUOTED.findall(gloss)]
            definition = gloss.split('"', 1)[0] if not gloss.lstrip().startswith('"') else gloss
            definition = definition.strip().rstrip(";").strip()
            out.append((f[2] + f[0], lemmas, definition, [e for e in examples if e]))
    return out
