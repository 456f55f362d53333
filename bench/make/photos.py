"""The photographs that photo-sift and photo-places take their descriptors from.

27 photographs (1.4 to 20 megapixels) of three Debian packages (74 MB to fetch), unpacked in
the data folder, not installed; GPL-2+, CC-BY, CC-BY-SA or CC0 by file, so what is made of them
stays on the machine. Drawings and computer art of the same packages are left out.
"""

from pathlib import Path

from .packages import deb_download

PHOTOS = {
    "mate-backgrounds": """
        Aqua Blinds Dune FreshFlower Garden GreenMeadow LadyBird RainDrops Storm TwoWings Wood
        YellowFlower
    """,
    "lomiri-wallpapers-16.04": """
        Bridge_by_Sander_Klootwijk Dragonfly_by_Bolly Picture_0B_by_freespace
        Picture_1A_by_freespace Wine_by_Jakkub_Mede aitzgorri_by_Aitzol_Berasategi
        free_by_Peter_Nerlich friends_by_Aitzol_Berasategi greentock_by_Peter_Nerlich
        life_by_Aitzol_Berasategi picosdeeuropa_by_Aitzol_Berasategi
        seeding_by_Clements_Engelhardt sunset_by_Aitzol_Berasategi
    """,
    "lomiri-wallpapers-20.04": """
        Infinite-Sea_by_Aury88 Kleiber_by_Lukas_Baubkus
    """,
}


def photos() -> list[tuple[str, Path]]:
    """List of (name, path), in a fixed order."""
    out = []
    for package, names in PHOTOS.items():
        root = deb_download(package) / "usr" / "share" / "backgrounds"
        at = {p.stem: p for p in root.rglob("*.jpg")}
        out += [(n, at[n]) for n in names.split()]
    return out
