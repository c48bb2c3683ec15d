"""Raw text to numbers: knows no network, imports no torch."""
