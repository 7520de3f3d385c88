"""Which rooms were scored: S3DIS exists with 271 and with 272 rooms, Area 5 with 67 and with 68.

The raw release has 272 rooms; the prepared download that this line of work uses lacks Area_5 hallway_6, one of whose
annotation files has a bad byte (JIA-Lab-research/Stratified-Transformer#84, charlesq34/pointnet#45). The paper's 271
rooms are without it. Results over different rooms are results of different protocols.
"""

from __future__ import annotations

from collections.abc import Sequence

DISPUTED = "Area_5_hallway_6"
PUBLISHED = {67: "Area 5 without hallway_6", 68: "Area 5", 271: "all areas without hallway_6", 272: "all areas"}
SCANNET = {312: "validation scans", 1201: "training scans", 100: "test scans"}


def room_protocol(dataset: str, rooms: Sequence[str]) -> str:
    """One line for results and footnotes: how many rooms were scored, and which published room list this is.

    Args:
        dataset: as in the manifest.
        rooms: names of the scored rooms.
    """
    count = len(rooms)
    named = f"{count} rooms"
    if dataset == "s3dis":
        areas = {room[: len("Area_5")] for room in rooms}
        whole = areas == {"Area_5"} or len(areas) == 6
        expected = count in (68, 272) if DISPUTED in rooms else count in (67, 271)
        return f"{named} ({PUBLISHED[count]})" if whole and expected else f"{named} (not a published list)"
    if dataset == "scannet":
        return f"{named} ({SCANNET[count]})" if count in SCANNET else f"{named} (not a published list)"
    return named
