"""Rooms of no place: procedural scenes, written as the official raw releases, for laptops and tests."""
