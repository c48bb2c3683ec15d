"""What a model can do, measured and shown."""
