"""lowtide dressed as somebody else's object: one file a library."""
