"""Values that params name and nothing shows: references to them, and how they are sealed at rest."""
