from scenario import mini_preset

__all__ = ["mini_preset"]
