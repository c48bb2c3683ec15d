"""Files to (config, vocabulary, network) and back: one module a format."""
