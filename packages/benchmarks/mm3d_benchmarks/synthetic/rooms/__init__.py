"""Where things stand: floor plans, furniture, materials and labels, placed by rules and seeds."""
