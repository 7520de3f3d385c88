"""The raw label vocabulary of synthetic scenes, and what each data set makes of it.

Raw strings and nyu40 ids are ScanNet's. ``beam`` is not in ScanNet's table and ends as unannotated there.
"""

from __future__ import annotations

# fmt: off
NYU40_NAMES = (
    "", "wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture",
    "counter", "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floor mat", "clothes", "ceiling",
    "books",
    "refridgerator", "television", "paper", "towel", "shower curtain", "box", "whiteboard", "person", "night stand",
    "toilet", "sink", "lamp", "bathtub", "bag", "otherstructure", "otherfurniture", "otherprop",
)
RAW_TO_NYU40 = {
    "wall": 1, "floor": 2, "ceiling": 22, "cabinet": 3, "kitchen cabinet": 3, "kitchen cabinets": 3, "file cabinet": 3,
    "bathroom vanity": 3, "bed": 4, "chair": 5, "office chair": 5, "armchair": 5, "couch": 6, "table": 7,
    "coffee table": 7, "end table": 7, "door": 8, "doorframe": 8, "window": 9, "bookshelf": 10, "picture": 11,
    "poster": 11, "counter": 12, "kitchen counter": 12, "blinds": 13, "desk": 14, "shelf": 15, "curtain": 16,
    "dresser": 17, "pillow": 18, "mirror": 19, "rug": 20, "clothes": 21, "jacket": 21, "books": 23, "book": 23,
    "refrigerator": 24, "tv": 25, "paper": 26, "towel": 27, "shower curtain": 28, "box": 29, "whiteboard": 30,
    "nightstand": 32, "toilet": 33, "sink": 34, "lamp": 35, "bathtub": 36, "bag": 37, "backpack": 37, "column": 38,
    "pillar": 38, "stairs": 38, "radiator": 39, "trash can": 39, "wardrobe": 39, "stove": 39, "ottoman": 39,
    "copier": 39, "tv stand": 39, "bench": 39, "washing machine": 39, "monitor": 40, "keyboard": 40, "plant": 40,
    "bottle": 40, "cup": 40, "telephone": 40, "bucket": 40, "object": 40, "blanket": 40,
}
RAW_TO_S3DIS = {
    "ceiling": "ceiling", "floor": "floor", "wall": "wall", "beam": "beam", "column": "column", "pillar": "column",
    "window": "window", "door": "door", "doorframe": "door", "table": "table", "desk": "table", "coffee table": "table",
    "end table": "table", "chair": "chair", "office chair": "chair", "couch": "sofa", "armchair": "sofa",
    "bookshelf": "bookcase", "shelf": "bookcase", "whiteboard": "board",
    "stairs": "stairs",  # written under its own name, as in the release; readers send it to clutter
}
RAW_TO_SUNRGBD = {
    "couch": "sofa", "armchair": "sofa_chair", "office chair": "chair", "nightstand": "night_stand",
    "coffee table": "coffee_table", "end table": "endtable", "trash can": "garbage_bin", "kitchen cabinet": "cabinet",
    "kitchen cabinets": "cabinet", "kitchen counter": "counter", "shower curtain": "curtain",
    "file cabinet": "cabinet", "bathroom vanity": "cabinet", "refrigerator": "fridge",
}
# fmt: on
TABLE_HEADER = [
    "id",
    "raw_category",
    "category",
    "count",
    "nyu40id",
    "eigen13id",
    "nyuClass",
    "nyu40class",
    "eigen13class",
    "ModelNet40",
    "ModelNet10",
    "ShapeNetCore55",
    "synsetoffset",
    "wnsynsetid",
    "wnsynsetkey",
    "mpcat40",
    "mpcat40index",
]


def s3dis_name(raw: str) -> str:
    """Name of an object file in S3DIS's ``Annotations``."""
    return RAW_TO_S3DIS.get(raw, "clutter")


def sunrgbd_name(raw: str) -> str:
    """Class name in SUN RGB-D's annotation."""
    return RAW_TO_SUNRGBD.get(raw, raw.replace(" ", "_"))


def label_table() -> str:
    """Text of ``scannetv2-labels.combined.tsv``: the release's 17 columns, one row per raw label used here."""
    rows = ["\t".join(TABLE_HEADER)]
    for number, (raw, nyu40) in enumerate(sorted(RAW_TO_NYU40.items()), start=1):
        values = dict.fromkeys(TABLE_HEADER, "")
        values.update(
            id=str(number), raw_category=raw, category=raw, count="0", nyu40id=str(nyu40), nyu40class=NYU40_NAMES[nyu40]
        )
        values.update(eigen13id="0", nyuClass=raw, mpcat40index="0")
        rows.append("\t".join(values[column] for column in TABLE_HEADER))
    return "\n".join(rows) + "\n"
